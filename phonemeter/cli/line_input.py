"""The input of `phonemeter emit` and `rate`: a file, plain or compressed, or stdin."""

import select
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from io import UnsupportedOperation
from typing import BinaryIO, Final, Self

from phonemeter.event_file import open_event_file, read_errors
from producers.jsonl import Block, Read, read_blocks, reader

STDIN: Final = "-"
LOOK_S: Final = 0.1
"""Time between two checks while stdin has no data."""


@dataclass(frozen=True)
class LineInput:
    """A file or stdin with lines; the size of stdin is None."""

    name: str
    size_bytes: int | None
    _read: Read
    _file: BinaryIO | None

    @classmethod
    def open_named(cls, name: str, held: ExitStack) -> Self:
        """Open a file, or stdin for `-`, for the lifetime of `held`.

        Raises:
            UserError: it can't be read.
        """
        if name == STDIN:
            return cls(name, None, reader(sys.stdin.buffer), None)
        file = held.enter_context(open_event_file(name))
        return cls(name, file.size_bytes or None, file.read, file.stored)

    def blocks(self, wants_more: Callable[[], bool]) -> Iterator[Block]:
        """The lines, until `wants_more`, which is called while stdin has no data, returns False.

        Raises:
            UnreadableError: in the middle.
        """
        with read_errors(self.name):
            yield from read_blocks(self._read if self._file else _read_when_ready(self._read, wants_more))

    def position(self, block: Block) -> int:
        """Number of bytes read, of `size_bytes`."""
        return block.bytes_read if self._file is None else self._file.tell()


def _read_when_ready(read: Read, wants_more: Callable[[], bool]) -> Read:
    """A function that reads stdin when it has data."""
    try:
        descriptor = sys.stdin.fileno()
    except UnsupportedOperation:
        return read

    def read_awaited(size: int) -> bytes:
        while not select.select([descriptor], [], [], LOOK_S)[0]:
            if not wants_more():
                return b""
        return read(size)

    return read_awaited
