"""Native blocks: finding where one ends, and passing it on with or without the wire's extras.

A Data packet has no length. The only way to find its end is to walk every column by the rules of its type, which is
what this module does, without ever holding a block: bytes are copied to the receiver as they are walked over, so
memory is bounded whatever lengths the wire claims. The same walk adds or drops what differs between the wire and
``FORMAT Native``: the block info, and the per-column flag byte that newer HTTP clients expect.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Protocol

from phonemeter.engine.config import MAX_BLOCK_ROWS, MAX_COLUMNS, MAX_TEXT_BYTES
from phonemeter.engine.errors import INCORRECT_DATA, NOT_IMPLEMENTED, EngineError
from phonemeter.engine.sql import tokens

Write = Callable[[bytes], object]
BLOCK_INFO: Final = b"\x01\x00\x02\xff\xff\xff\xff\x00"
"""Not an overflow block, bucket -1, end."""
MAX_TYPE_DEPTH: Final = 32
MAX_VARINT_BYTES: Final = 10


class EndOfInputError(EOFError):
    """The bytes ended inside a value."""


def varint(value: int) -> bytes:
    """LEB128, as ClickHouse writes lengths."""
    out = bytearray()
    while value >= 0x80:  # noqa: PLR2004 - seven bits a byte
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def text(value: str | bytes) -> bytes:
    """A string with its length before it."""
    raw = value.encode() if isinstance(value, str) else value
    return varint(len(raw)) + raw


class Cursor:
    """Reads values from a source of byte chunks; an empty chunk means that there is no more."""

    def __init__(self, more: Callable[[], bytes]) -> None:
        self._more = more
        self.buffer = b""
        self.position = 0

    def ahead(self) -> bool:
        """Make at least one byte available; False at the end of the input."""
        if self.position < len(self.buffer):
            return True
        self.buffer, self.position = self._more(), 0
        return bool(self.buffer)

    @property
    def exhausted_buffer(self) -> bool:
        """Whether everything fetched so far has been read."""
        return self.position >= len(self.buffer)

    def byte(self) -> int:
        """The next byte."""
        if not self.ahead():
            raise EndOfInputError
        self.position += 1
        return self.buffer[self.position - 1]

    def varint(self) -> int:
        """The next LEB128 number."""
        value = 0
        for shift in range(0, 7 * MAX_VARINT_BYTES, 7):
            octet = self.byte()
            value |= (octet & 0x7F) << shift
            if octet < 0x80:  # noqa: PLR2004 - seven bits a byte
                return value
        raise EngineError(INCORRECT_DATA, "A number on the wire is longer than 10 bytes.")

    def take(self, size: int) -> bytes:
        """The next `size` bytes; callers bound `size`."""
        end = self.position + size
        if end <= len(self.buffer):
            taken = self.buffer[self.position : end]
            self.position = end
            return taken
        parts: list[bytes] = []
        self.copy(size, parts.append)
        return b"".join(parts)

    def text(self, limit_bytes: int = MAX_TEXT_BYTES) -> str:
        """The next string, which must be UTF-8 and within its limit."""
        size = self.varint()
        if size > limit_bytes:
            raise EngineError(
                INCORRECT_DATA,
                f"A text of {size} bytes on the wire is over its limit of {limit_bytes} bytes.",
            )
        try:
            return self.take(size).decode()
        except UnicodeDecodeError as error:
            raise EngineError(INCORRECT_DATA, "A text on the wire is not valid UTF-8.") from error

    def copy(self, size: int, write: Write) -> None:
        """Hand the next `size` bytes to `write` as they come."""
        while size > 0:
            if not self.ahead():
                raise EndOfInputError
            part = self.buffer[self.position : self.position + size]
            self.position += len(part)
            size -= len(part)
            write(part)


class Column(Protocol):
    """How the values of one type lie in a block."""

    def states(self, cursor: Cursor, write: Write) -> None:
        """Copy what precedes all values of the column (the version of a LowCardinality)."""

    def values(self, cursor: Cursor, write: Write, rows: int) -> None:
        """Copy `rows` values."""


@dataclass(frozen=True, slots=True)
class Fixed:
    """Values of `size` bytes each."""

    size: int

    def states(self, cursor: Cursor, write: Write) -> None:
        """Nothing."""

    def values(self, cursor: Cursor, write: Write, rows: int) -> None:
        """One run of bytes."""
        cursor.copy(self.size * rows, write)


@dataclass(frozen=True, slots=True)
class Text:
    """String: a length before each value."""

    def states(self, cursor: Cursor, write: Write) -> None:
        """Nothing."""

    def values(self, cursor: Cursor, write: Write, rows: int) -> None:
        """Walk the lengths; this loop is what an INSERT of strings costs."""
        while rows and cursor.ahead():
            data, start = cursor.buffer, cursor.position
            position, end = start, len(data)
            while rows and position < end and (size := data[position]) < 0x80 and position + size < end:  # noqa: PLR2004
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
class Nullable:
    """A byte per value saying whether it is NULL, then the values."""

    inner: Column

    def states(self, cursor: Cursor, write: Write) -> None:
        """The inner type's."""
        self.inner.states(cursor, write)

    def values(self, cursor: Cursor, write: Write, rows: int) -> None:
        """The map, then the values."""
        cursor.copy(rows, write)
        self.inner.values(cursor, write, rows)


