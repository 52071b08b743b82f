"""A proxy between sinks and engine that can lose the reply to an INSERT."""

import contextlib
import socket
import threading

HOST = "127.0.0.1"


class Proxy:
    """The proxy; `to_lose` is the number of replies still to lose, `lost` of those that were."""

    def __init__(self, engine_port: int) -> None:
        self._engine_port = engine_port
        self._listening = socket.create_server((HOST, 0))
        self.port: int = self._listening.getsockname()[1]
        self.to_lose = 0
        self.lost = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            try:
                engine = socket.create_connection((HOST, self._engine_port))
            except OSError:
                client.close()
                continue
            inserting = threading.Event()
            threading.Thread(target=self._forward, args=(client, engine, inserting), daemon=True).start()
            threading.Thread(target=self._back, args=(engine, client, inserting), daemon=True).start()

    def _forward(self, client: socket.socket, engine: socket.socket, inserting: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65_536):
                if self.to_lose and b"INSERT INTO ledger" in data:
                    self.to_lose -= 1
                    inserting.set()
                engine.sendall(data)
        _shut(engine)

    def _back(self, engine: socket.socket, client: socket.socket, inserting: threading.Event) -> None:
        replies = 0
        with contextlib.suppress(OSError), engine, client:
            while data := engine.recv(65_536):
                replies += inserting.is_set()
                # The first reply to an INSERT names its columns; the next one is the acknowledgement.
                if replies > 1:
                    self.lost += 1
                    _shut(client)
                    return
                client.sendall(data)
            _shut(client)


def _shut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
