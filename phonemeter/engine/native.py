"""The native TCP protocol: one thread per connection, one query at a time, as clickhouse-server does it."""

import contextlib
import socket
from collections.abc import Generator
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from typing import Final

from phonemeter.engine import frames, refusals
from phonemeter.engine.blocks import (
    BLOCK_INFO,
    PLAIN,
    WIRE,
    Cursor,
    EndOfInputError,
    Head,
    column,
    copy_block,
    head_of,
    in_memory,
    text,
    varint,
)
from phonemeter.engine.chdb_engine import Chunk, Engine, Session, Written, check_password
from phonemeter.engine.config import HANDSHAKE_TIMEOUT_S, IDLE_TIMEOUT_S, MAX_QUERY_BYTES, TRANSFER_TIMEOUT_S
from phonemeter.engine.errors import (
    INCORRECT_DATA,
    NOT_IMPLEMENTED,
    UNEXPECTED_PACKET,
    EngineError,
)
from phonemeter.engine.spool import Spool
from phonemeter.engine.sql import Insert, Statement, parse
from phonemeter.engine.watch import Watch, Watched

REVISION: Final = 54_440
"""See README.md: the highest revision whose result blocks are FORMAT Native as it is."""
WITH_TOTAL_ROWS: Final = 51_554
WITH_BLOCK_INFO: Final = 51_903
WITH_TIMEZONE: Final = 54_058
WITH_QUOTA_KEY: Final = 54_060
WITH_DISPLAY_NAME: Final = 54_372
WITH_VERSION_PATCH: Final = 54_401
WITH_WRITTEN_ROWS: Final = 54_420
WITH_TEXT_SETTINGS: Final = 54_429
OLDEST_CLIENT: Final = WITH_TIMEZONE
COMPLETE: Final = 2
RECEIVE_BYTES: Final = 1 << 20
IMPORTANT: Final = 1
HTTP_FIRST_BYTES: Final = frozenset(b"GPHOD")


class FromClient(IntEnum):
    """Packets that a client may send."""

    HELLO = 0
    QUERY = 1
    DATA = 2
    CANCEL = 3
    PING = 4


class ToClient(IntEnum):
    """Packets that we send."""

    HELLO = 0
    DATA = 1
    EXCEPTION = 2
    PROGRESS = 3
    PONG = 4
    END_OF_STREAM = 5
    PROFILE_INFO = 6


class HangUpError(Exception):
    """The connection cannot go on; what there was to say has been said."""


@dataclass(frozen=True, slots=True)
class Query:
    """A Query packet."""

    query_id: str
    settings: dict[str, str]
    important: dict[str, str]
    stage: int
    compressed: bool
    sql: str


