"""What an audit came to."""

from dataclasses import dataclass, field
from typing import Final, Literal

import msgspec
from msgspec import Struct

from phonemeter.audit.differences import Difference
from phonemeter.audit.figures import Figures
from phonemeter.audit.stored import Repeated

Place = Literal["phone-ledger", "ClickHouse", "phone-dead-letters"]
PLACES: Final[tuple[Place, ...]] = ("phone-ledger", "ClickHouse", "phone-dead-letters")


class CellDifference(Struct, frozen=True):
    """One app, Shanghai day and pack whose figures are not what the rules say.

    Attributes:
        place: where.
        partition: the source partition.
        appid, date, pack_id: what the figures are of; the pack is empty for the trial and what has none.
        expected: what the rules say.
        found: what is there.
    """

    place: Place
    partition: int
    appid: str
    date: str
    pack_id: str
    expected: Figures
    found: Figures


class PlaceReport(Struct):
    """What one place came to.

    Attributes:
        items: lines or letters that it has, each once.
        repeated: how often one was published again (which is no difference if it is identical).
        kinds: differences by kind.
        drift: how far off it is; too much and too little do not cancel.
        differences: the first ones.
        cells: the first figures that differ.
    """

    items: int = 0
    repeated: int = 0
    kinds: dict[str, int] = {}
    drift: Figures = msgspec.field(default_factory=Figures)
    differences: list[Difference] = []
    cells: list[CellDifference] = []


class PartitionReport(Struct):
    """How far a partition was audited, and what its log came to by the rules.

    Attributes:
        partition: its number.
        log_end: the offset at which the log ended.
        audited_to: up to before this offset: so far the worker had come.
        stored_offset, stored_line: up to this line ClickHouse was audited: so far the sink had come.
        records: audited records of the log, clock ticks and what is no event included.
        figures: what the rules make of them.
        dead_letters: how many of them are no events.
        not_stored: lines of them that the sink had not stored yet.
    """

    partition: int
    log_end: int
    audited_to: int
    stored_offset: int
    stored_line: int
    records: int = 0
    figures: Figures = msgspec.field(default_factory=Figures)
    dead_letters: int = 0
    not_stored: int = 0

    @property
    def in_flight(self) -> int:
        """Records that the worker had not done yet."""
        return self.log_end - self.audited_to


@dataclass(slots=True)
class Report:
    """What an audit came to.

    Attributes:
        partitions: by number.
        places: what each place came to, all partitions together.
        repeated: event ids that were counted as a call more than once.
        took_s: how long it took.
    """

    partitions: list[PartitionReport] = field(default_factory=list)
    places: dict[Place, PlaceReport] = field(
        default_factory=lambda: {place: PlaceReport() for place in PLACES}
    )
    repeated: list[Repeated] = field(default_factory=list)
    took_s: float = 0.0

    @property
    def clean(self) -> bool:
        """Whether every place is as the rules say; an id that came back beyond the window is."""
        return not any(place.kinds for place in self.places.values())

    @property
    def figures(self) -> Figures:
        """What the rules make of all audited records."""
        total = Figures()
        for partition in self.partitions:
            total.add(partition.figures)
        return total


class Repaired(Struct):
    """What a repair did.

    Attributes:
        lines: how many the new table was filled with.
        looked_again: whether the end of the ledger was damaged, so that a sink had to restore it.
    """

    lines: int = 0
    looked_again: bool = False
