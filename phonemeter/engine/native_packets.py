"""Packets of the native protocol, read from a client and written to it."""

import socket
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from typing import Final

from phonemeter.engine import frames
from phonemeter.engine.blocks import PLAIN, WIRE, copy_block
from phonemeter.engine.chdb_engine import QueryStatistics
from phonemeter.engine.config import MAX_QUERY_BYTES
from phonemeter.engine.errors import INCORRECT_DATA, NOT_IMPLEMENTED, UNEXPECTED_PACKET, EngineError
from phonemeter.engine.wire_values import Cursor, Write, text, varint

REVISION: Final = 54_440
"""See README.md: the highest revision whose result blocks are FORMAT Native as it is."""
WITH_TIMEZONE: Final = 54_058
WITH_QUOTA_KEY: Final = 54_060
WITH_DISPLAY_NAME: Final = 54_372
WITH_VERSION_PATCH: Final = 54_401
WITH_WRITTEN_ROWS: Final = 54_420
WITH_TEXT_SETTINGS: Final = 54_429
OLDEST_CLIENT: Final = WITH_TIMEZONE
RECEIVE_BYTES: Final = 1 << 20
TCP_INTERFACE: Final = 1
MUST_BE_KNOWN: Final = 0b11
"""The flags of a setting that is important, or the client's own; others may be unknown."""
HTTP_FIRST_BYTES: Final = frozenset(b"GPHOD")


class FromClient(IntEnum):
    """Packets that a client may send."""

    HELLO = 0
    QUERY = 1
    DATA = 2
    CANCEL = 3
    PING = 4


class ToClient(IntEnum):
    """Packets that the engine sends."""

    HELLO = 0
    DATA = 1
    EXCEPTION = 2
    PROGRESS = 3
    PONG = 4
    END_OF_STREAM = 5
    PROFILE_INFO = 6


class HangUpError(Exception):
    """The connection must be closed; the client has got its answer."""


@dataclass(slots=True)
class Dialect:
    """The form of packets that both sides agreed on."""

    revision: int = REVISION
    compressed: bool = False
    """True if the blocks of the current query are compressed."""


@dataclass(frozen=True, slots=True)
class Hello:
    """A Hello packet."""

    database: str
    user: str
    password: str


@dataclass(frozen=True, slots=True)
class Query:
    """A Query packet."""

    query_id: str
    settings: dict[str, str]
    important: dict[str, str]
    stage: int
    sql: str


class PacketReader:
    """Packets from a client."""

    def __init__(self, sock: socket.socket, dialect: Dialect) -> None:
        self._cursor = Cursor(lambda: sock.recv(RECEIVE_BYTES))
        self._dialect = dialect

    @property
    def unread(self) -> bytes:
        """The first byte that was received and not read, if there is one."""
        return self._cursor.unread

    def is_http(self) -> bool:
        """True if the client speaks HTTP."""
        return self._cursor.ahead() and self._cursor.unread[0] in HTTP_FIRST_BYTES

    def packet(self) -> int:
        """Read the number of the next packet."""
        return self._cursor.varint()

    def hello(self) -> Hello:
        """Read a Hello packet, and agree on a revision."""
        cursor = self._cursor
        packet = cursor.varint()
        if packet != FromClient.HELLO:
            raise EngineError(UNEXPECTED_PACKET, f"Expected Hello, got packet {packet}.")
        cursor.text()
        cursor.varint()
        cursor.varint()
        revision = cursor.varint()
        hello = Hello(cursor.text(), cursor.text(), cursor.text())
        if revision < OLDEST_CLIENT:
            raise EngineError(
                NOT_IMPLEMENTED, f"Clients of revision {revision} are too old: {OLDEST_CLIENT} is the oldest."
            )
        self._dialect.revision = min(revision, REVISION)
        return hello

    def query(self) -> Query:
        """Read the rest of a Query packet."""
        cursor = self._cursor
        query_id = cursor.text()
        self._skip_client_info()
        settings, important = dict[str, str](), dict[str, str]()
        while name := cursor.text():
            if self._dialect.revision < WITH_TEXT_SETTINGS:
                raise EngineError(
                    NOT_IMPLEMENTED, "This client is too old to send settings: use SET in a query of its own."
                )
            flags = cursor.varint()
            (important if flags & MUST_BE_KNOWN else settings)[name] = cursor.text()
        stage = cursor.varint()
        self._dialect.compressed = bool(cursor.varint())
        return Query(query_id, settings, important, stage, cursor.text(MAX_QUERY_BYTES))

    def _skip_client_info(self) -> None:
        """Skip fields that are not used; they have no common length."""
        cursor = self._cursor
        if not cursor.byte():
            return
        for _ in range(3):
            cursor.text()
        interface = cursor.byte()
        if interface != TCP_INTERFACE:
            raise EngineError(
                UNEXPECTED_PACKET, f"Queries over interface {interface} are not served on the native port."
            )
        for _ in range(3):
            cursor.text()
        for _ in range(3):
            cursor.varint()
        if self._dialect.revision >= WITH_QUOTA_KEY:
            cursor.text()
        if self._dialect.revision >= WITH_VERSION_PATCH:
            cursor.varint()

    def copy_blocks(self, write: Write) -> tuple[int, int]:
        """Copy Data packets up to the empty one in FORMAT Native; returns the numbers of blocks and rows."""
        compressed = self._dialect.compressed
        count = rows = 0
        while True:
            self._expect_data()
            blocks = Cursor(partial(frames.unpack, self._cursor.take)) if compressed else self._cursor
            head = copy_block(blocks, write, WIRE, PLAIN)
            if compressed and blocks.unread:
                raise EngineError(
                    INCORRECT_DATA, "A compressed block goes on after its end: closing the connection."
                )
            if not head.columns:
                return count, rows
            count, rows = count + 1, rows + head.rows

    def _expect_data(self) -> None:
        packet = self._cursor.varint()
        if packet == FromClient.CANCEL:
            raise HangUpError
        if packet != FromClient.DATA:
            raise EngineError(
                UNEXPECTED_PACKET, f"Expected Data, got packet {packet}: closing the connection."
            )
        self._cursor.text()


