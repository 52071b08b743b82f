"""Files of events, plain or compressed by gzip."""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from phonemeter.errors import UserError
from producers.jsonl import JsonLine, Read, read_lines

GZIP_MAGIC: Final = b"\x1f\x8b"


class UnreadableError(UserError):
    """A file cannot be read to its end."""


@dataclass(frozen=True, slots=True)
class EventFile:
    """An open file of events. Made by `open_event_file`.

    Attributes:
        read: returns its content, decompressed.
        read_line: returns the rest of a line of it, at most so many bytes.
        stored: the file itself; its position is the reading progress.
        size_bytes: of the file itself.
    """

    name: str
    read: Read
    read_line: Read
    stored: BinaryIO
    size_bytes: int

    def lines(self) -> Iterator[JsonLine]:
        """The lines that are not blank.

        Raises:
            UnreadableError: in the middle.
        """
        with read_errors(self.name):
            yield from read_lines(self.read)


@contextmanager
def open_event_file(name: str) -> Iterator[EventFile]:
    """Open a file of events; its first bytes, not its name, decide whether it is compressed.

    Raises:
        UserError: it can't be read.
    """
    path = Path(name)
    with ExitStack() as held:
        try:
            file = held.enter_context(path.open("rb"))
            size_bytes = path.stat().st_size
            compressed = file.peek(len(GZIP_MAGIC)).startswith(GZIP_MAGIC)
        except OSError as error:
            raise UserError(f"{name} can't be read: {error.strerror}.") from None
        content = held.enter_context(gzip.GzipFile(fileobj=file)) if compressed else file
        yield EventFile(name, content.read1, content.readline, file, size_bytes)


@contextmanager
def read_errors(name: str) -> Iterator[None]:
    """Turn an error while reading in the block into one sentence.

    Raises:
        UnreadableError: reading failed.
    """
    try:
        yield
    except (OSError, EOFError, zlib.error) as error:
        system = error.strerror if isinstance(error, OSError) else None
        # An error without a message of the system comes from gzip.
        reason = system or f"{str(error).rstrip('.')}; its gzip data is broken, make or fetch it again"
        raise UnreadableError(f"{name} can't be read any further: {reason}.") from None
