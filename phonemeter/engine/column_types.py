"""Column types: the layout of their values in a block, as far as it is needed to find the end of a column.

Bytes are copied to the receiver while they are walked over, so memory is bounded whatever lengths the wire
claims.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from phonemeter.engine.config import MAX_TEXT_BYTES
from phonemeter.engine.errors import INCORRECT_DATA, NOT_IMPLEMENTED, EngineError
from phonemeter.engine.wire_values import MORE, Cursor, EndOfInputError, Write, varint

MAX_TYPE_DEPTH: Final = 32
WIDEST_INDEX: Final = 3
"""LowCardinality indexes are 1 << 0..3 bytes wide."""


class Column:
    """The layout of the values of one type; this base class is a type without values."""

    def states(self, cursor: Cursor, write: Write) -> None:
        """Copy what precedes all values of the column; only LowCardinality has such a prefix."""

    def values(self, cursor: Cursor, write: Write, rows: int) -> None:
        """Copy `rows` values."""


@dataclass(frozen=True, slots=True)
class _Fixed(Column):
    size: int

    def values(self, cursor: Cursor, write: Write, rows: int) -> None:
        cursor.copy(self.size * rows, write)


@dataclass(frozen=True, slots=True)
class _Text(Column):
    def values(self, cursor: Cursor, write: Write, rows: int) -> None:
        # The inner loop determines the speed of INSERTs of strings: it skips short values within the buffer.
        while rows and cursor.ahead():
            data, start = cursor.buffer, cursor.position
            position, end = start, len(data)
            while rows and position < end and (size := data[position]) < MORE and position + size < end:
                position += size + 1
                rows -= 1
            write(data[start:position])
            cursor.position = position
            if rows and cursor.ahead():
                size = cursor.varint()
                write(varint(size))
                cursor.copy(size, write)
                rows -= 1
        if rows:
            raise EndOfInputError


@dataclass(frozen=True, slots=True)
class _Wrapper(Column):
    inner: Column

    def states(self, cursor: Cursor, write: Write) -> None:
        self.inner.states(cursor, write)


class _Nullable(_Wrapper):
    def values(self, cursor: Cursor, write: Write, rows: int) -> None:
        cursor.copy(rows, write)
        self.inner.values(cursor, write, rows)


class _Array(_Wrapper):
    def values(self, cursor: Cursor, write: Write, rows: int) -> None:
        if rows:
            cursor.copy(8 * (rows - 1), write)
            # The ends of the arrays are cumulative: the last one is the number of elements.
            self.inner.values(cursor, write, cursor.number(write))


@dataclass(frozen=True, slots=True)
class _Tuple(Column):
    items: tuple[Column, ...]

    def states(self, cursor: Cursor, write: Write) -> None:
        for item in self.items:
            item.states(cursor, write)

    def values(self, cursor: Cursor, write: Write, rows: int) -> None:
        for item in self.items:
            item.values(cursor, write, rows)


class _LowCardinality(_Wrapper):
    """A dictionary of distinct values (`inner`) and an index per row."""

    def states(self, cursor: Cursor, write: Write) -> None:
        if cursor.number(write) != 1:
            raise EngineError(INCORRECT_DATA, "A LowCardinality column has an unknown version.")

    def values(self, cursor: Cursor, write: Write, rows: int) -> None:
        while rows > 0:
            flags = cursor.number(write)
            width, has_keys, shared = flags & 0xFF, flags & 0x200, flags & 0x100
            if width > WIDEST_INDEX or shared:
                raise EngineError(INCORRECT_DATA, "A LowCardinality column has unknown flags.")
            if has_keys:
                self.inner.values(cursor, write, cursor.number(write))
            indexes = cursor.number(write)
            if not 0 < indexes <= rows:
                raise EngineError(
                    INCORRECT_DATA, "A LowCardinality column has more indexes than rows, or none."
                )
            cursor.copy(indexes << width, write)
            rows -= indexes


_SIZES: Final = {
    **{f"{sign}Int{bits}": bits // 8 for sign in ("", "U") for bits in (8, 16, 32, 64, 128, 256)},
    "Float32": 4, "Float64": 8, "BFloat16": 2, "Bool": 1, "Nothing": 1, "UUID": 16, "IPv4": 4, "IPv6": 16,
    "Date": 2, "Date32": 4, "DateTime": 4, "DateTime32": 4, "DateTime64": 8, "Time": 4, "Time64": 8,
    "Enum8": 1, "Enum16": 2, "Decimal32": 4, "Decimal64": 8, "Decimal128": 16, "Decimal256": 32,
}  # fmt: skip
_SPELLED_OUT: Final = {
    "Point": "Tuple(Float64, Float64)",
    "Ring": "Array(Point)", "LineString": "Array(Point)", "MultiPoint": "Array(Point)",
    "Polygon": "Array(Ring)", "MultiLineString": "Array(LineString)", "MultiPolygon": "Array(Polygon)",
}  # fmt: skip
"""Names of composite types."""
_NAME: Final = re.compile(r"\s*(\w+)\s*(?:\((.*)\))?\s*", re.DOTALL)
_PIECES: Final = re.compile(r"""'(?:[^'\\]|\\.)*'|`(?:[^`\\]|\\.)*`|[^'`(),]+|.""", re.DOTALL)
_ELEMENT_NAME: Final = re.compile(r"""\s*(?:`(?:[^`\\]|\\.)*`|"(?:[^"\\]|\\.)*"|\w+)\s+(?=\w)""", re.DOTALL)


