"""Native blocks: finding where one ends, and passing it on with or without the wire's extras.

A Data packet has no length. The only way to find its end is to walk every column by the rules of its
type, which is what this module does, without ever holding a block: bytes are copied to the receiver as
they are walked over, so memory is bounded whatever lengths the wire claims. The same walk adds or drops
what differs between the wire and ``FORMAT Native``: the block info, and the per-column flag byte that
newer HTTP clients expect.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from phonemeter.engine.config import MAX_BLOCK_ROWS, MAX_COLUMNS, MAX_TEXT_BYTES
from phonemeter.engine.errors import INCORRECT_DATA, NOT_IMPLEMENTED, EngineError
from phonemeter.engine.sql import tokens

Write = Callable[[bytes], object]
BLOCK_INFO: Final = b"\x01\x00\x02\xff\xff\xff\xff\x00"
"""Not an overflow block, bucket -1, end."""
MAX_TYPE_DEPTH: Final = 32
MAX_VARINT_BYTES: Final = 10
MORE: Final = 0x80
"""The bit of a LEB128 byte that says that another one follows."""
WIDEST_INDEX: Final = 3
"""LowCardinality indexes are 1 << 0..3 bytes wide."""


class EndOfInputError(EOFError):
    """The bytes ended inside a value."""


def varint(value: int) -> bytes:
    """LEB128, as ClickHouse writes lengths."""
    out = bytearray()
    while value >= MORE:
        out.append(value & 0x7F | MORE)
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
    def unread(self) -> bytes:
        """The first byte that was fetched and not yet read, if there is one."""
        return self.buffer[self.position : self.position + 1]

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
            if octet < MORE:
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

    def number(self, write: Write) -> int:
        """The next 64-bit number, which is handed to `write` as well."""
        raw = self.take(8)
        write(raw)
        return int.from_bytes(raw, "little")

    def copy(self, size: int, write: Write) -> None:
        """Hand the next `size` bytes to `write` as they come."""
        while size > 0:
            if not self.ahead():
                raise EndOfInputError
            part = self.buffer[self.position : self.position + size]
            self.position += len(part)
            size -= len(part)
            write(part)


class Column:
    """How the values of one type lie in a block; this base class is a type of no width."""

    def states(self, cursor: Cursor, write: Write) -> None:
        """Copy what precedes all values of the column: only LowCardinality has such a thing."""

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
        # The inner loop is what an INSERT of strings costs: it walks short values that lie within the buffer.
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
        return _Fixed(_SIZES.get(name, 8))
    if name == "String":
        return _Text()
    if name in {"FixedString", "Decimal"}:
        return _Fixed(_parameter_size(name, inside))
    return _nested(name, _arguments(inside), type_name, depth + 1)


def _nested(name: str, arguments: list[str], type_name: str, depth: int) -> Column:
    match name, arguments:
        case "Nullable", [inner]:
            return _Nullable(column(inner, depth))
        case "Array", [inner]:
            return _Array(column(inner, depth))
        case "LowCardinality", [inner]:
            keys = column(inner, depth)
            return _LowCardinality(keys.inner if isinstance(keys, _Nullable) else keys)
        case "Map", [_, _]:
            return _Array(_Tuple(tuple(column(item, depth) for item in arguments)))
        case "SimpleAggregateFunction", [_, inner]:
            return column(inner, depth)
        case (("Tuple" | "Nested"), [_, *_]):
            items = _Tuple(tuple(column(_ELEMENT_NAME.sub("", item, count=1), depth) for item in arguments))
            return _Array(items) if name == "Nested" else items
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


def in_memory(data: bytes) -> Cursor:
    """A cursor over bytes that are all there."""
    pending = [data]
    return Cursor(lambda: pending.pop() if pending else b"")


def head_of(block: bytes) -> Head:
    """The columns and rows of a block in FORMAT Native."""
    return copy_block(in_memory(block), len, PLAIN, PLAIN)


def relaid(blocks: bytes, target: Layout) -> bytes:
    """Blocks in FORMAT Native with the block info and flags that `target` wants."""
    cursor, parts = in_memory(blocks), list[bytes]()
    while cursor.ahead():
        copy_block(cursor, parts.append, PLAIN, target)
    return b"".join(parts)
