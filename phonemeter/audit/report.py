"""The result of an audit."""

from dataclasses import dataclass, field
from typing import Final, Literal

import msgspec
from msgspec import Struct

from metering.times import format_time
from phonemeter.audit.differences import Difference
from phonemeter.audit.figures import LedgerFigures
from phonemeter.audit.shared_packs import SharedPack
from phonemeter.audit.stored_ledger import RepeatedEvent

Place = Literal["phone-ledger", "ClickHouse", "phone-dead-letters"]
PLACES: Final[tuple[Place, ...]] = ("phone-ledger", "ClickHouse", "phone-dead-letters")


LATE_FACTS_MAX: Final = 1_000
"""Limit of late facts that a report names."""


class CellDifference(Struct, frozen=True):
    """One app, Shanghai day and pack whose figures in a place differ from the rules.

    The pack is empty for the trial and without a pack.
    """

    place: Place
    partition: int
    appid: str
    date: str
    pack_id: str
    expected: LedgerFigures
    found: LedgerFigures


class PlaceReport(Struct):
    """The result for one place, with its first differences and the first figures that differ.

    Attributes:
        items: number of distinct entries or letters.
        repeated: number of identical repetitions, which are no differences.
        kinds: number of differences by kind.
        drift: sums of all deviations; surplus and deficit do not cancel.
    """

    items: int = 0
    repeated: int = 0
    kinds: dict[str, int] = {}
    drift: LedgerFigures = msgspec.field(default_factory=LedgerFigures)
    differences: list[Difference] = []
    cells: list[CellDifference] = []


class PartitionReport(Struct):
    """The extent of the audit of a partition, and its figures by the rules.

    Attributes:
        log_end: the offset at which the log ended.
        audited_to: the offset before which the log was audited: the worker's progress.
        stored_offset, stored_line: the last entry audited in ClickHouse: the sink's progress.
        records: number of audited records of the log, clock ticks and non-events included.
        dead_letters: number of non-events among them.
        not_stored: number of their entries that the sink had not stored yet.
    """

    partition: int
    log_end: int
    audited_to: int
    stored_offset: int
    stored_line: int
    records: int = 0
    figures: LedgerFigures = msgspec.field(default_factory=LedgerFigures)
    dead_letters: int = 0
    not_stored: int = 0

    @property
    def in_flight(self) -> int:
        """Number of records that the worker had not processed yet."""
        return self.log_end - self.audited_to


class LateFact(Struct, frozen=True):
    """A late fact beyond the settlement horizon: what it changed of earlier decisions is not settled."""

    appid: str
    event_id: str
    partition: int
    offset: int
    time_ms: int


@dataclass(slots=True)
class AuditReport:
    """The result of an audit, and that of each place for all partitions together.

    Attributes:
        repeated: event ids that were counted as a call more than once.
        shared_packs: packs that were in two apps at once.
        beyond_horizon: number of late facts that are too old to be settled; `late_facts` has the first ones.
        settings_note: a sentence if the settings are not those that the log was metered by.
        another_log: a sentence if the log is not the one that was metered.
        clients_forgotten_before_ms: time before which clients were not compared, as ClickHouse keeps them for
            a while only; 0 if all were.
    """

    partitions: list[PartitionReport] = field(default_factory=list)
    places: dict[Place, PlaceReport] = field(
        default_factory=lambda: {place: PlaceReport() for place in PLACES}
    )
    repeated: list[RepeatedEvent] = field(default_factory=list)
    shared_packs: list[SharedPack] = field(default_factory=list)
    beyond_horizon: int = 0
    late_facts: list[LateFact] = field(default_factory=list)
    took_s: float = 0.0
    settings_note: str = ""
    another_log: str = ""
    clients_forgotten_before_ms: int = 0

    @property
    def clients_forgotten_before(self) -> str | None:
        """The same as a moment of answers; None if all clients were compared."""
        return format_time(self.clients_forgotten_before_ms) if self.clients_forgotten_before_ms else None

    @property
    def clean(self) -> bool:
        """True if every place agrees with the rules, as may repeated ids and shared packs."""
        return not self.another_log and not any(place.kinds for place in self.places.values())

    @property
    def figures(self) -> LedgerFigures:
        """Figures of all audited records by the rules."""
        total = LedgerFigures()
        for partition in self.partitions:
            total.add(partition.figures)
        return total


class RepairReport(Struct):
    """The number of entries in the repaired table, and whether a sink had to restore its missing end."""

    lines: int = 0
    end_restored: bool = False
