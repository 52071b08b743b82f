"""The log rated twice, by its own rules and by others or with corrections, and the difference per app."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct

from metering.events import SETTLEMENT_TYPE
from metering.ledger import Entry
from metering.offline_settlement import ROUNDS_MAX, OfflineSettler, TooManyCallsError
from metering.partition import MeteringResult, meter
from metering.partition_state import PartitionState, WorkingState
from metering.placement import PartitionIndex
from metering.records import Record
from metering.rules import Rules
from metering.topics import EVENTS
from phonemeter.event_log import whole_log
from phonemeter.replay.corrections import CorrectedEvent, CorrectedPartition, by_partition, find_replaced
from phonemeter.topic_reader import TopicReader

COUNTED: Final[dict[str, str]] = {
    "trial_charge": "trial",
    "charge": "charged",
    "uncovered": "uncovered",
    "free": "free",
    "exempt": "exempt",
    "lapse": "lapsed",
}
"""Kinds of ledger entries, and the figure that their calls add to."""


class AppFigures(Struct):
    """Totals of one app: calls, and the cost of those that were charged."""

    trial: int = 0
    charged: int = 0
    uncovered: int = 0
    free: int = 0
    exempt: int = 0
    lapsed: int = 0
    amount_micro_yuan: int = 0

    def add(self, entry: Entry) -> None:
        """Count one ledger entry."""
        figure = COUNTED.get(entry.kind)
        if figure is not None:
            setattr(self, figure, getattr(self, figure) + entry.calls)
        if entry.kind == "charge":
            self.amount_micro_yuan += entry.amount_micro_yuan


class RejectedCorrection(NamedTuple):
    """A correction that the rules would reject at its position: the file's line, and the reason."""

    line: int
    sentence: str


class DryRunResult(NamedTuple):
    """The result of a dry run.

    Attributes:
        apps: the figures of each app before and after, by appid.
        records: number of records in the log.
        rejected: number of records that are no events, before and after.
        replaced, inserted: number of corrections that replaced an event, and of the others.
        rejected_corrections: those that would not be accepted at their position.
        settled: False if the log holds too many calls to settle them by the other rules.
    """

    apps: dict[str, tuple[AppFigures, AppFigures]]
    records: int
    rejected: tuple[int, int]
    replaced: int
    inserted: int
    rejected_corrections: list[RejectedCorrection]
    settled: bool = True

    @property
    def changed(self) -> dict[str, tuple[AppFigures, AppFigures]]:
        """The apps that differ."""
        return {appid: pair for appid, pair in self.apps.items() if pair[0] != pair[1]}


def dry_run(
    reader: TopicReader,
    rules: tuple[Rules, Rules],
    corrections: Sequence[CorrectedEvent],
    *,
    now_ms: int,
    progress: Callable[[int], None] = lambda _records: None,
) -> DryRunResult:
    """Rate the whole log by its own rules, and by others and with corrections. Writes nothing.

    The log's settlements were worked out by its own rules: for the others they are left out, and both are
    settled at the end of the log. `rules` are the log's own and the others. Corrections replace events, or
    come after the end of the log at the Kafka time `now_ms`. `progress` is called with the number of records
    done.

    Raises:
        OperationError: the beginning of the log was deleted, or Kafka does not deliver it.
    """
    spans = whole_log(reader)
    placed = by_partition(corrections, len(spans))
    before, after = _Rater(rules[0]), _Rater(rules[1])
    done = replaced_count = inserted = 0
    rejected_corrections: list[RejectedCorrection] = []
    for partition, span in spans.items():
        place = PartitionIndex(partition, len(spans))
        replaced = find_replaced(reader, place, span, placed[partition]) if partition in placed else {}
        corrected = CorrectedPartition(placed.get(partition, []), replaced, place)
        same = rules[0] == rules[1] and partition not in placed
        before.begin(partition, len(spans), is_settled=not same)
        after.begin(partition, len(spans), is_settled=not same)
        for batch in reader.batches(EVENTS, partition, span):
            metered = before.rate(batch)
            if same:
                after.take_over(metered)
            else:
                facts = (record for record in batch if not _is_settlement(record))
                rejected_corrections += _rejected(after.rate(corrected.feed(facts)), corrected)
            done += len(batch)
            progress(done)
        rejected_corrections += _rejected(after.rate(corrected.end(now_ms)), corrected)
        if not same:
            before.settle()
            after.settle()
        replaced_count += len(replaced)
        inserted += corrected.inserted
    appids = sorted(before.apps.keys() | after.apps.keys())
    return DryRunResult(
        {appid: (before.apps[appid], after.apps[appid]) for appid in appids},
        done,
        (before.rejected, after.rejected),
        replaced_count,
        inserted,
        sorted(rejected_corrections),
        before.settled and after.settled,
    )


class _Rater:
    """Rates one partition after the other; has the state of one and the figures of all apps.

    `settled` is False if a partition held too many calls to be settled.
    """

    def __init__(self, rules: Rules) -> None:
        self.apps: defaultdict[str, AppFigures] = defaultdict(AppFigures)
        self.rejected = 0
        self.settled = True
        self._rules = rules
        self._state: PartitionState = WorkingState(0)
        self._settler: OfflineSettler | None = None

    def begin(self, partition: int, partitions: int, *, is_settled: bool) -> None:
        self._state = WorkingState(partition, partitions=partitions)
        self._settler = OfflineSettler(self._rules) if is_settled else None

    def rate(self, records: Iterable[Record]) -> MeteringResult:
        metered = meter(self._state, records, self._rules)
        self._state = metered.state
        self.take_over(metered)
        return metered

    def settle(self) -> None:
        """Settle the apps of the partition, which has ended."""
        for _ in range(ROUNDS_MAX):
            settler, at = self._settler, self._state.next_offset
            events = [] if settler is None else list(settler.events(self._state))
            if not events:
                return
            self.rate(
                Record(at + number, None, event.appid.encode(), event.value)
                for number, event in enumerate(events)
            )

    def take_over(self, metered: MeteringResult) -> None:
        self.rejected += len(metered.dead_letters)
        for entry in metered.entries:
            if entry.appid:
                self.apps[entry.appid].add(entry)
        if self._settler is not None:
            try:
                self._settler.add(metered.entries)
            except TooManyCallsError:
                self._settler, self.settled = None, False


class _Typed(Struct):
    type: str = ""


_typed_decoder: Final = msgspec.json.Decoder(_Typed)


def _is_settlement(record: Record) -> bool:
    value = record.value or b""
    if SETTLEMENT_TYPE.encode() not in value:
        return False
    try:
        return _typed_decoder.decode(value).type == SETTLEMENT_TYPE
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def _rejected(metered: MeteringResult, corrected: CorrectedPartition) -> list[RejectedCorrection]:
    lines: Mapping[int, int] = corrected.lines
    return [
        RejectedCorrection(lines[letter.offset], letter.sentence)
        for letter in metered.dead_letters
        if letter.offset in lines
    ]
