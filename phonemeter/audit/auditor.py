"""The audit: the log metered again, and the topics and ClickHouse compared with the result.

Memory is bounded: expected entries are kept in a window, figures per app, Shanghai day and pack, fingerprints
per range of offsets. Partitions are audited one after the other.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from kafka_access.access import KafkaAccess
from metering import dead_letters
from metering.dead_letters import DeadLetter
from metering.ledger import COLUMNS, Entry, LedgerRecord
from metering.partition import MeteringResult
from metering.partition_state import PartitionState, WorkingState
from metering.records import RecordRange
from metering.topics import DEAD_LETTERS, EVENTS, LEDGER
from phonemeter.audit.differences import Differences, compare_lines, describe_letter, describe_line
from phonemeter.audit.figures import (
    RANGE_OFFSETS,
    EntryId,
    FigureCell,
    LedgerFigures,
    RangeFingerprint,
    cell_of,
    entry_id,
)
from phonemeter.audit.log_identity import another_log
from phonemeter.audit.published_items import PublishedItems
from phonemeter.audit.report import (
    LATE_FACTS_MAX,
    AuditReport,
    CellDifference,
    LateFact,
    PartitionReport,
    Place,
)
from phonemeter.audit.stored_ledger import StoredLedger, open_stored_ledger
from phonemeter.audit.topic import TopicAudit
from phonemeter.errors import OperationError
from phonemeter.event_log import LogRules, meter_again, refuse_cut_log, rules_of_log
from phonemeter.kafka_admin import admin
from phonemeter.settings import Settings
from phonemeter.stack.kafka.progress import service_progress
from phonemeter.topic_reader import OffsetSpan, TopicReader, offset_spans, open_reader
from sinks.position import BEFORE_ALL, Position

RANGES_READ_MAX: Final = 200
"""Ranges of one partition whose entries are read from ClickHouse to name each difference."""

ShowProgress = Callable[[int, int, int], None]
"""Called with the progress of an audit: partition, offset, end."""

_decoder = msgspec.json.Decoder(LedgerRecord)


def audit(settings: Settings, show: ShowProgress = lambda _partition, _offset, _end: None) -> AuditReport:
    """Audit what the worker and the sink have done so far. Changes nothing.

    Raises:
        OperationError: Kafka or ClickHouse does not answer, or the log does not begin at its first event.
    """
    began_s = time.monotonic()
    rules = rules_of_log(settings.kafka_access, settings.rules())
    report = AuditReport(settings_note=rules.note)
    with admin(settings.kafka_access) as client:
        services = service_progress(client)
    # The log's ends are read last, so entries about events beyond them are foreign.
    ends = {topic: offset_spans(settings.kafka_access, topic) for topic in (DEAD_LETTERS, LEDGER, EVENTS)}
    refuse_cut_log(ends[EVENTS])
    for topic, partitions in ends.items():
        if partitions.keys() != ends[EVENTS].keys():
            raise OperationError(
                f"{topic} has {len(partitions)} partitions and {EVENTS} has {len(ends[EVENTS])}: what "
                f"belongs together shares a partition number, so they cannot be compared."
            )
    report.another_log = another_log(settings.kafka_access, rules.recorded)
    with (
        open_reader(settings.kafka_access) as log,
        open_stored_ledger(settings.clickhouse, settings.event_id_digits) as stored,
    ):
        for partition in ends[EVENTS]:
            until = min(services.metered.get(partition, 0), ends[EVENTS][partition].end)
            upto = services.stored.get(partition, BEFORE_ALL)
            if upto == BEFORE_ALL:
                upto = stored.highest(partition)
            upto = min(upto, Position(until - 1, 2**32 - 1))
            places = {topic: ends[topic][partition] for topic in ends}
            sources = AuditSources(rules, log, len(ends[EVENTS]), stored, show)
            PartitionAudit(partition, until, upto, places, sources).run(report)
        _find_foreign_entries(settings.kafka_access, stored, report)
        report.clients_forgotten_before_ms = stored.forgotten_before_ms
        report.repeated = stored.repeated()
        report.shared_packs = stored.shared_packs()
    report.took_s = time.monotonic() - began_s
    return report


def read_entries(value: bytes | None, partition: int) -> list[tuple[EntryId, Entry]]:
    """The entries of a ledger record.

    Raises:
        ValueError: it is none, or one of another partition.
    """
    record = _decoder.decode(value or b"")
    if record.columns != COLUMNS:
        raise ValueError(f"it has columns {record.columns}; this version knows {COLUMNS}")
    if record.partition != partition:
        raise ValueError(f"it carries lines of source partition {record.partition}")
    return [(entry_id(entry), entry) for entry in record.rows]


def read_letter(value: bytes | None, partition: int) -> list[tuple[EntryId, DeadLetter]]:
    """The dead letter of a record.

    Raises:
        ValueError: it is none, or one of another partition.
    """
    letter = dead_letters.decode(value or b"")
    if letter.partition != partition:
        raise ValueError(f"it is a dead letter of partition {letter.partition}")
    if letter.original is None:
        # Earlier versions kept letters whole that are cut today.
        letter = letter.with_bytes(letter.key, letter.value, letter.headers)
    return [((letter.offset, 0), letter)]


@dataclass(frozen=True, slots=True)
class AuditSources:
    """The sources of an audit, and its progress display."""

    rules: LogRules
    log: TopicReader
    partitions: int
    stored: StoredLedger
    show: ShowProgress


class PartitionAudit:
    """The audit of one partition: its events before `until`, its entries in ClickHouse up to `upto`."""

    def __init__(
        self,
        partition: int,
        until: int,
        upto: Position,
        ends: Mapping[str, OffsetSpan],
        sources: AuditSources,
    ) -> None:
        log_end = ends[EVENTS].end
        self._partition = partition
        self._until = until
        self._upto = upto
        self._ends = ends
        self._sources = sources
        self._ledger = TopicAudit(
            PublishedItems(Differences(partition, describe_line)),
            lambda value: read_entries(value, partition),
            until,
            log_end,
        )
        self._letters = TopicAudit(
            PublishedItems(Differences(partition, describe_letter)),
            lambda value: read_letter(value, partition),
            until,
            log_end,
        )
        self._fingerprints: defaultdict[int, RangeFingerprint] = defaultdict(RangeFingerprint)
        self._cells: defaultdict[FigureCell, LedgerFigures] = defaultdict(LedgerFigures)
        self._not_stored_yet: defaultdict[FigureCell, LedgerFigures] = defaultdict(LedgerFigures)
        self._letter_cells: defaultdict[FigureCell, LedgerFigures] = defaultdict(LedgerFigures)
        self._report = PartitionReport(partition, log_end, until, *upto)

    def run(self, report: AuditReport) -> None:
        """Audit the partition, and add the result to a report."""
        self._first_pass(report)
        while self._ledger.postponed or self._letters.postponed:
            self._another_pass()
        self._ledger.published.finish()
        self._letters.published.finish()
        stored = self._compare_stored()
        for figures in self._cells.values():
            self._report.figures.add(figures)
        report.partitions.append(self._report)
        ledger, letters = self._ledger.published, self._letters.published
        _add_place(report, "phone-ledger", ledger.differences, self._cells, ledger.items, ledger.repeated)
        in_clickhouse = {
            cell: _difference(figures, self._not_stored_yet.get(cell))
            for cell, figures in self._cells.items()
        }
        lines = sum(fingerprint.lines for fingerprint in self._fingerprints.values())
        _add_place(report, "ClickHouse", stored, in_clickhouse, lines)
        _add_place(
            report,
            "phone-dead-letters",
            letters.differences,
            self._letter_cells,
            letters.items,
            letters.repeated,
        )

    def _first_pass(self, report: AuditReport) -> None:
        log, partition = self._sources.log, self._partition
        self._ledger.begin(log, LEDGER, partition, self._ends[LEDGER])
        self._letters.begin(log, DEAD_LETTERS, partition, self._ends[DEAD_LETTERS])
        for records, metered in self._meter():
            self._report.records += len(records)
            self._expect(metered)
            self._add_up(metered)
            self._find_late_facts(metered, report)
            self._follow(metered.state.next_offset)
        self._follow(None)

    def _another_pass(self) -> None:
        """Compare what was published again from far back, as after a rebuild of the state."""
        self._ledger.restart(self._sources.log, LEDGER, self._partition)
        self._letters.restart(self._sources.log, DEAD_LETTERS, self._partition)
        for _, metered in self._meter():
            self._expect(metered)
            self._follow(metered.state.next_offset)
        self._follow(None)

    def _meter(self) -> Iterator[tuple[RecordRange, MeteringResult]]:
        state: PartitionState = WorkingState(self._partition, partitions=self._sources.partitions)
        rules = self._sources.rules.of(self._partition)
        for records, metered in meter_again(self._sources.log, state, self._until, rules):
            self._sources.show(self._partition, metered.state.next_offset, self._until)
            yield records, metered

    def _expect(self, metered: MeteringResult) -> None:
        for entry in metered.entries:
            self._ledger.published.expect(entry_id(entry), entry)
        for letter in metered.dead_letters:
            self._letters.published.expect((letter.offset, 0), letter)

    def _follow(self, reached: int | None) -> None:
        self._ledger.follow(reached)
        self._letters.follow(reached)

    def _add_up(self, metered: MeteringResult) -> None:
        self._report.dead_letters += len(metered.dead_letters)
        for entry in metered.entries:
            cell = cell_of(entry)
            self._cells[cell].count(entry)
            if entry_id(entry) <= self._upto:
                number = entry.offset // RANGE_OFFSETS
                self._fingerprints[number] = self._fingerprints[number].plus(
                    self._sources.stored.as_stored(entry)
                )
            else:
                self._report.not_stored += 1
                self._not_stored_yet[cell].count(entry)
        for letter in metered.dead_letters:
            described = describe_letter(letter)
            self._letter_cells[described.cell].add(described.figures)

    def _find_late_facts(self, metered: MeteringResult, report: AuditReport) -> None:
        for entry in metered.entries:
            if entry.kind == "unsettled" and entry.reason == "too_old":
                report.beyond_horizon += 1
                if len(report.late_facts) < LATE_FACTS_MAX:
                    report.late_facts.append(
                        LateFact(entry.appid, entry.event_id, self._partition, entry.offset, entry.time_ms)
                    )

    def _compare_stored(self) -> Differences[Entry]:
        differences: Differences[Entry] = Differences(self._partition, describe_line)
        found = self._sources.stored.fingerprints(self._partition, self._upto)
        wrong = sorted(
            number
            for number in self._fingerprints.keys() | found.keys()
            if self._fingerprints.get(number) != found.get(number)
        )
        for number in wrong[RANGES_READ_MAX:]:
            ours, theirs = (of.get(number, RangeFingerprint()).lines for of in (self._fingerprints, found))
            differences.not_listed(abs(ours - theirs))
        for number, right in self._entries_of(wrong[:RANGES_READ_MAX]):
            lines = self._sources.stored.lines(self._partition, self._upto, number)
            compare_lines(right, lines, differences)
        return differences

    def _entries_of(self, ranges: list[int]) -> Iterator[tuple[int, list[Entry]]]:
        """The expected entries of some ranges, one range after the other."""
        waiting = list(ranges)
        held: defaultdict[int, list[Entry]] = defaultdict(list)
        for _, metered in self._meter() if ranges else ():
            for entry in metered.entries:
                number = entry.offset // RANGE_OFFSETS
                if number in waiting and entry_id(entry) <= self._upto:
                    held[number].append(self._sources.stored.as_stored(entry))
            while waiting and (waiting[0] + 1) * RANGE_OFFSETS <= metered.state.next_offset:
                yield waiting[0], held.pop(waiting.pop(0), [])
            if not waiting:
                return
        for number in waiting:
            yield number, held.pop(number, [])


def _difference(figures: LedgerFigures, less: LedgerFigures | None) -> LedgerFigures:
    rest = LedgerFigures()
    rest.add(figures)
    if less is not None:
        rest.add(less, -1)
    return rest


def _add_place(
    report: AuditReport,
    place: Place,
    differences: Differences[Any],
    cells: Mapping[FigureCell, LedgerFigures],
    items: int = 0,
    repeated: int = 0,
) -> None:
    """Add the result of one place and partition."""
    total = report.places[place]
    total.items += items
    total.repeated += repeated
    for kind, count in differences.kinds.items():
        total.kinds[kind] = total.kinds.get(kind, 0) + count
    total.drift.add(differences.drift)
    total.differences += differences.first
    for cell, change in differences.cells.items():
        if change == LedgerFigures():
            continue
        expected = cells.get(cell, LedgerFigures())
        found = _difference(expected, None)
        found.add(change)
        date = cell.date.isoformat()
        total.cells.append(
            CellDifference(place, differences.partition, cell.appid, date, cell.pack_id, expected, found)
        )


def _find_foreign_entries(kafka: KafkaAccess, stored: StoredLedger, report: AuditReport) -> None:
    """Find entries in ClickHouse of records that the log does not have."""
    ends = offset_spans(kafka, EVENTS)
    for partition in stored.partitions():
        end = ends[partition].end if partition in ends else 0
        differences: Differences[Entry] = Differences(partition, describe_line)
        for entry in stored.strays(partition, end):
            differences.foreign(entry_id(entry), entry)
        _add_place(report, "ClickHouse", differences, {})
