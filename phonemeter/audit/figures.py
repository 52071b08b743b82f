"""What lines add up to: figures per app, day and pack, and fingerprints per stretch of offsets. Pure."""

from datetime import date, timedelta
from hashlib import md5
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct

from metering.ledger import Entry
from metering.times import shanghai_day

Identity = tuple[int, int]
"""Source offset and line: what a line is called within its source partition."""

STRETCH_OFFSETS: Final = 10_000
"""Source offsets that share a fingerprint."""

FIELD_SEPARATOR: Final = "\x1f"

_CHARGED: Final = frozenset({"charge", "trial_charge"})
_UINT64: Final = (1 << 64) - 1


class Cell(NamedTuple):
    """What figures are added up by: app, Shanghai day (days since 1970-01-01), pack (empty for the trial)."""

    appid: str
    day: int
    pack_id: str

    @property
    def date(self) -> date:
        """The Shanghai date."""
        return date(1970, 1, 1) + timedelta(days=self.day)


class Figures(Struct):
    """Sums over lines: events that have their outcome here, lines, calls charged, and what those cost."""

    events: int = 0
    entries: int = 0
    calls: int = 0
    micro_yuan: int = 0

    def add(self, other: "Figures", times: int = 1) -> None:
        """Add another sum, so many times."""
        self.events += times * other.events
        self.entries += times * other.entries
        self.calls += times * other.calls
        self.micro_yuan += times * other.micro_yuan

    def count(self, entry: Entry) -> None:
        """Add one line."""
        self.entries += 1
        if entry.event_id and entry.reason != "taken_over":
            self.events += 1
        if entry.kind in _CHARGED:
            self.calls += entry.calls
            if entry.kind == "charge":
                self.micro_yuan += entry.amount_micro_yuan


def identity_of(entry: Entry) -> Identity:
    """The identity of a line within its source partition."""
    return (entry.offset, entry.line)


def figures_of(entry: Entry) -> Figures:
    """The figures of one line."""
    figures = Figures()
    figures.count(entry)
    return figures


def cell_of(entry: Entry) -> Cell:
    """The cell that a line belongs to; a rejection belongs to no app."""
    return Cell(entry.appid, shanghai_day(entry.time_ms), entry.pack_id)


class Stretch(NamedTuple):
    """The lines of so many source offsets in a row: how many there are, and their fingerprint.

    The fingerprint is the sum, modulo 2^64, of the first eight bytes (little-endian) of the MD5 of each
    line's fields, written in decimal or as they are and joined by U+001F. The order of the lines does not
    matter; a line that is there twice does.
    """

    lines: int = 0
    fingerprint: int = 0

    def plus(self, entry: Entry) -> "Stretch":
        """With one more line."""
        text = FIELD_SEPARATOR.join(map(str, msgspec.structs.astuple(entry)))
        digest = md5(text.encode(), usedforsecurity=False).digest()
        return Stretch(self.lines + 1, (self.fingerprint + int.from_bytes(digest[:8], "little")) & _UINT64)
