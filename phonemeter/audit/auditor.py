"""The audit: runs the rules over the log again, and holds the topics and ClickHouse against what they say.

Memory is bounded: lines of the rules are kept in a window, figures per app, Shanghai day and pack,
fingerprints per stretch of offsets. Partitions are audited one after the other.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from metering import dead_letters
from metering.dead_letters import DeadLetter
from metering.ledger import COLUMNS, Entry, LedgerRecord
from metering.partition import Metered, PartitionState, Record, WorkingState, meter
from metering.topics import DEAD_LETTERS, EVENTS, LEDGER
from phonemeter.audit.differences import Differences, compare_lines, describe_letter, describe_line
from phonemeter.audit.figures import STRETCH_OFFSETS, Cell, Figures, Identity, Stretch, cell_of, identity_of
from phonemeter.audit.log import Log, reading, spans
from phonemeter.audit.published import Published
from phonemeter.audit.report import CellDifference, PartitionReport, Place, Report
from phonemeter.audit.stored import StoredLedger, asking
from phonemeter.audit.topic import TopicAudit
from phonemeter.errors import OperationError
from phonemeter.replay.reading import Span
from phonemeter.settings import Settings
from phonemeter.stack.kafka.progress import how_far
from phonemeter.stack.kafka.topics import admin
from sinks.lines import BEFORE_ALL, Position

STRETCHES_READ_MAX: Final = 200
"""Stretches of one partition whose lines are read from ClickHouse to name what differs."""

Show = Callable[[int, int, int], None]
"""Told how far the audit is: partition, offset, end."""

_decoder = msgspec.json.Decoder(LedgerRecord)


def audit(settings: Settings, show: Show = lambda _partition, _offset, _end: None) -> Report:
    """Audit what the worker and the sink have done so far. Changes nothing.

    Raises:
        OperationError: Kafka or ClickHouse does not answer, or the log does not begin at its first event.
    """
    began_s = time.monotonic()
    report = Report()
    with admin(settings.kafka) as client:
        services = how_far(client)
    # The log is asked last: what the others say of events beyond its end is then foreign.
    ends = {topic: spans(settings.kafka, topic) for topic in (DEAD_LETTERS, LEDGER, EVENTS)}
    _refuse_cut_log(ends[EVENTS])
    for topic, partitions in ends.items():
        if partitions.keys() != ends[EVENTS].keys():
            raise OperationError(
                f"{topic} has {len(partitions)} partitions and {EVENTS} has {len(ends[EVENTS])}: what "
                f"belongs together shares a partition number, so they cannot be compared."
            )
    with reading(settings.kafka) as log, asking(settings.clickhouse, settings.event_id_digits) as stored:
        for partition in ends[EVENTS]:
            until = min(services.metered.get(partition, 0), ends[EVENTS][partition].end)
            upto = services.stored.get(partition, BEFORE_ALL)
            if upto == BEFORE_ALL:
                upto = stored.highest(partition)
            upto = min(upto, Position(until - 1, 2**32 - 1))
            places = {topic: ends[topic][partition] for topic in ends}
            sources = Sources(settings, log, stored, show)
            PartitionAudit(partition, until, upto, places, sources).run(report)
        _find_strays(settings.kafka, stored, report)
        report.repeated = stored.repeated()
    report.took_s = time.monotonic() - began_s
    return report


def read_lines(value: bytes | None, partition: int) -> list[tuple[Identity, Entry]]:
    """The lines of a ledger record.

    Raises:
        ValueError: it is none, or one of another partition.
    """
    record = _decoder.decode(value or b"")
    if record.columns != COLUMNS:
        raise ValueError(f"it has columns {record.columns}; this version knows {COLUMNS}")
    if record.partition != partition:
        raise ValueError(f"it carries lines of source partition {record.partition}")
    return [(identity_of(entry), entry) for entry in record.rows]


def read_letter(value: bytes | None, partition: int) -> list[tuple[Identity, DeadLetter]]:
    """The dead letter of a record.

    Raises:
        ValueError: it is none, or one of another partition.
    """
    letter = dead_letters.decode(value or b"")
    if letter.partition != partition:
        raise ValueError(f"it is a dead letter of partition {letter.partition}")
    return [((letter.offset, 0), letter)]


@dataclass(frozen=True, slots=True)
class Sources:
    """What an audit reads from, and whom it tells how far it is."""

    settings: Settings
    log: Log
    stored: StoredLedger
    show: Show


class PartitionAudit:
    """The audit of one partition: its events before `until`, its lines in ClickHouse up to `upto`."""

    def __init__(
        self, partition: int, until: int, upto: Position, ends: Mapping[str, Span], sources: Sources
    ) -> None:
        log_end = ends[EVENTS].end
        self._partition = partition
        self._until = until
        self._upto = upto
        self._ends = ends
        self._sources = sources
        self._ledger = TopicAudit(
            Published(Differences(partition, describe_line)),
            lambda value: read_lines(value, partition),
            until,
            log_end,
        )
        self._letters = TopicAudit(
            Published(Differences(partition, describe_letter)),
            lambda value: read_letter(value, partition),
            until,
            log_end,
        )
        self._stretches: defaultdict[int, Stretch] = defaultdict(Stretch)
        self._cells: defaultdict[Cell, Figures] = defaultdict(Figures)
        self._not_stored_yet: defaultdict[Cell, Figures] = defaultdict(Figures)
        self._letter_cells: defaultdict[Cell, Figures] = defaultdict(Figures)
        self._report = PartitionReport(partition, log_end, until, *upto, records=until)

    def run(self, report: Report) -> None:
        """Audit, and add what was found to a report."""
        self._first_pass()
        while self._ledger.later or self._letters.later:
            self._another_pass()
        self._ledger.published.finish()
        self._letters.published.finish()
        stored = self._compare_stored()
        for figures in self._cells.values():
            self._report.figures.add(figures)
        report.partitions.append(self._report)
        ledger, letters = self._ledger.published, self._letters.published
        _add(report, "phone-ledger", ledger.differences, self._cells, ledger.items, ledger.repeated)
        in_clickhouse = {
            cell: _minus(figures, self._not_stored_yet.get(cell)) for cell, figures in self._cells.items()
        }
        lines = sum(stretch.lines for stretch in self._stretches.values())
        _add(report, "ClickHouse", stored, in_clickhouse, lines)
        _add(
            report,
            "phone-dead-letters",
            letters.differences,
            self._letter_cells,
            letters.items,
            letters.repeated,
        )

    def _first_pass(self) -> None:
        log, partition = self._sources.log, self._partition
        self._ledger.begin(log, LEDGER, partition, self._ends[LEDGER])
        self._letters.begin(log, DEAD_LETTERS, partition, self._ends[DEAD_LETTERS])
        for metered in self._metered_again():
            self._expect(metered)
            self._add_up(metered)
            self._follow(metered.state.next_offset)
        self._follow(None)

    def _another_pass(self) -> None:
        """Hold what was repeated from far back, as after a state was built anew, against the rules."""
        self._ledger.begin_again(self._sources.log, LEDGER, self._partition)
        self._letters.begin_again(self._sources.log, DEAD_LETTERS, self._partition)
        for metered in self._metered_again():
            self._expect(metered)
            self._follow(metered.state.next_offset)
        self._follow(None)

    def _metered_again(self) -> Iterator[Metered]:
        state: PartitionState = WorkingState(self._partition)
        rules = self._sources.settings.rules()
        for batch in self._sources.log.batches(EVENTS, self._partition, Span(0, self._until)):
            metered = meter(state, [record_of(record) for record in batch], rules)
            state = metered.state
            self._sources.show(self._partition, state.next_offset, self._until)
            yield metered

    def _expect(self, metered: Metered) -> None:
        for entry in metered.entries:
            self._ledger.published.expect(identity_of(entry), entry)
        for letter in metered.dead_letters:
            self._letters.published.expect((letter.offset, 0), letter)

    def _follow(self, reached: int | None) -> None:
        self._ledger.follow(reached)
        self._letters.follow(reached)

    def _add_up(self, metered: Metered) -> None:
        self._report.dead_letters += len(metered.dead_letters)
        for entry in metered.entries:
            cell = cell_of(entry)
            self._cells[cell].count(entry)
            if identity_of(entry) <= self._upto:
                number = entry.offset // STRETCH_OFFSETS
                self._stretches[number] = self._stretches[number].plus(self._sources.stored.as_stored(entry))
            else:
                self._report.not_stored += 1
                self._not_stored_yet[cell].count(entry)
        for letter in metered.dead_letters:
            described = describe_letter(letter)
            self._letter_cells[described.cell].add(described.figures)

    def _compare_stored(self) -> Differences[Entry]:
        differences: Differences[Entry] = Differences(self._partition, describe_line)
        found = self._sources.stored.stretches(self._partition, self._upto)
        wrong = sorted(
            number
            for number in self._stretches.keys() | found.keys()
            if self._stretches.get(number) != found.get(number)
        )
        for number in wrong[STRETCHES_READ_MAX:]:
            ours, theirs = (of.get(number, Stretch()).lines for of in (self._stretches, found))
            differences.not_listed(abs(ours - theirs))
        for number, right in self._lines_of(wrong[:STRETCHES_READ_MAX]):
            lines = self._sources.stored.lines(self._partition, self._upto, number)
            compare_lines(right, lines, differences)
        return differences

    def _lines_of(self, stretches: list[int]) -> Iterator[tuple[int, list[Entry]]]:
        """The lines of some stretches, by the rules, one stretch after the other."""
        waiting = list(stretches)
        held: defaultdict[int, list[Entry]] = defaultdict(list)
        for metered in self._metered_again() if stretches else ():
            for entry in metered.entries:
                number = entry.offset // STRETCH_OFFSETS
                if number in waiting and identity_of(entry) <= self._upto:
                    held[number].append(self._sources.stored.as_stored(entry))
            while waiting and (waiting[0] + 1) * STRETCH_OFFSETS <= metered.state.next_offset:
                yield waiting[0], held.pop(waiting.pop(0), [])
            if not waiting:
                return
        for number in waiting:
            yield number, held.pop(number, [])


def record_of(record: Any) -> Record:  # noqa: ANN401 - aiokafka's types are not complete
    """A record of the log as the rules take it, which is as the worker takes it."""
    return Record(record.offset, record.timestamp, record.key, record.value)


def _minus(figures: Figures, less: Figures | None) -> Figures:
    rest = Figures()
    rest.add(figures)
    if less is not None:
        rest.add(less, -1)
    return rest


def _add(
    report: Report,
    place: Place,
    differences: Differences[Any],
    cells: Mapping[Cell, Figures],
    items: int = 0,
    repeated: int = 0,
) -> None:
    """Add what was found in one place and partition."""
    total = report.places[place]
    total.items += items
    total.repeated += repeated
    for kind, count in differences.kinds.items():
        total.kinds[kind] = total.kinds.get(kind, 0) + count
    total.drift.add(differences.drift)
    total.differences += differences.first
    for cell, change in differences.cells.items():
        if change == Figures():
            continue
        expected = cells.get(cell, Figures())
        found = _minus(expected, None)
        found.add(change)
        date = cell.date.isoformat()
        total.cells.append(
            CellDifference(place, differences.partition, cell.appid, date, cell.pack_id, expected, found)
        )


def _find_strays(kafka: str, stored: StoredLedger, report: Report) -> None:
    """Lines in ClickHouse of records that the log does not have."""
    ends = spans(kafka, EVENTS)
    for partition in stored.partitions():
        end = ends[partition].end if partition in ends else 0
        differences: Differences[Entry] = Differences(partition, describe_line)
        for entry in stored.strays(partition, end):
            differences.foreign(identity_of(entry), entry)
        _add(report, "ClickHouse", differences, {})


def _refuse_cut_log(partitions: Mapping[int, Span]) -> None:
    """Raise OperationError if the beginning of the log was deleted; in other topics that is a difference."""
    for partition, span in partitions.items():
        if span.begin > 0:
            raise OperationError(
                f"{EVENTS} partition {partition} begins at record {span.begin}: what was before it was "
                f"deleted, so the ledger cannot be recomputed; keep the topics for ever (retention.ms=-1)."
            )
