"""A listening port: one thread per connection; a shortage of threads or files does not stop it."""

import contextlib
import errno
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from phonemeter.engine.config import MAX_CONNECTIONS
from phonemeter.engine.directory import StartError
from phonemeter.engine.errors import CANNOT_SCHEDULE, TOO_MANY_QUERIES, EngineError
from phonemeter.engine.metrics import EngineMetrics, Refusal

BACKLOG: Final = 128
ACCEPT_AGAIN_S: Final = 0.1
"""Pause after a failed accept, which would fail again at once."""
REFUSED_KEPT: Final = 16
"""Refused connections that stay open: closing one with unread input would discard the answer."""
CLOSED: Final = frozenset({errno.EBADF, errno.EINVAL})
"""Errors of accept on a listener that was closed or shut down."""

FULL: Final = EngineError(
    TOO_MANY_QUERIES, f"{MAX_CONNECTIONS} connections are open already: close some, or try again later."
)
NO_THREAD: Final = EngineError(
    CANNOT_SCHEDULE, "No thread can be started for this connection: try again later."
)

Serve = Callable[[socket.socket], None]
EncodeRefusal = Callable[[EngineError], bytes]


def bind(host: str, port: int) -> socket.socket:
    """Open a listening socket; raises StartError if the port cannot be used."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        # Binding alone does not keep a second process from binding; listening does. Early clients wait.
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise StartError(f"Port {port} on {host} cannot be used: {error.strerror}.") from error
    return listening


class Listener:
    """Accepts connections until its socket is closed, and serves at most `limit` at once.

    `handle` serves a connection; `encode_refusal` encodes the error for a refused client in its protocol.
    """

    def __init__(
        self,
        listening: socket.socket,
        handle: Serve,
        encode_refusal: EncodeRefusal,
        metrics: EngineMetrics,
        limit: int = MAX_CONNECTIONS,
    ) -> None:
        self._listening = listening
        self._handle = handle
        self._encode_refusal = encode_refusal
        self._metrics = metrics
        self._free = threading.BoundedSemaphore(limit)
        self._refused: deque[socket.socket] = deque()
        self._reported = ""

    def start(self) -> None:
        """Accept connections in a thread of its own."""
        threading.Thread(target=self._accept, name="accept", daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listening.accept()
            except (OSError, MemoryError) as error:
                if isinstance(error, OSError) and error.errno in CLOSED:
                    return
                self._metrics.refused("no_file")
                self._report(f"Connections cannot be accepted ({error})")
                self._close_refused(0)
                time.sleep(ACCEPT_AGAIN_S)
                continue
            self._begin(sock)

    def _begin(self, sock: socket.socket) -> None:
        if not self._free.acquire(blocking=False):
            self._refuse(sock, FULL, "full")
            return
        try:
            threading.Thread(target=self._serve, args=(sock,), name="client", daemon=True).start()
        except (RuntimeError, MemoryError) as error:
            self._free.release()
            self._refuse(sock, NO_THREAD, "no_thread")
            self._report(f"A connection was refused because no thread could be started for it ({error})")
        else:
            self._reported = ""

    def _refuse(self, sock: socket.socket, why: EngineError, reason: Refusal) -> None:
        self._metrics.refused(reason)
        with contextlib.suppress(OSError):
            sock.sendall(self._encode_refusal(why))
            sock.shutdown(socket.SHUT_WR)
        self._refused.append(sock)
        self._close_refused(REFUSED_KEPT)

    def _close_refused(self, kept: int) -> None:
        while len(self._refused) > kept:
            self._refused.popleft().close()

    def _report(self, sentence: str) -> None:
        """Report to the operator, once until a connection is served again."""
        if sentence != self._reported:
            port = self._listening.getsockname()[1]
            print(f"Port {port}: {sentence}; the engine goes on.", file=sys.stderr, flush=True)  # noqa: T201 - for operators
            self._reported = sentence

    def _serve(self, sock: socket.socket) -> None:
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with sock, self._metrics.connections.track_inprogress():
                self._handle(sock)
        except Exception as error:  # noqa: BLE001 - one connection's bug must not look like the server's end
            print(f"A connection was closed by an internal error: {error!r}.", file=sys.stderr)  # noqa: T201 - for operators
        finally:
            self._free.release()