@dataclass(frozen=True, slots=True)
class Array:
    """Cumulative 64-bit ends, then all elements."""

    inner: Column

    def states(self, cursor: Cursor, write: Write) -> None:
        """The inner type's."""
        self.inner.states(cursor, write)

    def values(self, cursor: Cursor, write: Write, rows: int) -> None:
        """The last end is the number of elements."""
        if not rows:
            return
        cursor.copy(8 * (rows - 1), write)
        last = cursor.take(8)
        write(last)
        elements = int.from_bytes(last, "little")
        if elements:
            self.inner.values(cursor, write, elements)


@dataclass(frozen=True, slots=True)
class Tuple:
    """One column after another; also Map's pairs and the geometric points."""

    items: tuple[Column, ...]

    def states(self, cursor: Cursor, write: Write) -> None:
        """Those of every item."""
        for item in self.items:
            item.states(cursor, write)

    def values(self, cursor: Cursor, write: Write, rows: int) -> None:
        """Those of every item."""
        for item in self.items:
            item.values(cursor, write, rows)


@dataclass(frozen=True, slots=True)
class LowCardinality:
    """A dictionary of distinct values and an index per row."""

    keys: Column

    def states(self, cursor: Cursor, write: Write) -> None:
        """The version of the dictionary's format; 1 is the only one there is."""
        version = cursor.take(8)
        if version != b"\x01" + bytes(7):
            raise EngineError(INCORRECT_DATA, "A LowCardinality column has an unknown version.")
        write(version)

    def values(self, cursor: Cursor, write: Write, rows: int) -> None:
        """Dictionary and indexes, until every row has one."""
        while rows > 0:
            head = cursor.take(8)
            write(head)
            flags = int.from_bytes(head, "little")
            width, extra, shared = flags & 0xFF, flags & 0x200, flags & 0x100
            if width > 3 or shared:  # noqa: PLR2004 - index widths are 1, 2, 4 and 8 bytes
                raise EngineError(INCORRECT_DATA, "A LowCardinality column has unknown flags.")
            if extra:
                self.keys.values(cursor, write, self._number(cursor, write))
            indexes = self._number(cursor, write)
            if not 0 < indexes <= rows:
                raise EngineError(
                    INCORRECT_DATA, "A LowCardinality column has more indexes than rows, or none."
                )
            cursor.copy(indexes << width, write)
            rows -= indexes

    @staticmethod
    def _number(cursor: Cursor, write: Write) -> int:
        raw = cursor.take(8)
        write(raw)
        return int.from_bytes(raw, "little")


