"""A ledger record made ready for storing: read, checked and turned into columns. Pure.

Everything that ClickHouse or its driver could choke on is refused here, by name, so that an INSERT fails only
for reasons that trying again can cure.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from operator import lt
from typing import Annotated, Any, Final, Literal, NamedTuple

import msgspec
from msgspec import Meta, Struct

from metering.ledger import COLUMNS, Entry
from sinks.errors import PoisonError

_Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
_Offset = Annotated[int, Meta(ge=0, le=2**63 - 1)]
_Line = Annotated[int, Meta(ge=0, le=2**32 - 1)]


def _stored_as(field: str, type_: Any) -> Any:  # noqa: ANN401 - a type that is made at run time
    by_name = {"offset": _Offset, "line": _Line}
    return by_name.get(field, _Int64 if type_ is int else str)


# Types are checked while the JSON is read, which costs nothing; checking columns afterwards doubles the time.
# A kind that a newer stream knows is stored like any other.
_Row: Any = tuple[tuple(_stored_as(field.name, field.type) for field in msgspec.structs.fields(Entry))]  # type: ignore[misc]  # mypy cannot see such a type


class _Record(Struct):
    """A ledger record as `metering.ledger.LedgerRecord` writes it, with rows that are ready to be stored."""

    format: Literal[1]
    partition: int
    columns: tuple[str, ...]
    rows: list[_Row]


_decoder: Final = msgspec.json.Decoder(_Record)


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
        record = _decoder.decode(value or b"")
    except (ValueError, UnicodeDecodeError) as error:
        raise PoisonError(f"it is not a ledger record: {error}") from error
    if record.columns != COLUMNS:
        raise PoisonError(f"it has columns {record.columns}; this version knows {COLUMNS}")
    if record.partition != partition:
        raise PoisonError(f"it carries lines of source partition {record.partition}")
    if not record.rows:
        return Lines(tuple(() for _ in COLUMNS), ())
    columns = tuple(zip(*record.rows, strict=True))
    positions = tuple(zip(columns[0], columns[1], strict=True))
    if not all(map(lt, positions, positions[1:])):
        raise PoisonError("its lines are not in ascending order of (offset, line)")
    return Lines(columns, positions)


def concatenated(pieces: Sequence[Lines]) -> tuple[list[Any], ...]:
    """The columns of several pieces, one after the other."""
    columns: tuple[list[Any], ...] = tuple([] for _ in COLUMNS)
    for piece in pieces:
        for column, more in zip(columns, piece.columns, strict=True):
            column.extend(more)
    return columns
