"""The log rated twice, by the settings of today and as it might have been, and the difference per app."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from msgspec import Struct

from metering.ledger import Entry
from metering.partition import Metered, PartitionState, Record, WorkingState, meter
from metering.rules import Rules
from metering.topics import EVENTS
from phonemeter.errors import OperationError
from phonemeter.replay.corrections import CorrectedPartition, Correction, by_partition, find_replaced
from phonemeter.replay.reading import Span, TopicReader

COUNTED: Final[dict[str, str]] = {
    "trial_charge": "trial",
    "charge": "charged",
    "uncovered": "uncovered",
    "free": "free",
    "exempt": "exempt",
    "lapse": "lapsed",
}
"""Kinds of ledger lines, and the figure that their calls add to."""


class Figures(Struct):
    """What the log comes to for one app: calls, and the money of those that were charged."""

    trial: int = 0
    charged: int = 0
    uncovered: int = 0
    free: int = 0
    exempt: int = 0
    lapsed: int = 0
    amount_micro_yuan: int = 0

    def add(self, entry: Entry) -> None:
        """Count one ledger line in."""
        figure = COUNTED.get(entry.kind)
        if figure is not None:
            setattr(self, figure, getattr(self, figure) + entry.calls)
        if entry.kind == "charge":
            self.amount_micro_yuan += entry.amount_micro_yuan


class RejectedCorrection(NamedTuple):
    """A correction that the rules would reject at its place: the file's line, and why."""

    line: int
    sentence: str


class DryRun(NamedTuple):
    """What came out.

    Attributes:
        apps: the figures of each app before and after, by appid.
        records: how many the log has.
        rejected: how many of them are no events, before and after.
        replaced, inserted: how many corrections took an event's place, and how many were put in.
        rejected_corrections: those that would not be accepted where they stand.
    """

    apps: dict[str, tuple[Figures, Figures]]
    records: int
    rejected: tuple[int, int]
    replaced: int
    inserted: int
    rejected_corrections: list[RejectedCorrection]

    @property
    def changed(self) -> dict[str, tuple[Figures, Figures]]:
        """The apps for which something differs."""
        return {appid: pair for appid, pair in self.apps.items() if pair[0] != pair[1]}


def whole_log(reader: TopicReader) -> dict[int, Span]:
    """What each partition of `phone-events` holds.

    Raises:
        OperationError: a partition's first records were deleted, so that no state can be had from it.
    """
    spans = reader.spans(EVENTS)
    for partition, span in spans.items():
        if span.begin > 0:
            raise OperationError(
                f"{EVENTS} partition {partition} begins at offset {span.begin}: what came before was "
                f"deleted, and without it the log can't be rated from its beginning."
            )
    return spans


def dry_run(
    reader: TopicReader,
    rules: tuple[Rules, Rules],
    corrections: Sequence[Correction],
    *,
    now_ms: int,
    progress: Callable[[int], None] = lambda _records: None,
) -> DryRun:
    """Rate the whole log by the rules of today, and by others and with corrections. Writes nothing.

    Args:
        reader: of the Kafka that has the log.
        rules: those of today, and the others.
        corrections: events to take instead of, or besides, those of the log.
        now_ms: the Kafka time of corrections behind the end of the log.
        progress: told how many records are done.

    Raises:
        OperationError: the head of the log was deleted, or Kafka does not deliver it.
    """
    spans = whole_log(reader)
    placed = by_partition(corrections, len(spans))
    before, after = _Rater(rules[0]), _Rater(rules[1])
    done = replaced_count = inserted = 0
    rejected_corrections: list[RejectedCorrection] = []
    for partition, span in spans.items():
        replaced = find_replaced(reader, partition, span, placed[partition]) if partition in placed else {}
        corrected = CorrectedPartition(placed.get(partition, []), replaced)
        same = rules[0] == rules[1] and partition not in placed
        before.begin(partition)
        after.begin(partition)
        for batch in reader.batches(EVENTS, partition, span):
            metered = before.rate(_records(batch))
            if same:
                after.take_over(metered)
            else:
                rejected_corrections += _rejected(after.rate(corrected.feed(batch)), corrected)
            done += len(batch)
            progress(done)
        rejected_corrections += _rejected(after.rate(corrected.end(now_ms)), corrected)
        replaced_count += len(replaced)
        inserted += corrected.inserted
    appids = sorted(before.apps.keys() | after.apps.keys())
    return DryRun(
        {appid: (before.apps[appid], after.apps[appid]) for appid in appids},
        done,
        (before.rejected, after.rejected),
        replaced_count,
        inserted,
        sorted(rejected_corrections),
    )


class _Rater:
    """Rates partition after partition; holds the state of one and the figures of all apps."""

    def __init__(self, rules: Rules) -> None:
        self.apps: defaultdict[str, Figures] = defaultdict(Figures)
        self.rejected = 0
        self._rules = rules
        self._state: PartitionState = WorkingState(0)

    def begin(self, partition: int) -> None:
        self._state = WorkingState(partition)

    def rate(self, records: Iterable[Record]) -> Metered:
        metered = meter(self._state, records, self._rules)
        self._state = metered.state
        self.take_over(metered)
        return metered

    def take_over(self, metered: Metered) -> None:
        self.rejected += len(metered.dead_letters)
        for entry in metered.entries:
            if entry.appid:
                self.apps[entry.appid].add(entry)


def _records(batch: Iterable[Any]) -> Iterable[Record]:
    return (Record(record.offset, record.timestamp, record.key, record.value) for record in batch)


def _rejected(metered: Metered, corrected: CorrectedPartition) -> list[RejectedCorrection]:
    lines: Mapping[int, int] = corrected.lines
    return [
        RejectedCorrection(lines[letter.offset], letter.sentence)
        for letter in metered.dead_letters
        if letter.offset in lines
    ]
