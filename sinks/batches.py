"""What the sink holds and when it writes it: decisions only, from the time passed in. Pure.

Exactness rests on one rule: within a source partition lines are stored in ascending order without a hole, so
that the highest stored position says of every line whether it is stored. Hence a batch takes only lines that
come after all it knows, refuses a hole it can see, and is dropped or kept from the front only.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from sinks.errors import PoisonError
from sinks.lines import Lines, Position

PATIENCE: Final = 8.0
"""How many times longer than its age allows a batch of many lines may be held, because they come fast."""

FEW_ROWS: Final = 1_000
MANY_ROWS: Final = 10_000
"""Between these patience grows: an INSERT costs the engine as much as some thousand lines do."""


@dataclass(frozen=True, slots=True)
class Limits:
    """When a batch is written: as soon as it reaches one of these.

    Attributes:
        rows: lines of one partition.
        bytes: encoded size of one partition's records.
        total_bytes: encoded size of all partitions' records together; the largest batch goes first.
        age_s: how long its oldest line has been held; up to `PATIENCE` times that while it fills quickly.
    """

    rows: int
    bytes: int
    total_bytes: int
    age_s: float


class Batch:
    """The lines of one source partition that are held and not stored yet.

    Attributes:
        partition: the source partition, which is the partition of `phone-ledger` as well.
        stored: the highest position known to be stored.
        next_offset: offset in `phone-ledger` of the next record to take.
        bytes: encoded size of the records whose lines are held.
    """

    def __init__(self, partition: int, stored: Position, next_offset: int) -> None:
        self.partition = partition
        self.stored = stored
        self.next_offset = next_offset
        self.bytes = 0
        self._pieces: list[Lines] = []
        self._rows = 0
        self._held_since_s = 0.0

    def __len__(self) -> int:
        return self._rows

    @property
    def pieces(self) -> tuple[Lines, ...]:
        """What is held, in order."""
        return tuple(self._pieces)

    @property
    def first(self) -> Position:
        """Identity of the first line held. Not to be asked of an empty batch."""
        return self._pieces[0].first

    @property
    def last(self) -> Position:
        """The highest position known: of the last line held, or else stored."""
        return self._pieces[-1].last if self._pieces else self.stored

    def take(self, lines: Lines, size_bytes: int, now_s: float) -> int:
        """Hold what is new of the next record, and move on to the one after it.

        Returns:
            How many lines were left out because they are stored or held already.

        Raises:
            PoisonError: lines are missing between the last one known and the record's first new one.
        """
        new = lines.after(self.last)
        if len(new):
            self._refuse_hole(new.first)
            if not self._pieces:
                self._held_since_s = now_s
            self._pieces.append(new)
            self._rows += len(new)
            self.bytes += size_bytes
        self.next_offset += 1
        return len(lines) - len(new)

    def drop_through(self, stored: Position) -> int:
        """Take note that everything up to `stored` is stored; returns how many held lines that was."""
        held = self._rows
        self.stored = max(self.stored, stored)
        kept = [rest for piece in self._pieces if len(rest := piece.after(self.stored))]
        self._pieces = kept
        self._rows = sum(map(len, kept))
        if not kept:
            self.bytes = 0
        return held - self._rows

    def age_s(self, now_s: float) -> float:
        """For how long the oldest line has been held; 0 if none is."""
        return now_s - self._held_since_s if self._pieces else 0.0

    def _refuse_hole(self, first: Position) -> None:
        known = self.last
        if first.line > 0 and first != Position(known.offset, known.line + 1):
            raise PoisonError(f"its first new line is {first}, but the last one known is {known}")


def due(batches: Iterable[Batch], limits: Limits, now_s: float) -> list[Batch]:
    """The batches to write now, oldest first: those at a limit, or the largest if all are too much."""
    held = [batch for batch in batches if len(batch)]
    ripe = [
        batch
        for batch in held
        if len(batch) >= limits.rows
        or batch.bytes >= limits.bytes
        or batch.age_s(now_s) >= _patience_s(batch, limits)
    ]
    if not ripe and sum(batch.bytes for batch in held) >= limits.total_bytes:
        ripe = [max(held, key=lambda batch: batch.bytes)]
    return sorted(ripe, key=lambda batch: -batch.age_s(now_s))


def pause_s(batches: Iterable[Batch], limits: Limits, now_s: float) -> float:
    """How long may be waited for more before a batch is due by its age."""
    left_s = (_patience_s(batch, limits) - batch.age_s(now_s) for batch in batches if len(batch))
    return max(0.0, min(left_s, default=limits.age_s))


def _patience_s(batch: Batch, limits: Limits) -> float:
    many = min(1.0, max(0, len(batch) - FEW_ROWS) / (MANY_ROWS - FEW_ROWS))
    return limits.age_s * (1 + (PATIENCE - 1) * many)
