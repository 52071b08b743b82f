"""Files of events as people have them: plain, or compressed by gzip."""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from phonemeter.errors import UserError
from producers.lines import Line, Read, read_lines

GZIP_MAGIC: Final = b"\x1f\x8b"


class UnreadableError(UserError):
    """What was begun can't be read to its end."""


@dataclass(frozen=True, slots=True)
class EventFile:
    """An open file of events. Made by `opened`.

    Attributes:
        name: as it was given.
        read: gives what it holds, unpacked.
        stored: the file itself, whose position is how far it is read.
        size_bytes: of the file itself.
    """

    name: str
    read: Read
    stored: BinaryIO
    size_bytes: int

    def lines(self) -> Iterator[Line]:
        """The lines that hold something.

        Raises:
            UnreadableError: in the middle.
        """
        with unreadable_told(self.name):
            yield from read_lines(self.read)


@contextmanager
def opened(name: str) -> Iterator[EventFile]:
    """Open a file of events; what its first bytes say, and not its name, tells whether it is compressed.

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
        read = held.enter_context(gzip.GzipFile(fileobj=file)).read1 if compressed else file.read1
        yield EventFile(name, read, file, size_bytes)


@contextmanager
def unreadable_told(name: str) -> Iterator[None]:
    """Say of what is read in the block, in one sentence, that it can't be read any further.

    Raises:
        UnreadableError: instead of what reading raised.
    """
    try:
        yield
    except (OSError, EOFError, zlib.error) as error:
        system = error.strerror if isinstance(error, OSError) else None
        # What the system does not complain of is what gzip does.
        reason = system or f"{str(error).rstrip('.')}; its gzip data is broken, make or fetch it again"
        raise UnreadableError(f"{name} can't be read any further: {reason}.") from None
