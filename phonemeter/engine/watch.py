"""Noticing that a client went away, or cancelled, while its query runs in the engine."""

import contextlib
import select
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from phonemeter.engine.chdb_engine import Engine

POLL_S: Final = 0.1
KILL_AGAIN_S: Final = 0.3
CANCEL_PACKET: Final = b"\x03"


@dataclass(slots=True)
class Watched:
    """One running query and the socket its client may leave."""

    sock: socket.socket
    tag: str
    native: bool
    stopped: bool = False
    ignore: bool = False
    killed_at: float = 0.0

    def look(self) -> None:
        """Notice a hang-up or a Cancel packet; other bytes are the next request's and end the watching."""
        if self.stopped or self.ignore:
            return
        try:
            poll = select.poll()
            poll.register(self.sock, select.POLLIN)
            if not poll.poll(0):
                return
            peeked = self.sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except (OSError, ValueError):
            peeked = b""
        if peeked:
            self.hear(peeked)
        else:
            self.stopped = True

    def hear(self, early: bytes) -> None:
        """Take what the client sent while, or before, its query runs: nothing, a Cancel packet, or more."""
        if early:
            self.stopped = self.native and early == CANCEL_PACKET
            self.ignore = not self.stopped


class Watch:
    """Kills the query of every client that hangs up or sends Cancel while it runs."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._watched: dict[int, Watched] = {}
        self._lock = threading.Lock()
        threading.Thread(target=self._run, name="watch", daemon=True).start()

    @contextlib.contextmanager
    def over(self, sock: socket.socket, tag: str, *, native: bool) -> Iterator[Watched]:
        """Watch `sock` while the block runs; `stopped` says that the client wants no more."""
        watched = Watched(sock, tag, native)
        with self._lock:
            self._watched[id(watched)] = watched
        try:
            yield watched
        finally:
            with self._lock:
                del self._watched[id(watched)]

    def _run(self) -> None:
        while True:
            time.sleep(POLL_S)
            with self._lock:
                current = [w for w in self._watched.values() if not w.ignore]
            for watched in current:
                watched.look()
                if watched.stopped and time.monotonic() - watched.killed_at > KILL_AGAIN_S:
                    watched.killed_at = time.monotonic()
                    self._engine.kill(watched.tag)
