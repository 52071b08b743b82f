"""Batches of entries that wait for their INSERT, and the decision when a batch is written. Pure.

Within a source partition, entries are stored in ascending order without a hole, so that the highest stored
position shows of every entry whether it is stored. Hence a batch adds only entries that follow its last one,
refuses a hole that it can see, and drops entries from its front only.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from sinks.entry_columns import EntryColumns
from sinks.errors import PoisonError
from sinks.position import Position

REBUILD: Final = (
    "stop worker and sink, and rebuild the ledger with `phonemeter replay --confirm --new-ledger`"
)

AGE_FACTOR_MAX: Final = 8.0
"""Factor by which a batch of many rows may be older than the limit, because its rows arrive fast."""

FEW_ROWS: Final = 1_000
MANY_ROWS: Final = 10_000
"""Between these the factor grows: an INSERT costs the engine as much as some thousand rows do."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a batch: it is written as soon as it reaches one of them.

    Attributes:
        rows: entries of one partition.
        bytes: encoded size of one partition's records.
        total_bytes: encoded size of all partitions' records; the largest batch is written first.
        age_s: age of the oldest entry; up to `AGE_FACTOR_MAX` times that while the batch fills quickly.
    """

    rows: int
    bytes: int
    total_bytes: int
    age_s: float


class InsertBatch:
    """Entries of one source partition that are held and not stored yet.

    Attributes:
        partition: the source partition, which has the same number in `phone-ledger`.
        stored: the highest position known to be stored.
        next_offset: offset in `phone-ledger` of the next record to add.
        bytes: encoded size of the records whose entries are held.
    """

    def __init__(self, partition: int, stored: Position, next_offset: int) -> None:
        self.partition = partition
        self.stored = stored
        self.next_offset = next_offset
        self.bytes = 0
        self._pieces: list[EntryColumns] = []
        self._rows = 0
        self._held_since_s = 0.0

    def __len__(self) -> int:
        return self._rows

    @property
    def pieces(self) -> tuple[EntryColumns, ...]:
        """Held entries, in order."""
        return tuple(self._pieces)

    @property
    def first(self) -> Position:
        """Position of the first entry held; the batch must not be empty."""
        return self._pieces[0].first

    @property
    def last(self) -> Position:
        """The highest position known: of the last entry held, or else the stored one."""
        return self._pieces[-1].last if self._pieces else self.stored

    def refuse_another_log(self, offset: int, entries: EntryColumns, *, verifying: bool) -> None:
        """Make sure that a record is of the log that was read before.

        A record that is read twice must have no new entries the second time; a log that is read again from
        its beginning (`verifying`) must not skip any.

        Raises:
            PoisonError: the record is of another log.
        """
        read_twice = offset < self.next_offset and entries.last > self.last
        if read_twice or (verifying and entries.first > self.last):
            raise PoisonError(
                f"entries begin at {entries.first} where those up to {self.last} were expected again: the "
                f"topic was recreated, or lost its head or its end; {REBUILD}"
            )

    def add(self, entries: EntryColumns, size_bytes: int, now_s: float) -> int:
        """Hold the new entries of the next record, and move on to the one after it.

        Returns:
            Number of entries left out because they are stored or held already.

        Raises:
            PoisonError: entries are missing between the last one known and the record's first new one.
        """
        new = entries.after(self.last)
        if len(new):
            self._refuse_hole(new.first)
            if not self._pieces:
                self._held_since_s = now_s
            self._pieces.append(new)
            self._rows += len(new)
            self.bytes += size_bytes
        self.next_offset += 1
        return len(entries) - len(new)

    def advance_to(self, next_offset: int) -> None:
        """Move on to an offset before which there is nothing else to add."""
        self.next_offset = max(self.next_offset, next_offset)

    def drop_stored(self, stored: Position) -> int:
        """Drop the entries up to `stored`, as they are stored; returns how many were held."""
        held = self._rows
        self.stored = max(self.stored, stored)
        kept = [rest for piece in self._pieces if len(rest := piece.after(self.stored))]
        self._pieces = kept
        self._rows = sum(map(len, kept))
        if not kept:
            self.bytes = 0
        return held - self._rows

    def age_s(self, now_s: float) -> float:
        """Time for which the oldest entry has been held; 0 if there is none."""
        return now_s - self._held_since_s if self._pieces else 0.0

    def _refuse_hole(self, first: Position) -> None:
        known = self.last
        if first.line > 0 and first != Position(known.offset, known.line + 1):
            raise PoisonError(f"its first new entry is {first}, but the last one known is {known}")


def due(batches: Iterable[InsertBatch], limits: Limits, now_s: float) -> list[InsertBatch]:
    """Select the batches to write now, oldest first: those at a limit, or else the largest one."""
    held = [batch for batch in batches if len(batch)]
    at_limit = [
        batch
        for batch in held
        if len(batch) >= limits.rows
        or batch.bytes >= limits.bytes
        or batch.age_s(now_s) >= _age_limit_s(batch, limits)
    ]
    if not at_limit and sum(batch.bytes for batch in held) >= limits.total_bytes:
        at_limit = [max(held, key=lambda batch: batch.bytes)]
    return sorted(at_limit, key=lambda batch: -batch.age_s(now_s))


def pause_s(batches: Iterable[InsertBatch], limits: Limits, now_s: float) -> float:
    """Time until the next batch is due because of its age."""
    left_s = (_age_limit_s(batch, limits) - batch.age_s(now_s) for batch in batches if len(batch))
    return max(0.0, min(left_s, default=limits.age_s))


def _age_limit_s(batch: InsertBatch, limits: Limits) -> float:
    many = min(1.0, max(0, len(batch) - FEW_ROWS) / (MANY_ROWS - FEW_ROWS))
    return limits.age_s * (1 + (AGE_FACTOR_MAX - 1) * many)
