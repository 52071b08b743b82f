"""The lines of a JSON Lines stream, in bounded memory and as soon as they arrive."""

from collections.abc import Callable, Iterator
from typing import BinaryIO, Final, NamedTuple

from metering.events import VALUE_BYTES_MAX

UTF8_BOM: Final = b"\xef\xbb\xbf"
BLOCK_BYTES: Final = 131_072
"""Most that is read at a time: some hundred events, between two checks for signals."""


Read = Callable[[int], bytes]
"""Reads the available bytes of a stream, at most so many; none only at its end."""


class Block(NamedTuple):
    """Consecutive lines without line ends: empty for an empty line, None for one longer than an event may be.

    `first` is the number of the first line, from 1; `bytes_read` counts the stream so far.
    """

    first: int
    values: list[bytes | None]
    bytes_read: int


class JsonLine(NamedTuple):
    """One line of a stream: its `value` without the line's end, None when longer than an event may be."""

    number: int
    value: bytes | None
    bytes_read: int


def reader(stream: BinaryIO) -> Read:
    """The function that reads the available bytes of a stream; unbuffered streams only have `read`."""
    read: Read = getattr(stream, "read1", stream.read)
    return read


def read_lines(read: Read) -> Iterator[JsonLine]:
    """The lines of a stream that are not empty."""
    for block in read_blocks(read):
        for number, value in enumerate(block.values, block.first):
            if value != b"":
                yield JsonLine(number, value, block.bytes_read)


def read_blocks(read: Read) -> Iterator[Block]:
    """The lines of a stream, as many at a time as have arrived; none waits for the next one."""
    partial = _PartialLine()
    first = 1
    bytes_read = 0
    while data := read(BLOCK_BYTES):
        bytes_read += len(data)
        head, newline, rest = data.partition(b"\n")
        partial.add(head)
        if not newline:
            continue
        *lines, tail = rest.split(b"\n")
        values = [_without_bom(partial.end(), first), *map(_stripped, lines)]
        yield Block(first, values, bytes_read)
        first += len(values)
        partial.add(tail)
    last = _without_bom(partial.end(), first)
    if last != b"":
        yield Block(first, [last], bytes_read)


def starting_at(blocks: Iterator[Block], line: int) -> Iterator[Block]:
    """The blocks without the lines before `line`."""
    for block in blocks:
        passed_over = max(0, line - block.first)
        if passed_over < len(block.values):
            yield block._replace(first=block.first + passed_over, values=block.values[passed_over:])


def _without_bom(value: bytes | None, number: int) -> bytes | None:
    return value.removeprefix(UTF8_BOM).lstrip() if value is not None and number == 1 else value


def _stripped(line: bytes) -> bytes | None:
    value = line.strip()
    return value if len(value) <= VALUE_BYTES_MAX else None


class _PartialLine:
    """A line whose end has not arrived yet. Nothing is kept of one that is too long."""

    def __init__(self) -> None:
        self._kept = b""
        self._padded = False
        self._too_long = False

    def add(self, part: bytes) -> None:
        if self._padded:
            self._too_long = self._too_long or bool(part.strip())
            return
        kept = (self._kept + part).lstrip()
        if len(kept) <= VALUE_BYTES_MAX:
            self._kept = kept
            return
        # Spaces alone do not make a line too long, but what follows so many of them does.
        self._padded = True
        self._kept = kept.rstrip()
        if len(self._kept) > VALUE_BYTES_MAX:
            self._kept, self._too_long = b"", True

    def end(self) -> bytes | None:
        value = None if self._too_long else self._kept.rstrip()
        self._kept, self._padded, self._too_long = b"", False, False
        return value
