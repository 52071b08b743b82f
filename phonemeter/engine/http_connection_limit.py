"""The limit of open HTTP connections: the one that has been idle longest gives way to a new one."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Final

from phonemeter.engine.config import MAX_CONNECTIONS

RESERVED_CONNECTIONS: Final = 64
"""Connections above the limit that are accepted, for probes and for refusals."""


class HttpConnectionLimit:
    """The open connections: idle, or with a request under way. For any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._busy = set[socket.socket]()
        self._idle = dict[socket.socket, None]()
        """Longest idle first."""

    @contextlib.contextmanager
    def count(self, sock: socket.socket) -> Iterator[bool]:
        """Count a connection while the block runs; yields True if it is within the limit."""
        with self._lock:
            counted = len(self._busy) + len(self._idle) < MAX_CONNECTIONS or self._close_idle()
            if counted:
                self._busy.add(sock)
        try:
            yield counted
        finally:
            with self._lock:
                self._busy.discard(sock)
                self._idle.pop(sock, None)

    def set_idle(self, sock: socket.socket) -> None:
        """Let a connection without a request be closed for another one."""
        with self._lock:
            if sock in self._busy:
                self._busy.discard(sock)
                self._idle[sock] = None

    def set_busy(self, sock: socket.socket) -> bool:
        """Keep a connection whose request has arrived; False if it was closed for another one."""
        with self._lock:
            if sock not in self._idle:
                return False
            del self._idle[sock]
            self._busy.add(sock)
            return True

    def _close_idle(self) -> bool:
        oldest = next(iter(self._idle), None)
        if oldest is None:
            return False
        del self._idle[oldest]
        with contextlib.suppress(OSError):
            oldest.shutdown(socket.SHUT_RDWR)
        return True