class PacketWriter:
    """Packets to a client."""

    def __init__(self, sock: socket.socket, dialect: Dialect) -> None:
        self._sock = sock
        self._dialect = dialect

    def hello(self, version: str) -> None:
        """Send a Hello packet with the engine's version."""
        major, minor, patch = (int(part) for part in f"{version}.0.0".split(".")[:3])
        numbers = varint(major) + varint(minor) + varint(REVISION)
        display_name = text("phonemeter") if self._dialect.revision >= WITH_DISPLAY_NAME else b""
        patch_number = varint(patch) if self._dialect.revision >= WITH_VERSION_PATCH else b""
        parts = (text("ClickHouse"), numbers, text("UTC"), display_name, patch_number)
        self._send(ToClient.HELLO, *parts)

    def pong(self) -> None:
        """Answer a Ping."""
        self._send(ToClient.PONG)

    def end_of_stream(self) -> None:
        """Send the end of a query's packets."""
        self._send(ToClient.END_OF_STREAM)

    def block(self, block: bytes) -> None:
        """Send a block that has its block info."""
        self._send(ToClient.DATA, text(""), frames.pack(block) if self._dialect.compressed else block)

    def progress(self, increase: QueryStatistics) -> None:
        """Send what was done since the last Progress packet."""
        numbers = [increase.read_rows, increase.read_bytes, increase.total_rows_to_read]
        if self._dialect.revision >= WITH_WRITTEN_ROWS:
            numbers += [increase.written_rows, increase.written_bytes]
        self._send(ToClient.PROGRESS, *map(varint, numbers))

    def profile(self, rows: int, blocks: int) -> None:
        """Send the size of a result."""
        counted = varint(rows) + varint(blocks) + varint(0)
        # clickhouse-client 18 crashes unless the last byte is 1.
        self._send(ToClient.PROFILE_INFO, counted, b"\x00", varint(0), b"\x01")

    def exception(self, error: EngineError) -> None:
        """Send an Exception packet."""
        self._sock.sendall(exception_packet(error))

    def _send(self, packet: ToClient, *parts: bytes) -> None:
        self._sock.sendall(varint(packet) + b"".join(parts))


def exception_packet(error: EngineError) -> bytes:
    """An Exception packet: code, name and message, without stack trace and nested exceptions."""
    code = error.code.to_bytes(4, "little", signed=True)
    texts = text("DB::Exception") + text(error.native_text) + text("")
    return varint(ToClient.EXCEPTION) + code + texts + b"\x00"
