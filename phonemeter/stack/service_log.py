"""The log of a supervised service: what it writes, by a pipe into a file within limits, every line of it."""

import asyncio
import contextlib
import fcntl
import logging
import os
import sys
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Final, Self

LOG_BYTES_MAX: Final = 10_000_000
OLDER_LOGS: Final = 2
"""Full logs that are kept beside the current one, named `.1` and `.2`."""

LINE_BYTES_MAX: Final = 1 << 20
"""Bytes without the end of a line that are held back; they are written when there are more."""

PIPE_BYTES: Final = 1 << 20
"""Room in the pipe, if the system grants it: what a service may write while the supervisor stands still."""

READ_BYTES: Final = 1 << 16
LAST_WORDS_S: Final = 1.0
"""Time for which the pipe of a service that has ended may stay open in other hands."""


class _File(RotatingFileHandler):
    """A file that rotates between lines; what a full disk does not take is dropped."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - a method of the library
        """Drop the lines: a service must not stand still because its log cannot be written."""


class ServiceLog:
    """The log of one run of a service, in the running event loop: `async with ServiceLog(path) as log`.

    The service gets `log.writer` as its output, and `log.handed_over()` closes it here. At the end of the
    block everything that the service wrote is in the file.
    """

    def __init__(self, path: Path, bytes_max: int = LOG_BYTES_MAX) -> None:
        # Bytes that are no UTF-8 are kept as they are.
        self._file = _File(path, maxBytes=bytes_max, backupCount=OLDER_LOGS, encoding="latin-1", delay=True)
        self._path = path
        self._reader, self.writer = os.pipe()
        self._waiting = b""
        self._ended = asyncio.Event()

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._path.stat().st_size if self._path.exists() else 0

    def handed_over(self) -> None:
        """Close the writing end here, so that the pipe ends with the service."""
        if self.writer >= 0:
            os.close(self.writer)
            self.writer = -1

    async def __aenter__(self) -> Self:
        os.set_blocking(self._reader, False)
        if sys.platform == "linux":
            with contextlib.suppress(OSError):
                fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        asyncio.get_running_loop().add_reader(self._reader, self._take)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.handed_over()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ended.wait(), LAST_WORDS_S)
        self._end()
        os.close(self._reader)

    def _take(self) -> None:
        with contextlib.suppress(BlockingIOError):
            chunk = os.read(self._reader, READ_BYTES)
            if not chunk:
                self._end()
            lines, newline, rest = (self._waiting + chunk).rpartition(b"\n")
            if newline:
                self._write(lines)
            self._waiting = rest
            if len(rest) > LINE_BYTES_MAX:
                self._write(rest)
                self._waiting = b""

    def _write(self, lines: bytes) -> None:
        self._file.emit(logging.makeLogRecord({"msg": lines.decode("latin-1")}))

    def _end(self) -> None:
        if self._ended.is_set():
            return
        asyncio.get_running_loop().remove_reader(self._reader)
        if self._waiting:
            self._write(self._waiting)
        self._waiting = b""
        self._file.close()
        self._ended.set()
