"""Cancellation of queries whose clients hang up or send Cancel."""

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
class WatchedClient:
    """A client whose query is running."""

    sock: socket.socket
    tag: str
    native: bool
    stopped: bool = False
    ignored: bool = False
    killed_at_s: float = 0.0

    def look(self) -> None:
        """Check for a hang-up or a Cancel packet; other bytes are the next request and end the watch."""
        if self.stopped or self.ignored:
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
            self.receive(peeked)
        else:
            self.stopped = True

    def receive(self, early: bytes) -> None:
        """Take the first byte that arrived before the end of the query, if there is one."""
        if early:
            self.stopped = self.native and early == CANCEL_PACKET
            self.ignored = not self.stopped


class ClientWatch:
    """The clients whose queries are running; a thread kills the queries of those that left."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._clients: dict[int, WatchedClient] = {}
        self._lock = threading.Lock()
        threading.Thread(target=self._run, name="watch", daemon=True).start()

    @contextlib.contextmanager
    def watch(self, sock: socket.socket, tag: str, *, native: bool) -> Iterator[WatchedClient]:
        """Watch a client while the block runs."""
        client = WatchedClient(sock, tag, native)
        with self._lock:
            self._clients[id(client)] = client
        try:
            yield client
        finally:
            with self._lock:
                del self._clients[id(client)]

    def _run(self) -> None:
        while True:
            time.sleep(POLL_S)
            with self._lock:
                current = [client for client in self._clients.values() if not client.ignored]
            for client in current:
                client.look()
                if client.stopped and time.monotonic() - client.killed_at_s > KILL_AGAIN_S:
                    client.killed_at_s = time.monotonic()
                    self._engine.kill(client.tag)
