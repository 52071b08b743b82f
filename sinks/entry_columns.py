"""Ledger records decoded, validated and turned into columns. Pure.

Everything that ClickHouse or its driver could refuse is refused here, so that a retry can cure whatever makes
an INSERT fail.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from operator import lt
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from metering.ledger import COLUMNS, FORMAT, Entry, EntryKind
from metering.stored_formats import NewerFormatError, refuse_newer
from sinks.errors import PoisonError
from sinks.native_columns import Column, LowCardinalityColumn, StringColumn, concatenate_columns
from sinks.position import Position

ID_DIGITS: Final = 64
"""Digits of a hexadecimal SHA-256, which `producers.events.event_id` derives from a tap's code."""

ID_DIGITS_MIN: Final = 16
"""Digits of an id that identify an event: the number that ClickHouse keeps at least."""

_HEXADECIMAL: Final = b"0123456789abcdef"
_RARELY_REPEATED: Final = frozenset({"event_id", "client", "details"})

_Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
_Offset = Annotated[int, Meta(ge=0, le=2**63 - 1)]
_Line = Annotated[int, Meta(ge=0, le=2**32 - 1)]
_Time = Annotated[int, Meta(ge=-(2**62), le=2**62 - 1)]
"""A range in which the difference of any two values fits an Int64."""


_RANGES: Final = {"offset": _Offset, "line": _Line, "time_ms": _Time, "recorded_at_ms": _Time}
_KNOWN_WORDS: Final[dict[str, Any]] = {"kind": EntryKind, "capability": Literal["", "quick", "realtime"]}


def _row(words: Mapping[str, Any]) -> Any:  # noqa: ANN401 - a type that is made at run time
    """Type of a row. Validation within the JSON decoder costs nothing; after it, it would double the time."""
    types = (
        words.get(field.name) or _RANGES.get(field.name, _Int64 if field.type is int else str)
        for field in msgspec.structs.fields(Entry)
    )
    return tuple[tuple(types)]  # type: ignore[misc]  # mypy cannot see such a type


_Row: Any = _row({})
_KnownRow: Any = _row(_KNOWN_WORDS)


class _Record(Struct):
    """A ledger record as `metering.ledger.LedgerRecord` encodes it, with rows in the ranges of the table."""

    format: Literal[1]
    partition: int
    columns: tuple[str, ...]
    rows: list[_Row]


class _KnownRecord(_Record):
    """A record whose words this version knows: decoding reuses them instead of making new strings."""

    rows: list[_KnownRow]


_decoder: Final = msgspec.json.Decoder(_Record)
_quick_decoder: Final = msgspec.json.Decoder(_KnownRecord)


@dataclass(frozen=True, slots=True)
class EntryColumns:
    """Consecutive entries of one source partition, in strictly ascending order of their positions.

    There is one packed column per name in `metering.ledger.COLUMNS`, all of the same length.
    """

    columns: tuple[Column, ...]

    def __len__(self) -> int:
        return len(self.columns[0])

    @property
    def first(self) -> Position:
        """Position of the first entry; there must be one."""
        return self._at(0)

    @property
    def last(self) -> Position:
        """Position of the last entry; there must be one."""
        return self._at(-1)

    def after(self, stored: Position) -> "EntryColumns":
        """Entries after the position `stored`."""
        start = self._count_through(stored)
        if start == len(self):
            return NO_ENTRIES
        return self if start == 0 else self._cut(slice(start, None))

    def through(self, last: Position) -> "EntryColumns":
        """Entries up to and including the position `last`."""
        end = self._count_through(last)
        return self if end == len(self) else self._cut(slice(end))

    def values_at(self, at: Position, names: Sequence[str]) -> tuple[Any, ...]:
        """Values of the entry at a position, in some of `COLUMNS`; empty if there is no such entry."""
        index = self._count_through(at) - 1
        if index < 0 or self._at(index) != at:
            return ()
        return tuple(self.columns[COLUMNS.index(name)][index] for name in names)

    def _at(self, index: int) -> Position:
        offsets, lines, *_ = self.columns
        return Position(int(offsets[index]), int(lines[index]))

    def _count_through(self, position: Position) -> int:
        offsets: Sequence[Any] = self.columns[0]
        lines: Sequence[Any] = self.columns[1]
        low = bisect_left(offsets, position.offset)
        return bisect_right(lines, position.line, low, bisect_right(offsets, position.offset, low))

    def _cut(self, part: slice) -> "EntryColumns":
        return EntryColumns(tuple(column[part] for column in self.columns))


def decode(value: bytes | None, partition: int, id_digits: int = ID_DIGITS) -> EntryColumns:
    """Decode a record of `phone-ledger`, and keep `id_digits` digits of event ids that are a SHA-256.

    Raises:
        PoisonError: it is no ledger record, is of another partition, or has entries that cannot be stored.
    """
    record = _read(value or b"")
    if record.columns != COLUMNS:
        raise PoisonError(f"it has columns {record.columns}; this version knows {COLUMNS}")
    if record.partition != partition:
        raise PoisonError(f"it carries entries of source partition {record.partition}")
    columns = tuple(zip(*record.rows, strict=True)) or ((),) * len(COLUMNS)
    positions = tuple(zip(columns[0], columns[1], strict=True))
    if not all(map(lt, positions, positions[1:])):
        raise PoisonError("its entries are not in ascending order of (offset, line)")
    named: dict[str, Sequence[Any]] = dict(zip(COLUMNS, columns, strict=True))
    named["event_id"] = shorten_ids(named["event_id"], id_digits)
    return EntryColumns(tuple(pack(column) for pack, column in zip(_PACKERS, named.values(), strict=True)))


def _read(value: bytes) -> _Record:
    with suppress(ValueError):
        return _quick_decoder.decode(value)
    try:
        return _decoder.decode(value)
    except ValueError as error:
        try:
            refuse_newer(value, FORMAT)
        except NewerFormatError as newer:
            raise PoisonError(f"{newer}") from error
        raise PoisonError(f"it is not a ledger record: {error}") from error


def shorten_ids(event_ids: Sequence[str], digits: int) -> Sequence[str]:
    """Shorten the event ids that are a SHA-256 to their first digits, as the table keeps them."""
    if digits >= ID_DIGITS:
        return event_ids
    hashes = "".join([one for one in event_ids if len(one) == ID_DIGITS])
    if hashes.isascii() and not hashes.encode().translate(None, _HEXADECIMAL):
        return [one[:digits] if len(one) == ID_DIGITS else one for one in event_ids]
    return [one[:digits] if _is_hash(one) else one for one in event_ids]


def concatenate(pieces: Sequence[EntryColumns]) -> tuple[Column, ...]:
    """Concatenate the columns of several pieces, of which there must be one."""
    return tuple(
        concatenate_columns(columns) for columns in zip(*(piece.columns for piece in pieces), strict=True)
    )


def _is_hash(event_id: str) -> bool:
    return len(event_id) == ID_DIGITS and set(event_id.encode()).issubset(_HEXADECIMAL)


def _packer(name: str, type_: Any) -> Any:  # noqa: ANN401 - one of three kinds of column
    if type_ is int:
        return partial(array, "I" if name == "line" else "q")
    return StringColumn.of if name in _RARELY_REPEATED else LowCardinalityColumn.of


_PACKERS: Final = tuple(_packer(field.name, field.type) for field in msgspec.structs.fields(Entry))

NO_ENTRIES: Final = EntryColumns(tuple(pack(()) for pack in _PACKERS))
"""Columns without entries."""
