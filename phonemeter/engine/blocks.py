"""Native blocks: copied to their end, with or without what only the wire adds.

A Data packet has no length, so its end is found by walking over every column (`column_types.py`). The same
walk converts between the layouts of the wire and of ``FORMAT Native``: with or without block info, and the
flag byte per column that newer HTTP clients expect.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from phonemeter.engine.column_types import column_of_type
from phonemeter.engine.config import MAX_BLOCK_ROWS, MAX_COLUMNS
from phonemeter.engine.errors import INCORRECT_DATA, NOT_IMPLEMENTED, EngineError
from phonemeter.engine.wire_values import Cursor, Write, cursor_over, text, varint

BLOCK_INFO: Final = b"\x01\x00\x02\xff\xff\xff\xff\x00"
"""Not an overflow block, bucket -1, end."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The parts of a block besides its columns: block info, and a flag byte after each column's type."""

    info: bool = False
    flags: bool = False


PLAIN: Final = Layout()
WIRE: Final = Layout(info=True)


@dataclass(frozen=True, slots=True)
class Head:
    """The columns (name, type) and the number of rows of a block."""

    columns: tuple[tuple[str, str], ...]
    rows: int

    def encode(self, layout: Layout) -> bytes:
        """A block with the same columns and no rows."""
        parts = [BLOCK_INFO if layout.info else b"", varint(len(self.columns)), b"\x00"]
        for name, type_name in self.columns:
            parts += [text(name), text(type_name), b"\x00" if layout.flags else b""]
        return b"".join(parts)


def copy_block(
    cursor: Cursor,
    write: Write,
    source: Layout = WIRE,
    target: Layout = PLAIN,
    types: Sequence[str] = (),
) -> Head:
    """Copy one block from `cursor` to `write`, changing its layout; a block without rows is not written.

    If `types` are given, they are written instead of those read; their values must have the same layout.

    Raises:
        EngineError: the block is over the limits, or its end cannot be found.
        EndOfInputError: the block is not whole.
    """
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
    for index in range(count):
        name, type_name = cursor.text(), cursor.text()
        target_type = types[index] if index < len(types) else type_name
        columns.append((name, target_type))
        if source.flags and cursor.byte():
            raise EngineError(
                NOT_IMPLEMENTED, f"Column {name} has a custom serialization, which is not served."
            )
        if rows:
            write(text(name) + text(target_type) + (b"\x00" if target.flags else b""))
            walker = column_of_type(type_name)
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


def read_head(block: bytes) -> Head:
    """The columns and rows of a block in FORMAT Native."""
    return copy_block(cursor_over(block), len, PLAIN, PLAIN)


def change_layout(blocks: bytes, target: Layout) -> bytes:
    """Convert blocks from FORMAT Native to another layout."""
    cursor, parts = cursor_over(blocks), list[bytes]()
    while cursor.ahead():
        copy_block(cursor, parts.append, PLAIN, target)
    return b"".join(parts)
