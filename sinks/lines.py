"""A ledger record made ready for storing: read, checked and turned into columns. Pure.

Everything that ClickHouse or its driver could choke on is refused here, by name, so that an INSERT fails only
for reasons that trying again can cure.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from operator import lt
from typing import Annotated, Any, Final, Literal, NamedTuple

import msgspec
from msgspec import Meta, Struct

from metering.ledger import COLUMNS, Entry, EntryKind
from sinks.columns import Column, Texts, Words, joined
from sinks.errors import PoisonError

ID_DIGITS: Final = 64
"""Digits of a SHA-256 in hexadecimal, which is what `producers.events.event_id` makes of a tap's code."""

_HEXADECIMAL: Final = b"0123456789abcdef"
_RARELY_REPEATED: Final = frozenset({"event_id", "client", "details"})

_Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
_Offset = Annotated[int, Meta(ge=0, le=2**63 - 1)]
_Line = Annotated[int, Meta(ge=0, le=2**32 - 1)]
_Time = Annotated[int, Meta(ge=-(2**62), le=2**62 - 1)]
"""Any two of them have a difference that can be stored."""


_RANGES: Final = {"offset": _Offset, "line": _Line, "time_ms": _Time, "recorded_at_ms": _Time}
_KNOWN_WORDS: Final[dict[str, Any]] = {"kind": EntryKind, "capability": Literal["", "quick", "realtime"]}


def _row(words: Mapping[str, Any]) -> Any:  # noqa: ANN401 - a type that is made at run time
    """What a row must be like. Checked while the JSON is read it costs nothing, afterwards twice the time."""
    types = (
        words.get(field.name) or _RANGES.get(field.name, _Int64 if field.type is int else str)
        for field in msgspec.structs.fields(Entry)
    )
    return tuple[tuple(types)]  # type: ignore[misc]  # mypy cannot see such a type


_Row: Any = _row({})
_KnownRow: Any = _row(_KNOWN_WORDS)


class _Record(Struct):
    """A ledger record as `metering.ledger.LedgerRecord` writes it, with rows that are ready to be stored."""

    format: Literal[1]
    partition: int
    columns: tuple[str, ...]
    rows: list[_Row]


class _KnownRecord(_Record):
    """One without any word that only a newer stream knows: the words that there are need not be made anew."""

    rows: list[_KnownRow]


_decoder: Final = msgspec.json.Decoder(_Record)
_quick_decoder: Final = msgspec.json.Decoder(_KnownRecord)


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
    """Consecutive lines of one source partition, in strictly ascending order of their identities.

    Attributes:
        columns: one column of packed values per name in `metering.ledger.COLUMNS`, all of the same length.
    """

    columns: tuple[Column, ...]

    def __len__(self) -> int:
        return len(self.columns[0])

    @property
    def first(self) -> Position:
        """Identity of the first line. Not to be asked of no lines."""
        return self._at(0)

    @property
    def last(self) -> Position:
        """Identity of the last line. Not to be asked of no lines."""
        return self._at(-1)

    def after(self, stored: Position) -> "Lines":
        """The lines that come after `stored`, which may be none."""
        start = self._count_through(stored)
        if start == len(self):
            return NO_LINES
        return self if start == 0 else self._cut(slice(start, None))

    def through(self, last: Position) -> "Lines":
        """The lines up to and including `last`, which may be none."""
        end = self._count_through(last)
        return self if end == len(self) else self._cut(slice(end))

    def _at(self, index: int) -> Position:
        offsets, lines, *_ = self.columns
        return Position(int(offsets[index]), int(lines[index]))

    def _count_through(self, position: Position) -> int:
        offsets: Sequence[Any] = self.columns[0]
        lines: Sequence[Any] = self.columns[1]
        low = bisect_left(offsets, position.offset)
        return bisect_right(lines, position.line, low, bisect_right(offsets, position.offset, low))

    def _cut(self, part: slice) -> "Lines":
        return Lines(tuple(column[part] for column in self.columns))


def decode(value: bytes | None, partition: int, id_digits: int = ID_DIGITS) -> Lines:
    """Read the value of a ledger record that stands in `partition` of `phone-ledger`.

    Args:
        value: the record's value.
        partition: where it stands.
        id_digits: how many digits to keep of event ids that are a SHA-256.

    Raises:
        PoisonError: it is no ledger record, of another partition, or holds lines that cannot be stored.
    """
    record = _read(value or b"")
    if record.columns != COLUMNS:
        raise PoisonError(f"it has columns {record.columns}; this version knows {COLUMNS}")
    if record.partition != partition:
        raise PoisonError(f"it carries lines of source partition {record.partition}")
    columns = tuple(zip(*record.rows, strict=True)) or ((),) * len(COLUMNS)
    positions = tuple(zip(columns[0], columns[1], strict=True))
    if not all(map(lt, positions, positions[1:])):
        raise PoisonError("its lines are not in ascending order of (offset, line)")
    named: dict[str, Sequence[Any]] = dict(zip(COLUMNS, columns, strict=True))
    named["event_id"] = shortened(named["event_id"], id_digits)
    return Lines(tuple(pack(column) for pack, column in zip(_PACKERS, named.values(), strict=True)))


def _read(value: bytes) -> _Record:
    with suppress(ValueError):
        return _quick_decoder.decode(value)
    try:
        return _decoder.decode(value)
    except ValueError as error:
        raise PoisonError(f"it is not a ledger record: {error}") from error


def shortened(event_ids: Sequence[str], digits: int) -> Sequence[str]:
    """The ids as the table keeps them: those that are a SHA-256 by their first digits, all others whole."""
    if digits >= ID_DIGITS:
        return event_ids
    hashes = "".join([one for one in event_ids if len(one) == ID_DIGITS])
    if hashes.isascii() and not hashes.encode().translate(None, _HEXADECIMAL):
        return [one[:digits] if len(one) == ID_DIGITS else one for one in event_ids]
    return [one[:digits] if _is_hash(one) else one for one in event_ids]


def concatenated(pieces: Sequence[Lines]) -> tuple[Column, ...]:
    """The columns of several pieces, one after the other. Not to be asked of none."""
    return tuple(joined(columns) for columns in zip(*(piece.columns for piece in pieces), strict=True))


def _is_hash(event_id: str) -> bool:
    return len(event_id) == ID_DIGITS and set(event_id.encode()).issubset(_HEXADECIMAL)


def _packer(name: str, type_: Any) -> Any:  # noqa: ANN401 - one of three kinds of column
    if type_ is int:
        return partial(array, "I" if name == "line" else "q")
    return Texts.of if name in _RARELY_REPEATED else Words.of


_PACKERS: Final = tuple(_packer(field.name, field.type) for field in msgspec.structs.fields(Entry))

NO_LINES: Final = Lines(tuple(pack(()) for pack in _PACKERS))
"""What is left where nothing is left."""