@lru_cache(maxsize=4096)
def column_of_type(type_name: str, depth: int = 0) -> Column:
    """The layout of a type; raises EngineError 48 for types whose end cannot be found."""
    match = _NAME.fullmatch(type_name)
    if match is None or depth > MAX_TYPE_DEPTH:
        raise _unserved(type_name)
    name, inside = match[1], match[2] or ""
    if name in _SPELLED_OUT:
        return column_of_type(_SPELLED_OUT[name], depth + 1)
    if name in _SIZES or name.startswith("Interval"):
        return _Fixed(_SIZES.get(name, 8))
    if name == "String":
        return _Text()
    if name in {"FixedString", "Decimal"}:
        return _Fixed(_parameter_size(name, inside))
    return _nested(name, _arguments(inside), type_name, depth + 1)


def _nested(name: str, arguments: list[str], type_name: str, depth: int) -> Column:
    match name, arguments:
        case "Nullable", [inner]:
            return _Nullable(column_of_type(inner, depth))
        case "Array", [inner]:
            return _Array(column_of_type(inner, depth))
        case "LowCardinality", [inner]:
            keys = column_of_type(inner, depth)
            return _LowCardinality(keys.inner if isinstance(keys, _Nullable) else keys)
        case "Map", [_, _]:
            return _Array(_Tuple(tuple(column_of_type(item, depth) for item in arguments)))
        case "SimpleAggregateFunction", [_, inner]:
            return column_of_type(inner, depth)
        case (("Tuple" | "Nested"), [_, *_]):
            items = _Tuple(
                tuple(column_of_type(_ELEMENT_NAME.sub("", item, count=1), depth) for item in arguments)
            )
            return _Array(items) if name == "Nested" else items
    raise _unserved(type_name)


def _unserved(type_name: str) -> EngineError:
    shown = type_name if len(type_name) < 100 else type_name[:100] + "..."  # noqa: PLR2004 - a sentence, not a page
    return EngineError(
        NOT_IMPLEMENTED,
        f"Columns of type {shown} cannot be sent this way: cast to String or use HTTP with a text format.",
    )


def _arguments(inside: str) -> list[str]:
    """Split the parameters of a type at commas outside of brackets and quotes."""
    parts, depth = [""], 0
    for piece in _PIECES.findall(inside):
        depth += (piece == "(") - (piece == ")")
        if piece == "," and not depth:
            parts.append("")
        else:
            parts[-1] += piece
    return [part.strip() for part in parts] if inside.strip() else []


def _parameter_size(name: str, inside: str) -> int:
    first = inside.split(",", maxsplit=1)[0].strip()
    if not first.isdigit() or not 0 < int(first) <= MAX_TEXT_BYTES:
        raise _unserved(f"{name}({inside})")
    if name == "FixedString":
        return int(first)
    return next((size for digits, size in ((9, 4), (18, 8), (38, 16)) if int(first) <= digits), 32)
