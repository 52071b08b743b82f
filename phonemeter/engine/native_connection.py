"""A connection over the native TCP protocol: served by one thread, one query at a time."""

import contextlib
import socket
from typing import Final

from phonemeter.engine import refusals
from phonemeter.engine.blocks import BLOCK_INFO, PLAIN, WIRE, Head, copy_block, read_head
from phonemeter.engine.chdb_engine import Engine, QueryStatistics, check_password
from phonemeter.engine.client_watch import ClientWatch, WatchedClient
from phonemeter.engine.column_types import column_of_type
from phonemeter.engine.config import HANDSHAKE_TIMEOUT_S, IDLE_TIMEOUT_S, TRANSFER_TIMEOUT_S
from phonemeter.engine.errors import NOT_IMPLEMENTED, UNEXPECTED_PACKET, EngineError
from phonemeter.engine.native_packets import (
    Dialect,
    FromClient,
    HangUpError,
    PacketReader,
    PacketWriter,
    Query,
)
from phonemeter.engine.session import Session
from phonemeter.engine.statements import Insert, Statement
from phonemeter.engine.wire_values import EndOfInputError, Write, cursor_over

COMPLETE: Final = 2
"""The stage of a query that is wanted to its end, and not as a part of a distributed one."""
HTTP_REFUSAL: Final = (
    b"HTTP/1.0 400 Bad Request\r\n\r\nThis port speaks the native protocol: use the HTTP port.\n"
)


class NativeConnection:
    """One client on the native port."""

    def __init__(self, sock: socket.socket, engine: Engine, watch: ClientWatch, password: str) -> None:
        self._sock = sock
        self._engine = engine
        self._watch = watch
        self._password = password
        dialect = Dialect()
        self._reader = PacketReader(sock, dialect)
        self._writer = PacketWriter(sock, dialect)

    def serve(self) -> None:
        """Serve the client until it leaves."""
        with contextlib.suppress(EndOfInputError, OSError, HangUpError):
            self._sock.settimeout(HANDSHAKE_TIMEOUT_S)
            if self._reader.is_http():
                self._sock.sendall(HTTP_REFUSAL)
                return
            try:
                hello = self._reader.hello()
                check_password(hello.user, hello.password, self._password)
                with contextlib.closing(Session(self._engine)) as session:
                    if hello.database:
                        session.settings.use(hello.database)
                    self._writer.hello(self._engine.version)
                    self._serve_packets(session)
            except EngineError as error:
                self._writer.exception(error)

    def _serve_packets(self, session: Session) -> None:
        while True:
            self._sock.settimeout(IDLE_TIMEOUT_S)
            packet = self._reader.packet()
            self._sock.settimeout(TRANSFER_TIMEOUT_S)
            match packet:
                case FromClient.QUERY:
                    self._query(session, self._reader.query())
                case FromClient.PING:
                    self._writer.pong()
                case FromClient.CANCEL:
                    pass
                case _:
                    raise EngineError(
                        UNEXPECTED_PACKET, f"Packet {packet} is not served here: closing the connection."
                    )

    def _query(self, session: Session, query: Query) -> None:
        external_blocks, _ = self._copy_blocks(len)
        try:
            _check_served(query, external_blocks)
            statement = self._engine.read(query.sql)
            settings = {**query.settings, **query.important}
            readonly = settings.pop("readonly", "0")
            with session.for_query(settings, readonly, optional=query.settings) as prepared:
                refusals.check(statement)
                prepared.name_query(query.query_id, statement)
                self._execute(prepared, query, statement)
        except EngineError as error:
            self._writer.exception(error)

    def _execute(self, session: Session, query: Query, statement: Statement) -> None:
        if statement.insert is not None:
            self._insert(session, statement.insert, query.sql)
            self._writer.end_of_stream()
            return
        with self._watch.watch(self._sock, session.tag, native=True) as client:
            client.receive(self._reader.unread)
            try:
                if statement.streams:
                    self._select(session, statement, client)
                else:
                    self._run(session, statement)
            except EngineError:
                if not client.stopped:
                    raise
        self._writer.end_of_stream()

    def _select(self, session: Session, statement: Statement, client: WatchedClient) -> None:
        """Send a result while it is computed."""
        if statement.with_totals:
            raise EngineError(
                NOT_IMPLEMENTED, "WITH TOTALS is not served over the native protocol: use ROLLUP, or HTTP."
            )
        columns = tuple(session.result_columns(statement))
        rows, blocks, reported = 0, 0, QueryStatistics()
        if columns:
            # Clients can prepare for the columns while the query runs.
            self._writer.block(Head(columns, 0).encode(WIRE))
        with contextlib.closing(session.stream(statement, "Native", columns)) as chunks:
            for chunk in chunks:
                if not columns and not blocks:
                    self._writer.block(read_head(chunk.data).encode(WIRE))
                reported = self._report_progress(session.statistics, reported)
                self._writer.block(BLOCK_INFO + chunk.data)
                rows, blocks = rows + chunk.rows, blocks + 1
                client.look()
                if client.stopped:
                    return
        self._report_progress(session.statistics, reported)
        self._writer.profile(rows, blocks)

    def _report_progress(self, now: QueryStatistics, reported: QueryStatistics) -> QueryStatistics:
        """Send the progress since the last report; returns what is reported now."""
        self._writer.progress(
            QueryStatistics._make(new - old for new, old in zip(now, reported, strict=True))
        )
        return now

    def _run(self, session: Session, statement: Statement) -> None:
        """Run a statement with a short result, or none."""
        data, statistics = session.run(statement, "Native")
        head = read_head(data) if data else Head(tuple(session.result_columns(statement)), 0)
        if head.columns:
            self._writer.block(head.encode(WIRE))
        rows = blocks = 0
        cursor = cursor_over(data)
        while cursor.ahead():
            parts = list[bytes]()
            rows += copy_block(cursor, parts.append, PLAIN, PLAIN).rows
            blocks += 1
            self._writer.block(BLOCK_INFO + b"".join(parts))
        self._writer.progress(statistics)
        self._writer.profile(rows, blocks)

    def _insert(self, session: Session, insert: Insert, sql: str) -> None:
        with self._engine.spool() as spool:
            if insert.inline:
                spool.write(sql[insert.data_start :].encode())
                self._writer.progress(session.insert(insert, spool, insert.format))
                return
            sample = Head(tuple(session.columns_of(insert.as_select)), 0)
            for _, type_name in sample.columns:
                column_of_type(type_name)
            self._writer.block(sample.encode(WIRE))
            # No Progress follows: after the data of an INSERT, clients take one packet for its end.
            _, rows = self._copy_blocks(spool.write)
            if rows:
                session.insert(insert, spool, "Native")

    def _copy_blocks(self, write: Write) -> tuple[int, int]:
        """Copy Data packets; hang up after an error, because the next packet cannot be found then."""
        try:
            return self._reader.copy_blocks(write)
        except EngineError as error:
            self._writer.exception(error)
            raise HangUpError from error


def _check_served(query: Query, external_blocks: int) -> None:
    if query.stage != COMPLETE:
        raise EngineError(UNEXPECTED_PACKET, "Distributed reads from other servers are not served here.")
    if external_blocks:
        raise EngineError(NOT_IMPLEMENTED, "External tables are not served here: use a temporary table.")
