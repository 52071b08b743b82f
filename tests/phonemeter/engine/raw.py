"""The native protocol by hand, for bytes that no honest client sends."""

import contextlib
import socket

from phonemeter.engine.blocks import BLOCK_INFO, text, varint
from tests.phonemeter.engine.harness import HOST, EngineProcess

RECEIVE_BYTES = 1 << 20
HELLO = b"".join(
    [varint(0), text("tests"), varint(1), varint(1), varint(54_468), text(""), text("default"), text("")]
)
NOTHING = varint(2) + text("") + BLOCK_INFO + varint(0) + varint(0)


def query(sql: str, *, stage: int = 2, compressed: bool = False) -> bytes:
    who = b"\x01" + text("") * 3 + b"\x01" + text("") * 3 + varint(1) + varint(1) + varint(54_468)
    rest = text("") + varint(0) + text("")
    return varint(1) + text("") + who + rest + varint(stage) + varint(compressed) + text(sql)


def data(*columns: bytes, rows: int) -> bytes:
    return varint(2) + text("") + BLOCK_INFO + varint(len(columns)) + varint(rows) + b"".join(columns)


def column(name: str, type_name: str, values: bytes) -> bytes:
    return text(name) + text(type_name) + values


def talk(engine: EngineProcess, sent: bytes) -> bytes:
    """Send bytes, say that there are no more, and return what comes back until the engine hangs up."""
    with socket.create_connection((HOST, engine.native_port), timeout=20) as sock:
        received = bytearray()
        with contextlib.suppress(ConnectionError):
            sock.sendall(sent)
            sock.shutdown(socket.SHUT_WR)
            while part := sock.recv(RECEIVE_BYTES):
                received += part
        return bytes(received)
