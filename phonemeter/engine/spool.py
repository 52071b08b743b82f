"""The spool: an unnamed file of limited size in the data directory, for INSERT data.

It is on disk so that a large INSERT takes no memory, and unnamed so that it disappears with the process.
"""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final, Self

from phonemeter.engine.config import MAX_INSERT_BYTES
from phonemeter.engine.errors import NOT_ENOUGH_SPACE, TOO_MANY_BYTES, EngineError

READ_BYTES: Final = 1 << 20


@contextlib.contextmanager
def _disk_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise EngineError(
            NOT_ENOUGH_SPACE, f"The data of an INSERT cannot be spooled: {error.strerror}."
        ) from error


class Spool:
    """A file without a name that is closed by its `with` block."""

    def __init__(self, folder: Path) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by __exit__
        self.size_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, part: bytes) -> None:
        """Append; raises EngineError 307 above the limit."""
        self.size_bytes += len(part)
        if self.size_bytes > MAX_INSERT_BYTES:
            raise EngineError(
                TOO_MANY_BYTES, f"An INSERT of more than {MAX_INSERT_BYTES} bytes is not served: split it."
            )
        with _disk_errors():
            self._file.write(part)

    def read(self, limit_bytes: int) -> bytes:
        """The first bytes of the file."""
        self._file.seek(0)
        return self._file.read(limit_bytes)

    def parts(self, start: int) -> Iterator[bytes]:
        """The file from `start` on, in pieces."""
        self._file.seek(start)
        while part := self._file.read(READ_BYTES):
            yield part

    def path(self) -> str:
        """The path of the file for the engine in this process."""
        with _disk_errors():
            self._file.flush()
        return f"/proc/self/fd/{self._file.fileno()}"
