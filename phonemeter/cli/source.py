"""Where `phonemeter emit` and `rate` read: a file, perhaps compressed, or stdin while outcomes are served."""

import gzip
import select
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from io import UnsupportedOperation
from pathlib import Path
from typing import BinaryIO, Final, Self

from phonemeter.errors import UserError
from producers.lines import Block, Read, read_blocks, reader

STDIN: Final = "-"
GZIP_MAGIC: Final = b"\x1f\x8b"
LOOK_S: Final = 0.1
"""How long stdin is waited for at a time."""


class UnreadableError(UserError):
    """What was begun can't be read to its end."""


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
        path = Path(name)
        try:
            file = held.enter_context(path.open("rb"))
            size_bytes = path.stat().st_size
            compressed = file.peek(len(GZIP_MAGIC)).startswith(GZIP_MAGIC)
        except OSError as error:
            raise UserError(f"{name} can't be read: {error.strerror}.") from None
        read = held.enter_context(gzip.GzipFile(fileobj=file)).read1 if compressed else file.read1
        return cls(name, size_bytes or None, read, file)

    def blocks(self, still_wanted: Callable[[], bool]) -> Iterator[Block]:
        """The lines.

        Args:
            still_wanted: asked again and again while nothing comes; no means that this is the end.

        Raises:
            UnreadableError: in the middle.
        """
        try:
            yield from read_blocks(self._read if self._file else _awaiting(self._read, still_wanted))
        except (OSError, EOFError, zlib.error) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise UnreadableError(f"{self.name} can't be read any further: {reason.rstrip('.')}.") from None

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
