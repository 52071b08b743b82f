"""Sums over ledger entries: figures per app, day and pack, and fingerprints per range of offsets. Pure."""

from datetime import date, timedelta
from hashlib import md5
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct

from metering.ledger import MOVED_REASONS, Entry
from metering.times import shanghai_day

EntryId = tuple[int, int]
"""The id of an entry within its source partition: source offset and line."""

RANGE_OFFSETS: Final = 10_000
"""Source offsets that share a fingerprint."""

FIELD_SEPARATOR: Final = "\x1f"

_CONSEQUENCES: Final = frozenset({"lapse", "unsettled"})
_CHARGED: Final = frozenset({"charge", "trial_charge"})
_UINT64: Final = (1 << 64) - 1


class FigureCell(NamedTuple):
    """The key of figures: app, Shanghai day (days since 1970-01-01), pack (empty for the trial)."""

    appid: str
    day: int
    pack_id: str

    @property
    def date(self) -> date:
        """The Shanghai date."""
        return date(1970, 1, 1) + timedelta(days=self.day)


class LedgerFigures(Struct):
    """Sums over entries: events with their outcome here, entries, calls charged, and their cost."""

    events: int = 0
    entries: int = 0
    calls: int = 0
    micro_yuan: int = 0

    def add(self, other: "LedgerFigures", times: int = 1) -> None:
        """Add another sum, `times` times."""
        self.events += times * other.events
        self.entries += times * other.entries
        self.calls += times * other.calls
        self.micro_yuan += times * other.micro_yuan

    def count(self, entry: Entry) -> None:
        """Add one entry."""
        self.entries += 1
        if entry.event_id and not _is_consequence(entry):
            self.events += 1
        if entry.kind in _CHARGED:
            self.calls += entry.calls
            if entry.kind == "charge":
                self.micro_yuan += entry.amount_micro_yuan


def _is_consequence(entry: Entry) -> bool:
    """True for an entry beside its event's outcome, such as what a late pack or a settlement moved."""
    return (
        entry.reason in MOVED_REASONS
        or entry.kind in _CONSEQUENCES
        or (entry.kind == "opening" and (entry.pack_id != "" or entry.reason == "observed"))
    )


def entry_id(entry: Entry) -> EntryId:
    """The id of an entry within its source partition."""
    return (entry.offset, entry.line)


def figures_of(entry: Entry) -> LedgerFigures:
    """The figures of one entry."""
    figures = LedgerFigures()
    figures.count(entry)
    return figures


def cell_of(entry: Entry) -> FigureCell:
    """The cell of an entry; a rejection belongs to no app."""
    return FigureCell(entry.appid, shanghai_day(entry.time_ms), entry.pack_id)


class RangeFingerprint(NamedTuple):
    """The number of entries of `RANGE_OFFSETS` consecutive source offsets, and their fingerprint.

    The fingerprint is the sum, modulo 2^64, of the first eight bytes (little-endian) of the MD5 of each
    entry's fields, in decimal or as they are, joined by U+001F. The order of the entries does not matter; an
    entry that is there twice does.
    """

    lines: int = 0
    fingerprint: int = 0

    def plus(self, entry: Entry) -> "RangeFingerprint":
        """The fingerprint with one more entry."""
        text = FIELD_SEPARATOR.join(map(str, msgspec.structs.astuple(entry)))
        digest = md5(text.encode(), usedforsecurity=False).digest()
        return RangeFingerprint(
            self.lines + 1, (self.fingerprint + int.from_bytes(digest[:8], "little")) & _UINT64
        )
