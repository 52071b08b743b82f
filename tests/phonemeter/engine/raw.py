"""The native protocol byte by byte, for input that no client library sends."""

import contextlib
import socket

from phonemeter.engine.blocks import BLOCK_INFO
from phonemeter.engine.wire_values import text, varint
from tests.phonemeter.engine.harness import HOST, EngineProcess

RECEIVE_BYTES = 1 << 20
HELLO = b"".join(
    [
        varint(0),
        text("tests"),
        varint(1),
        varint(1),
        varint(54_468),
        text(""),
        text("default"),
        text(""),
    ]
)
END, PONG = varint(5), varint(4)
NOTHING = varint(2) + text("") + BLOCK_INFO + varint(0) + varint(0)


def query(sql: str, *, stage: int = 2, compressed: bool = False, settings: bytes = b"") -> bytes:
    who = b"\x01" + text("") * 3 + b"\x01" + text("") * 3 + varint(1) + varint(1) + varint(54_468)
    rest = text("") + varint(0) + settings + text("")
    return varint(1) + text("") + who + rest + varint(stage) + varint(compressed) + text(sql)


def data(*columns: bytes, rows: int) -> bytes:
    return varint(2) + text("") + BLOCK_INFO + varint(len(columns)) + varint(rows) + b"".join(columns)


def column(name: str, type_name: str, values: bytes) -> bytes:
    return text(name) + text(type_name) + values


def talk(engine: EngineProcess, sent: bytes) -> bytes:
    """Send bytes, end the output, and return the answer up to the end of the connection."""
    with socket.create_connection((HOST, engine.native_port), timeout=20) as sock:
        received = bytearray()
        with contextlib.suppress(ConnectionError):
            sock.sendall(sent)
            sock.shutdown(socket.SHUT_WR)
            while part := sock.recv(RECEIVE_BYTES):
                received += part
        return bytes(received)


def ask(engine: EngineProcess, sent: bytes) -> bytes:
    """Send Hello, the packets of one query and a Ping, and return the answer up to the Pong."""
    with socket.create_connection((HOST, engine.native_port), timeout=20) as sock:
        sock.sendall(HELLO + sent + varint(4))
        received = b""
        while not received.endswith((END + PONG, b"\0" + PONG)):
            part = sock.recv(RECEIVE_BYTES)
            assert part, received
            received += part
        return received.removesuffix(PONG)
