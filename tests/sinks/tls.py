"""TLS in front of a port of a test, as a ClickHouse server or a proxy before it has it."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tests.brokers.authority import Credential

HOST = "127.0.0.1"
PIECE_BYTES = 65_536


@contextmanager
def tls_in_front_of(port: int, credential: Credential, clients_of: Path | None = None) -> Iterator[int]:
    """Accept TLS at a free port and pass what comes to `port`; `clients_of` issued what clients show."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(credential.certificate, credential.key)
    if clients_of is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(clients_of)
    with socket.create_server((HOST, 0)) as listening, ExitStack() as opened:
        threads = [threading.Thread(target=_accept, args=(listening, context, port, opened), daemon=True)]
        threads[0].start()
        try:
            yield listening.getsockname()[1]
        finally:
            with suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)
            threads[0].join()


def _accept(listening: socket.socket, context: ssl.SSLContext, port: int, opened: ExitStack) -> None:
    while True:
        try:
            plain, _ = listening.accept()
        except OSError:
            return
        passing = threading.Thread(target=_pass_on, args=(plain, context, port), daemon=True)
        passing.start()
        opened.callback(passing.join)
        opened.callback(_hang_up, plain)


def _hang_up(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


def _pass_on(plain: socket.socket, context: ssl.SSLContext, port: int) -> None:
    # The handshake of a client that is refused fails here as well.
    with (
        suppress(OSError),
        context.wrap_socket(plain, server_side=True) as client,
        socket.create_connection((HOST, port)) as server,
    ):
        back = threading.Thread(target=_copy, args=(server, client), daemon=True)
        back.start()
        _copy(client, server)
        back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(PIECE_BYTES):
            target.sendall(piece)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)
