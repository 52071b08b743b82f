"""Where `phonemeter emit` and `rate` read: a file, perhaps compressed, or stdin while outcomes are served."""

import select
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from io import UnsupportedOperation
from typing import BinaryIO, Final, Self

from phonemeter.files import opened, unreadable_told
from producers.lines import Block, Read, read_blocks, reader

STDIN: Final = "-"
LOOK_S: Final = 0.1
"""How long stdin is waited for at a time."""


@dataclass(frozen=True)
class Source:
    """A stream of lines.

    Attributes:
        name: as it was given.
        size_bytes: None if it has none.
    """

    name: str
    size_bytes: int | None
    _read: Read
    _file: BinaryIO | None

    @classmethod
    def opened(cls, name: str, held: ExitStack) -> Self:
        """Open it for as long as `held` is.

        Raises:
            UserError: it can't be read.
        """
        if name == STDIN:
            return cls(name, None, reader(sys.stdin.buffer), None)
        file = held.enter_context(opened(name))
        return cls(name, file.size_bytes or None, file.read, file.stored)

    def blocks(self, still_wanted: Callable[[], bool]) -> Iterator[Block]:
        """The lines.

        Args:
            still_wanted: asked again and again while nothing comes; no means that this is the end.

        Raises:
            UnreadableError: in the middle.
        """
        with unreadable_told(self.name):
            yield from read_blocks(self._read if self._file else _awaiting(self._read, still_wanted))

    def position(self, block: Block) -> int:
        """How far it is read, to be held against `size_bytes`."""
        return block.bytes_read if self._file is None else self._file.tell()


def _awaiting(read: Read, still_wanted: Callable[[], bool]) -> Read:
    """Stdin, read only when it has something to say."""
    try:
        descriptor = sys.stdin.fileno()
    except UnsupportedOperation:
        return read

    def read_awaited(size: int) -> bytes:
        while not select.select([descriptor], [], [], LOOK_S)[0]:
            if not still_wanted():
                return b""
        return read(size)

    return read_awaited