class NativeConnection:
    """One client on the native port."""

    def __init__(self, sock: socket.socket, engine: Engine, watch: Watch, password: str) -> None:
        self._sock = sock
        self._engine = engine
        self._watch = watch
        self._password = password
        self._cursor = Cursor(lambda: sock.recv(RECEIVE_BYTES))
        self._revision = REVISION
        self._compressed = False

    def serve(self) -> None:
        """Serve the client until it leaves."""
        with contextlib.suppress(EndOfInputError, OSError, HangUpError):
            self._sock.settimeout(HANDSHAKE_TIMEOUT_S)
            database = self._hello()
            session = Session(self._engine)
            try:
                self._open(session, database)
                while True:
                    self._sock.settimeout(IDLE_TIMEOUT_S)
                    packet = self._cursor.varint()
                    self._sock.settimeout(TRANSFER_TIMEOUT_S)
                    self._answer(session, packet)
            except EngineError as error:
                self._fail(error)
            finally:
                session.close()

    def _answer(self, session: Session, packet: int) -> None:
        match packet:
            case FromClient.QUERY:
                self._query(session, self._read_query())
            case FromClient.PING:
                self._sock.sendall(varint(ToClient.PONG))
            case FromClient.CANCEL:
                pass
            case _:
                raise EngineError(
                    UNEXPECTED_PACKET, f"Packet {packet} is not served here: closing the connection."
                )

    # The handshake

    def _hello(self) -> str:
        try:
            return self._read_hello()
        except EngineError as error:
            self._fail(error)
            raise HangUpError from error

    def _read_hello(self) -> str:
        cursor = self._cursor
        packet = cursor.varint()
        if packet in HTTP_FIRST_BYTES:
            self._sock.sendall(
                b"HTTP/1.0 400 Bad Request\r\n\r\nThis port speaks the native protocol: use the HTTP port.\n"
            )
            raise HangUpError
        if packet != FromClient.HELLO:
            raise EngineError(UNEXPECTED_PACKET, f"Expected Hello, got packet {packet}.")
        cursor.text()
        cursor.varint()
        cursor.varint()
        revision = cursor.varint()
        database, user, password = cursor.text(), cursor.text(), cursor.text()
        if revision < OLDEST_CLIENT:
            raise EngineError(
                NOT_IMPLEMENTED, f"Clients of revision {revision} are too old: {OLDEST_CLIENT} is the oldest."
            )
        self._revision = min(revision, REVISION)
        check_password(user, password, self._password)
        return database

    def _open(self, session: Session, database: str) -> None:
        if database:
            session.use(database)
        major, minor, patch, *_ = [int(part) for part in (*self._engine.version.split("."), 0, 0)]
        parts = [
            varint(ToClient.HELLO),
            text("ClickHouse"),
            varint(major),
            varint(minor),
            varint(REVISION),
            text("UTC"),
        ]
        if self._revision >= WITH_DISPLAY_NAME:
            parts.append(text("phonemeter"))
        if self._revision >= WITH_VERSION_PATCH:
            parts.append(varint(patch))
        self._sock.sendall(b"".join(parts))

    # Reading a query

    def _read_query(self) -> Query:
        cursor = self._cursor
        query_id = cursor.text()
        self._skip_client_info()
        settings, important = dict[str, str](), dict[str, str]()
        while name := cursor.text():
            if self._revision < WITH_TEXT_SETTINGS:
                raise EngineError(
                    NOT_IMPLEMENTED, "This client is too old to send settings: use SET in a query of its own."
                )
            flags = cursor.varint()
            (important if flags & IMPORTANT else settings)[name] = cursor.text()
        stage = cursor.varint()
        self._compressed = False
        compressed = bool(cursor.varint())
        sql = cursor.text(MAX_QUERY_BYTES)
        self._compressed = compressed
        return Query(query_id, settings, important, stage, compressed, sql)

    def _skip_client_info(self) -> None:
        """Who asks: nothing that we use, but its fields have no length of their own."""
        cursor = self._cursor
        if not cursor.byte():
            return
        for _ in range(3):
            cursor.text()
        interface = cursor.byte()
        if interface == 1:
            for _ in range(3):
                cursor.text()
            for _ in range(3):
                cursor.varint()
        else:
            raise EngineError(
                UNEXPECTED_PACKET, f"Queries over interface {interface} are not served on the native port."
            )
        if self._revision >= WITH_QUOTA_KEY:
            cursor.text()
        if self._revision >= WITH_VERSION_PATCH:
            cursor.varint()

    def _read_blocks(self, spool: Spool | None) -> int:
        """Spool (or drop) Data packets up to the empty one; returns how many rows there were."""
        try:
            return self._copy_blocks(spool)
        except EngineError as error:
            self._fail(error)
            raise HangUpError from error

    def _copy_blocks(self, spool: Spool | None) -> int:
        rows = 0
        while True:
            self._expect_data()
            blocks = Cursor(partial(frames.unpack, self._cursor.take)) if self._compressed else self._cursor
            head = copy_block(blocks, spool.write if spool else len, WIRE, PLAIN)
            if self._compressed and blocks.unread:
                raise EngineError(
                    INCORRECT_DATA, "A compressed block goes on after its end: closing the connection."
                )
            if not head.columns:
                return rows
            rows += head.rows

    def _expect_data(self) -> None:
        packet = self._cursor.varint()
        if packet == FromClient.CANCEL:
            raise HangUpError
        if packet != FromClient.DATA:
            raise EngineError(
                UNEXPECTED_PACKET, f"Expected Data, got packet {packet}: closing the connection."
            )
        self._cursor.text()

    # Answering a query

    def _query(self, session: Session, query: Query) -> None:
        external_rows = self._read_blocks(None)
        try:
            _check_served(query, external_rows)
            statement = parse(query.sql)
            settings = {**query.settings, **query.important}
            readonly = settings.pop("readonly", "0")
            with session.prepared(settings, readonly, optional=query.settings) as prepared:
                classified = prepared.classify(statement.head)
                refusals.check(statement, classified)
                prepared.begin(query.query_id, statement, classified)
                self._execute(prepared, query, statement)
        except EngineError as error:
            self._send_exception(error)

    def _execute(self, session: Session, query: Query, statement: Statement) -> None:
        if statement.insert is not None:
            written = self._insert(session, statement.insert, query.sql)
            progress = self._progress(written) if self._revision >= WITH_WRITTEN_ROWS else b""
            self._send(progress, varint(ToClient.END_OF_STREAM))
            return
        with self._watch.over(self._sock, session.tag, native=True) as watched:
            watched.hear(self._cursor.unread)
            try:
                self._select(session, statement, watched)
            except EngineError:
                if not watched.stopped:
                    raise
        self._send(varint(ToClient.END_OF_STREAM))

    def _select(self, session: Session, statement: Statement, watched: Watched) -> None:
        if statement.with_totals and statement.streams:
            raise EngineError(
                NOT_IMPLEMENTED, "WITH TOTALS is not served over the native protocol: use ROLLUP, or HTTP."
            )
        rows = blocks = 0
        chunks = self._chunks(session, statement)
        try:
            for chunk in chunks:
                head = head_of(chunk.data) if not blocks else None
                if head is not None:
                    self._send_block(head.encode(WIRE))
                if chunk.rows:
                    self._send(self._progress(Written(chunk.read_rows, chunk.read_bytes)))
                self._send_block(BLOCK_INFO + chunk.data)
                rows, blocks = rows + chunk.rows, blocks + 1
                watched.look()
                if watched.stopped:
                    return
        finally:
            chunks.close()
        if not blocks:
            self._send_empty_header(session, statement)
        counted = varint(rows) + varint(blocks) + varint(0)
        self._send(varint(ToClient.PROFILE_INFO), counted, b"\x00", varint(0), b"\x01")

    def _chunks(self, session: Session, statement: Statement) -> Generator[Chunk]:
        if statement.streams:
            yield from session.stream(statement, "Native")
            return
        data, written = session.run(statement, "Native")
        cursor = in_memory(data)
        while cursor.ahead():
            parts = list[bytes]()
            head = copy_block(cursor, parts.append, PLAIN, PLAIN)
            yield Chunk(b"".join(parts), head.rows, written.read_rows, written.read_bytes)
            written = Written()

    def _send_empty_header(self, session: Session, statement: Statement) -> None:
        """Column names for a result without rows, for which the engine sends nothing at all."""
        columns = session.result_columns(statement)
        if columns:
            self._send_block(Head(tuple(columns), 0).encode(WIRE))

    def _insert(self, session: Session, insert: Insert, sql: str) -> Written:
        with self._engine.spool() as spool:
            if insert.inline:
                spool.write(sql[insert.data_start :].encode())
                return session.insert(insert, spool, insert.format)
            sample = Head(tuple(session.columns_of(insert.as_select)), 0)
            for _, type_name in sample.columns:
                column(type_name)
            self._send_block(sample.encode(WIRE))
            if not self._read_blocks(spool):
                return Written()
            return session.insert(insert, spool, "Native")

    # Writing packets

    def _send(self, *parts: bytes) -> None:
        self._sock.sendall(b"".join(parts))

    def _send_block(self, block: bytes) -> None:
        self._send(varint(ToClient.DATA), text(""), frames.pack(block) if self._compressed else block)

    def _progress(self, done: Written) -> bytes:
        numbers = [ToClient.PROGRESS, done.read_rows, done.read_bytes, 0]
        if self._revision >= WITH_WRITTEN_ROWS:
            numbers += [done.written_rows, done.written_bytes]
        return b"".join(map(varint, numbers))

    def _send_exception(self, error: EngineError) -> None:
        self._send(exception_packet(error))

    def _fail(self, error: EngineError) -> None:
        with contextlib.suppress(OSError):
            self._send_exception(error)


def exception_packet(error: EngineError) -> bytes:
    """An Exception packet: code, name, message, no stack trace, nothing nested."""
    code = error.code.to_bytes(4, "little", signed=True)
    texts = text("DB::Exception") + text(error.native_text) + text("")
    return varint(ToClient.EXCEPTION) + code + texts + b"\x00"


def _check_served(query: Query, external_rows: int) -> None:
    if query.stage != COMPLETE:
        raise EngineError(UNEXPECTED_PACKET, "Distributed reads from other servers are not served here.")
    if external_rows:
        raise EngineError(NOT_IMPLEMENTED, "External tables are not served here: use a temporary table.")
