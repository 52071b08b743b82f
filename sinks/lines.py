"""A ledger record made ready for storing: read, checked and turned into columns. Pure.

Everything that ClickHouse or its driver could choke on is refused here, by name, so that an INSERT fails only
for reasons that trying again can cure.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, NamedTuple

import msgspec

from metering.ledger import COLUMNS, Entry, decode_rows
from sinks.errors import PoisonError

INT64_MAX: Final = 2**63 - 1
UINT32_MAX: Final = 2**32 - 1

_NON_NEGATIVE: Final = {"offset": INT64_MAX, "line": UINT32_MAX}
_TYPES: Final[tuple[type, ...]] = tuple(
    int if field.type is int else str for field in msgspec.structs.fields(Entry)
)


class Position(NamedTuple):
    """Identity of a line within its source partition; compares in the order of the ledger."""

    offset: int
    line: int

    def __str__(self) -> str:
        return f"offset {self.offset} line {self.line}"


BEFORE_ALL: Final = Position(-1, -1)
"""Where a source partition stands of which nothing is stored."""


@dataclass(frozen=True, slots=True)
class Lines:
    """Consecutive lines of one source partition, as columns in the order of `metering.ledger.COLUMNS`.

    Attributes:
        columns: one sequence of values per column, all of the same length.
        positions: the identity of each line, strictly ascending.
    """

    columns: tuple[Sequence[Any], ...]
    positions: Sequence[Position | tuple[int, int]]

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def first(self) -> Position:
        """Identity of the first line. Not to be asked of no lines."""
        return Position(*self.positions[0])

    @property
    def last(self) -> Position:
        """Identity of the last line. Not to be asked of no lines."""
        return Position(*self.positions[-1])

    def after(self, stored: Position) -> "Lines":
        """The lines that come after `stored`, which may be none."""
        start = bisect_right(self.positions, stored)
        if start == 0:
            return self
        return Lines(tuple(column[start:] for column in self.columns), self.positions[start:])


def decode(value: bytes | None, partition: int) -> Lines:
    """Read the value of a ledger record that stands in `partition` of `phone-ledger`.

    Raises:
        PoisonError: it is no ledger record, of another partition, or holds lines that cannot be stored.
    """
    try:
        record = decode_rows(value or b"")
    except (ValueError, UnicodeDecodeError) as error:
        raise PoisonError(f"it is not a ledger record: {error}") from error
    if record.partition != partition:
        raise PoisonError(f"it carries lines of source partition {record.partition}")
    if not record.rows:
        return Lines(tuple(() for _ in COLUMNS), ())
    try:
        columns = tuple(zip(*record.rows, strict=True))
    except ValueError:
        columns = ()
    if len(columns) != len(COLUMNS):
        raise PoisonError(f"its rows do not all have the {len(COLUMNS)} columns {', '.join(COLUMNS)}")
    for name, expected, column in zip(COLUMNS, _TYPES, columns, strict=True):
        _check(name, expected, column)
    positions = tuple(zip(columns[0], columns[1], strict=True))
    if any(one >= other for one, other in pairwise(positions)):
        raise PoisonError("its lines are not in ascending order of (offset, line)")
    return Lines(columns, positions)


def concatenated(pieces: Sequence[Lines]) -> tuple[list[Any], ...]:
    """The columns of several pieces, one after the other."""
    columns: tuple[list[Any], ...] = tuple([] for _ in COLUMNS)
    for piece in pieces:
        for column, more in zip(columns, piece.columns, strict=True):
            column.extend(more)
    return columns


def _check(name: str, expected: type, column: Sequence[Any]) -> None:
    if set(map(type, column)) != {expected}:
        raise PoisonError(f"column {name} holds something else than {expected.__name__}")
    if expected is not int:
        return
    most = _NON_NEGATIVE.get(name, INT64_MAX)
    least = 0 if name in _NON_NEGATIVE else -most - 1
    if min(column) < least or max(column) > most:
        raise PoisonError(f"column {name} holds a number outside {least} to {most}")
