"""In what a place differs from the rules: counted, added up, and the first ones told. Pure."""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Final, Generic, Literal, NamedTuple, TypeVar

import msgspec
from msgspec import Struct

from metering.dead_letters import DeadLetter
from metering.ledger import CALL_KINDS, Entry
from metering.times import shanghai_day
from phonemeter.audit.figures import Cell, Figures, Identity, cell_of, figures_of, identity_of

Kind = Literal["missing", "doubled", "altered", "foreign", "contradicted", "unreadable", "not_listed"]
"""How a place differs: a line is not there; it is there again; it is there with other content; it is there
although the rules know no such line; it was published again with other content; a record can't be read; a
stretch of lines differs and was not looked into, because so many do."""

Item = TypeVar("Item", bound=Struct)

LISTED_MAX: Final = 1_000
"""Differences and cells that are kept of one place and partition; all of them are counted."""

SHOWN_CHARACTERS_MAX: Final = 100


class Difference(Struct, frozen=True):
    """One difference.

    Attributes:
        kind: what is wrong.
        partition, offset, line: the identity of the line concerned.
        appid, date, pack_id: where it belongs; the date is Shanghai's.
        what: the line, and what is wrong with it, in a few words.
    """

    kind: Kind
    partition: int
    offset: int
    line: int
    appid: str
    date: str
    pack_id: str
    what: str


class Described(NamedTuple):
    """A line or letter as differences tell of it: where it belongs, what it adds up to, what it is."""

    cell: Cell
    figures: Figures
    what: str


def describe_line(entry: Entry) -> Described:
    """Describe a line of the ledger."""
    calls = f" of {entry.calls:,} calls" if entry.kind not in CALL_KINDS and entry.calls else ""
    event = f" of event {_shortened(entry.event_id)}" if entry.event_id else ""
    return Described(cell_of(entry), figures_of(entry), f"{entry.kind}{calls}{event}")


def describe_letter(letter: DeadLetter) -> Described:
    """Describe a dead letter, which belongs to no app."""
    cell = Cell("", shanghai_day(letter.recorded_at_ms), "")
    return Described(cell, Figures(entries=1), f"dead letter, {letter.reason}")


class Differences(Generic[Item]):
    """In what one place differs from the rules in one partition.

    Attributes:
        partition: the source partition.
        first: the first differences.
        kinds: how many there are of each kind.
        cells: what the place has too much (or, negative, too little), of the first cells that differ.
        drift: how far off the place is: sums in which too much and too little do not cancel.
    """

    def __init__(self, partition: int, describe: Callable[[Item], Described]) -> None:
        self.partition = partition
        self.first: list[Difference] = []
        self.kinds: Counter[str] = Counter()
        self.cells: dict[Cell, Figures] = {}
        self.drift = Figures()
        self._describe: Callable[[Item], Described] = describe

    def missing(self, identity: Identity, right: Item) -> None:
        """A line is not there."""
        described = self._describe(right)
        self._note("missing", identity, described)
        self._off_by(described, -1)

    def foreign(self, identity: Identity, found: Item) -> None:
        """A line is there that the rules do not know."""
        described = self._describe(found)
        self._note("foreign", identity, described)
        self._off_by(described, 1)

    def doubled(self, identity: Identity, found: Item) -> None:
        """A line is there once more."""
        described = self._describe(found)
        self._note("doubled", identity, described)
        self._off_by(described, 1)

    def altered(self, identity: Identity, right: Item, found: Item) -> None:
        """A line is there with other content."""
        ours, theirs = self._describe(right), self._describe(found)
        self._note("altered", identity, ours._replace(what=f"{ours.what}: {changes(right, found)}"))
        if ours.cell == theirs.cell:
            change = Figures()
            change.add(theirs.figures)
            change.add(ours.figures, -1)
            self._off_by(Described(ours.cell, change, ""), 1)
        else:
            self._off_by(ours, -1)
            self._off_by(theirs, 1)

    def contradicted(self, identity: Identity, right: Item, found: Item) -> None:
        """A line that was published came again with other content; readers keep the first."""
        described = self._describe(right)
        what = f"{described.what}: {changes(right, found)}"
        self._note("contradicted", identity, described._replace(what=what))

    def unreadable(self, offset: int, why: str) -> None:
        """A record of the place is not what it should be; the offset is the record's own, in its topic."""
        nowhere = Described(Cell("", 0, ""), Figures(), _shortened(why))
        self._note("unreadable", (offset, 0), nowhere)

    def not_listed(self, lines: int) -> None:
        """A stretch differs, by so many lines at least, and was not looked into."""
        self.kinds["not_listed"] += 1
        self.drift.entries += max(1, lines)

    def _note(self, kind: Kind, identity: Identity, described: Described) -> None:
        self.kinds[kind] += 1
        self.drift.entries += 1
        if len(self.first) >= LISTED_MAX:
            return
        cell = described.cell
        date = cell.date.isoformat() if cell.day else ""
        self.first.append(
            Difference(kind, self.partition, *identity, cell.appid, date, cell.pack_id, described.what)
        )

    def _off_by(self, described: Described, times: int) -> None:
        cell, figures, _ = described
        self.drift.events += abs(figures.events)
        self.drift.calls += abs(figures.calls)
        self.drift.micro_yuan += abs(figures.micro_yuan)
        if cell in self.cells or len(self.cells) < LISTED_MAX:
            self.cells.setdefault(cell, Figures()).add(figures, times)


def compare_lines(right: Iterable[Entry], found: Iterable[Entry], differences: Differences[Entry]) -> None:
    """Hold lines, in any order, against those of the rules."""
    ours = {identity_of(entry): entry for entry in right}
    seen: set[Identity] = set()
    # Of several lines of one identity the right one, if there is one, counts as the line itself.
    for entry in sorted(found, key=lambda entry: ours.get(identity_of(entry)) != entry):
        identity = identity_of(entry)
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
    """Which fields differ, and how."""
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
