"""Differences between a place and the rules: counted, added up, and the first ones described. Pure."""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Final, Generic, Literal, NamedTuple, TypeVar

import msgspec
from msgspec import Struct

from metering.dead_letters import DeadLetter
from metering.ledger import CALL_KINDS, Entry
from metering.times import shanghai_day
from phonemeter.audit.figures import EntryId, FigureCell, LedgerFigures, cell_of, entry_id, figures_of

DifferenceKind = Literal[
    "missing", "doubled", "altered", "foreign", "contradicted", "unreadable", "not_listed"
]
"""The kinds of differences: an entry is missing, is there twice, has other content, is not expected by the
rules, or was published again with other content; a record cannot be read; a range of entries differs and was
not compared in detail, because too many do."""

Item = TypeVar("Item", bound=Struct)

LISTED_MAX: Final = 1_000
"""Differences and cells that are kept per place and partition; all of them are counted."""

SHOWN_CHARACTERS_MAX: Final = 100


class Difference(Struct, frozen=True):
    """One difference of an entry, with its partition, offset and line as the entry's id.

    `what` describes the entry and the difference in short; the date is Shanghai's.
    """

    kind: DifferenceKind
    partition: int
    offset: int
    line: int
    appid: str
    date: str
    pack_id: str
    what: str


class Described(NamedTuple):
    """An entry or letter in a difference: its cell, its figures, and a short description."""

    cell: FigureCell
    figures: LedgerFigures
    what: str


def describe_line(entry: Entry) -> Described:
    """Describe an entry of the ledger."""
    calls = f" of {entry.calls:,} calls" if entry.kind not in CALL_KINDS and entry.calls else ""
    event = f" of event {_shortened(entry.event_id)}" if entry.event_id else ""
    return Described(cell_of(entry), figures_of(entry), f"{entry.kind}{calls}{event}")


def describe_letter(letter: DeadLetter) -> Described:
    """Describe a dead letter, which belongs to no app."""
    cell = FigureCell("", shanghai_day(letter.recorded_at_ms), "")
    return Described(cell, LedgerFigures(entries=1), f"dead letter, {letter.reason}")


class Differences(Generic[Item]):
    """The differences between one place and the rules in one partition.

    Attributes:
        partition: the source partition.
        first: the first differences.
        kinds: number of differences per kind.
        cells: the surplus of the place (negative if it lacks something) in the first cells that differ.
        drift: sums of all deviations, in which surplus and deficit do not cancel.
    """

    def __init__(self, partition: int, describe: Callable[[Item], Described]) -> None:
        self.partition = partition
        self.first: list[Difference] = []
        self.kinds: Counter[str] = Counter()
        self.cells: dict[FigureCell, LedgerFigures] = {}
        self.drift = LedgerFigures()
        self._describe: Callable[[Item], Described] = describe

    def missing(self, identity: EntryId, right: Item) -> None:
        """Note an entry that is missing."""
        described = self._describe(right)
        self._note("missing", identity, described)
        self._add_drift(described, -1)

    def foreign(self, identity: EntryId, found: Item) -> None:
        """Note an entry that the rules do not expect."""
        described = self._describe(found)
        self._note("foreign", identity, described)
        self._add_drift(described, 1)

    def doubled(self, identity: EntryId, found: Item) -> None:
        """Note an entry that is there again."""
        described = self._describe(found)
        self._note("doubled", identity, described)
        self._add_drift(described, 1)

    def altered(self, identity: EntryId, right: Item, found: Item) -> None:
        """Note an entry with other content."""
        ours, theirs = self._describe(right), self._describe(found)
        self._note("altered", identity, ours._replace(what=f"{ours.what}: {changes(right, found)}"))
        if ours.cell == theirs.cell:
            change = LedgerFigures()
            change.add(theirs.figures)
            change.add(ours.figures, -1)
            self._add_drift(Described(ours.cell, change, ""), 1)
        else:
            self._add_drift(ours, -1)
            self._add_drift(theirs, 1)

    def contradicted(self, identity: EntryId, right: Item, found: Item) -> None:
        """Note an entry that was published again with other content; readers keep the first."""
        described = self._describe(right)
        what = f"{described.what}: {changes(right, found)}"
        self._note("contradicted", identity, described._replace(what=what))

    def unreadable(self, offset: int, why: str) -> None:
        """Note a record that cannot be read; the offset is the record's own, in its topic."""
        nowhere = Described(FigureCell("", 0, ""), LedgerFigures(), _shortened(why))
        self._note("unreadable", (offset, 0), nowhere)

    def not_listed(self, lines: int) -> None:
        """Note a range that differs by `lines` entries at least and was not compared in detail."""
        self.kinds["not_listed"] += 1
        self.drift.entries += max(1, lines)

    def _note(self, kind: DifferenceKind, identity: EntryId, described: Described) -> None:
        self.kinds[kind] += 1
        self.drift.entries += 1
        if len(self.first) >= LISTED_MAX:
            return
        cell = described.cell
        date = cell.date.isoformat() if cell.day else ""
        self.first.append(
            Difference(kind, self.partition, *identity, cell.appid, date, cell.pack_id, described.what)
        )

    def _add_drift(self, described: Described, times: int) -> None:
        cell, figures, _ = described
        self.drift.events += abs(figures.events)
        self.drift.calls += abs(figures.calls)
        self.drift.micro_yuan += abs(figures.micro_yuan)
        if cell in self.cells or len(self.cells) < LISTED_MAX:
            self.cells.setdefault(cell, LedgerFigures()).add(figures, times)


def compare_lines(right: Iterable[Entry], found: Iterable[Entry], differences: Differences[Entry]) -> None:
    """Compare entries, in any order, with the expected ones."""
    ours = {entry_id(entry): entry for entry in right}
    seen: set[EntryId] = set()
    # Of several entries with one id, the expected one, if there is one, counts as the entry itself.
    for entry in sorted(found, key=lambda entry: ours.get(entry_id(entry)) != entry):
        identity = entry_id(entry)
        expected = ours.get(identity)
        if expected is None:
            differences.foreign(identity, entry)
        elif identity in seen:
            differences.doubled(identity, entry)
        elif expected != entry:
            differences.altered(identity, expected, entry)
        seen.add(identity)
    for identity in sorted(ours.keys() - seen):
        differences.missing(identity, ours[identity])


def changes(right: Struct, found: Struct) -> str:
    """A description of the fields that differ."""
    pairs = zip(msgspec.structs.astuple(right), msgspec.structs.astuple(found), strict=True)
    return ", ".join(
        f"{name} is {_shown(theirs)} and should be {_shown(ours)}"
        for name, (ours, theirs) in zip(right.__struct_fields__, pairs, strict=True)
        if ours != theirs
    )


def _shown(value: Any) -> str:  # noqa: ANN401 - a field of any type
    return _shortened(repr(value))


def _shortened(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS_MAX else f"{text[:SHOWN_CHARACTERS_MAX]}..."