_SIZES: Final = {
    **{f"{sign}Int{bits}": bits // 8 for sign in ("", "U") for bits in (8, 16, 32, 64, 128, 256)},
    "Float32": 4, "Float64": 8, "BFloat16": 2, "Bool": 1, "Nothing": 1, "UUID": 16, "IPv4": 4, "IPv6": 16,
    "Date": 2, "Date32": 4, "DateTime": 4, "DateTime32": 4, "DateTime64": 8, "Time": 4, "Time64": 8,
    "Enum8": 1, "Enum16": 2, "Decimal32": 4, "Decimal64": 8, "Decimal128": 16, "Decimal256": 32,
}  # fmt: skip
_POINT: Final = Tuple((Fixed(8), Fixed(8)))
_GEOMETRY: Final[dict[str, Column]] = {
    "Point": _POINT,
    "Ring": Array(_POINT),
    "LineString": Array(_POINT),
    "Polygon": Array(Array(_POINT)),
    "MultiLineString": Array(Array(_POINT)),
    "MultiPolygon": Array(Array(Array(_POINT))),
}
_NAME: Final = re.compile(r"\s*(\w+)\s*(?:\((.*)\))?\s*", re.DOTALL)
_ELEMENT_NAME: Final = re.compile(r"""\s*(?:`(?:[^`\\]|\\.)*`|"(?:[^"\\]|\\.)*"|\w+)\s+(?=\w)""", re.DOTALL)


@lru_cache(maxsize=4096)
def column(type_name: str, depth: int = 0) -> Column:
    """The walker for a type; EngineError 48 for types whose end on the wire cannot be found here."""
    match = _NAME.fullmatch(type_name)
    if match is None or depth > MAX_TYPE_DEPTH:
        raise _unserved(type_name)
    name, inside = match[1], match[2] or ""
    if name in _SIZES or name.startswith("Interval"):
        return Fixed(_SIZES.get(name, 8))
    if name == "String":
        return Text()
    if name in _GEOMETRY:
        return _GEOMETRY[name]
    if name in {"FixedString", "Decimal"}:
        return Fixed(_parameter_size(name, inside))
    return _nested(name, _arguments(inside), type_name, depth + 1)


def _nested(name: str, arguments: list[str], type_name: str, depth: int) -> Column:
    match name, arguments:
        case "Nullable", [inner]:
            return Nullable(column(inner, depth))
        case "Array", [inner]:
            return Array(column(inner, depth))
        case "LowCardinality", [inner]:
            keys = column(inner, depth)
            return LowCardinality(keys.inner if isinstance(keys, Nullable) else keys)
        case "Map", [_, _]:
            return Array(Tuple(tuple(column(item, depth) for item in arguments)))
        case "SimpleAggregateFunction", [_, inner]:
            return column(inner, depth)
        case (("Tuple" | "Nested"), [_, *_]):
            items = Tuple(tuple(column(_ELEMENT_NAME.sub("", item, count=1), depth) for item in arguments))
            return Array(items) if name == "Nested" else items
    raise _unserved(type_name)


def _unserved(type_name: str) -> EngineError:
    shown = type_name if len(type_name) < 100 else type_name[:100] + "..."  # noqa: PLR2004 - a sentence, not a page
    return EngineError(
        NOT_IMPLEMENTED,
        f"Columns of type {shown} cannot be sent this way: cast to String or use HTTP with a text format.",
    )


def _arguments(inside: str) -> list[str]:
    """Split at the commas that no bracket or quote holds."""
    cuts = [token.start for token in tokens(inside) if token.text == "," and token.depth == 0]
    parts = [
        inside[a:b].strip()
        for a, b in zip([0, *(cut + 1 for cut in cuts)], [*cuts, len(inside)], strict=True)
    ]
    return parts if inside.strip() else []


def _parameter_size(name: str, inside: str) -> int:
    first = inside.split(",", maxsplit=1)[0].strip()
    if not first.isdigit() or not 0 < int(first) <= MAX_TEXT_BYTES:
        raise _unserved(f"{name}({inside})")
    if name == "FixedString":
        return int(first)
    return next((size for digits, size in ((9, 4), (18, 8), (38, 16)) if int(first) <= digits), 32)


@dataclass(frozen=True, slots=True)
class Layout:
    """What a block carries besides its columns: block info, and a flag byte after each column's type."""

    info: bool = False
    flags: bool = False


PLAIN: Final = Layout()
WIRE: Final = Layout(info=True)


@dataclass(frozen=True, slots=True)
class Head:
    """What a copied block was: its columns (name, type) and its rows."""

    columns: tuple[tuple[str, str], ...]
    rows: int

    def encode(self, layout: Layout) -> bytes:
        """The same columns without rows."""
        parts = [BLOCK_INFO if layout.info else b"", varint(len(self.columns)), b"\x00"]
        for name, type_name in self.columns:
            parts += [text(name), text(type_name), b"\x00" if layout.flags else b""]
        return b"".join(parts)


def copy_block(cursor: Cursor, write: Write, source: Layout = WIRE, target: Layout = PLAIN) -> Head:
    """Copy one block from `cursor` to `write`, changing its layout; a block without rows is not written."""
    if source.info:
        _skip_info(cursor)
    count, rows = cursor.varint(), cursor.varint()
    if count > MAX_COLUMNS or rows > MAX_BLOCK_ROWS or (rows and not count):
        raise EngineError(
            INCORRECT_DATA, f"A block claims {count} columns and {rows} rows, which is over the limits."
        )
    if rows:
        write((BLOCK_INFO if target.info else b"") + varint(count) + varint(rows))
    columns = []
    for _ in range(count):
        name, type_name = cursor.text(), cursor.text()
        columns.append((name, type_name))
        if source.flags and cursor.byte():
            raise EngineError(
                NOT_IMPLEMENTED, f"Column {name} has a custom serialization, which is not served."
            )
        if rows:
            write(text(name) + text(type_name) + (b"\x00" if target.flags else b""))
            walker = column(type_name)
            walker.states(cursor, write)
            walker.values(cursor, write, rows)
    return Head(tuple(columns), rows)


def _skip_info(cursor: Cursor) -> None:
    while number := cursor.varint():
        if number == 1:
            cursor.byte()
        elif number == 2:  # noqa: PLR2004 - the fields are numbered 1 and 2
            cursor.take(4)
        else:
            raise EngineError(INCORRECT_DATA, f"A block has an unknown info field {number}.")


def head_of(block: bytes) -> Head:
    """The columns and rows of a block in FORMAT Native that is in memory."""
    pending = [block]
    return copy_block(Cursor(lambda: pending.pop() if pending else b""), lambda part: None, PLAIN, PLAIN)


def relaid(block: bytes, target: Layout) -> bytes:
    """A block in FORMAT Native with the block info and flags that `target` wants."""
    pending, parts = [block], list[bytes]()
    copy_block(Cursor(lambda: pending.pop() if pending else b""), parts.append, PLAIN, target)
    return b"".join(parts)
