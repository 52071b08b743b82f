"""HTTP as clickhouse-server serves it: queries and data in the URL or the body, settings as parameters."""

import contextlib
import socket
import time
import uuid
from http import HTTPStatus
from itertools import chain
from typing import Any, Final, cast
from urllib.parse import urlsplit

from phonemeter.engine import refusals
from phonemeter.engine.chdb_engine import Engine, QueryStatistics
from phonemeter.engine.client_watch import ClientWatch
from phonemeter.engine.config import (
    HTTP_BUFFER_BYTES,
    HTTP_BUFFER_S,
    MAX_CONNECTIONS,
    MAX_SPOOLED_RESULT_BYTES,
)
from phonemeter.engine.errors import SYNTAX, TOO_MANY_BYTES, TOO_MANY_QUERIES, EngineError
from phonemeter.engine.http_body import body_parts
from phonemeter.engine.http_connection import HttpConnection
from phonemeter.engine.http_connection_limit import HttpConnectionLimit
from phonemeter.engine.http_guard import check_origin
from phonemeter.engine.http_request import Request, authenticate, parse_parameters, parse_request
from phonemeter.engine.http_response import CONTENT_TYPES, STATUS, late_exception, result_headers
from phonemeter.engine.http_sessions import HttpSessions
from phonemeter.engine.metrics import CONTENT_TYPE as METRICS_TYPE
from phonemeter.engine.metrics import EngineMetrics
from phonemeter.engine.results import Pieces, result_pieces
from phonemeter.engine.session import Session
from phonemeter.engine.spool import Spool
from phonemeter.engine.statements import Insert
from phonemeter.engine.wire_values import EndOfInputError

PROBES: Final = frozenset({"/ping", "/replicas_status"})


class HttpService:
    """The service behind the HTTP port: all that its connections share."""

    def __init__(self, engine: Engine, watch: ClientWatch, password: str, metrics: EngineMetrics) -> None:
        self.engine = engine
        self.watch = watch
        self.password = password
        self.metrics = metrics
        self.sessions = HttpSessions(engine)
        self.connection_limit = HttpConnectionLimit()

    def serve(self, sock: socket.socket) -> None:
        """Serve one connection until the client leaves, or it is closed for another one."""
        counting = self.connection_limit.count(sock)
        with counting as is_within_limit, contextlib.suppress(OSError, EndOfInputError):
            (QueryConnection if is_within_limit else CrowdedConnection)(sock, ("", 0), cast("Any", self))


class QueryConnection(HttpConnection):
    """A connection for probes and queries."""

    has_result = False
    """True if the statement has a result, even an empty one."""

    @property
    def service(self) -> HttpService:
        """The service that the connection belongs to."""
        return cast("HttpService", self.server)

    def set_idle(self) -> None:
        """Let the connection be closed for another one."""
        self.service.connection_limit.set_idle(self.connection)

    def set_busy(self) -> bool:
        """Keep the connection; False if it was closed for another one."""
        return self.service.connection_limit.set_busy(self.connection)

    def answer(self) -> None:
        """Answer probes from everybody, metrics and queries unless they come from a web page."""
        url = urlsplit(self.path)
        is_get = self.command == "GET"
        if is_get and (url.path in PROBES or (url.path == "/" and not url.query)):
            self.send(HTTPStatus.OK, b"Ok.\n", {"Content-Type": "text/html; charset=UTF-8"})
            return
        try:
            check_origin(self.headers, has_password=bool(self.service.password))
            if is_get and url.path == "/metrics":
                self.send(HTTPStatus.OK, self.service.metrics.page(), {"Content-Type": METRICS_TYPE})
            else:
                self._query()
        except EngineError as error:
            text = f"{error.http_text} (version {self.service.engine.version})\n".encode()
            headers = {"X-ClickHouse-Exception-Code": str(error.code), "Content-Type": CONTENT_TYPES[""]}
            self.send(STATUS.get(error.code, HTTPStatus.INTERNAL_SERVER_ERROR), text, headers)

    def _query(self) -> None:
        with self.service.engine.spool() as body:
            request = self._read(body)
            with self.service.sessions.of(request.params) as session:
                self._run(session, request)

    def _read(self, body: Spool) -> Request:
        url = urlsplit(self.path)
        params = parse_parameters(url.query)
        authenticate(self.headers, params, self.service.password)
        self.ask_for_body()
        for part in body_parts(self.rfile, self.headers, params):
            body.write(part)
        self.unread = False
        return parse_request(url.path, self.headers, params, body, self.service.engine.read)

    def _run(self, session: Session, request: Request) -> None:
        statement = request.statement
        readonly = request.params.get("readonly", "0")
        with session.for_query(request.settings, readonly, request.database) as prepared:
            classified = prepared.classify(statement.head)
            refusals.check(statement)
            if self.command == "GET":
                refusals.check_readonly(statement, classified)
            self.query_id = prepared.name_query(request.params.get("query_id", ""), statement)
            if statement.insert is not None:
                self._insert(prepared, request, statement.insert)
                return
            self.has_result = str(classified.get("query_class")).endswith("READ_ONLY")
            pieces = result_pieces(
                prepared, statement, request.result_format, request.layout, is_read_only=self.has_result
            )
            watching = self.service.watch.watch(self.connection, prepared.tag, native=False)
            send = self._send_whole if request.waits_for_end else self._send_result
            with watching, contextlib.closing(pieces):
                send(request, pieces)

    def _insert(self, session: Session, request: Request, insert: Insert) -> None:
        if not insert.format:
            raise EngineError(
                SYNTAX, "This INSERT has no data: end it with VALUES (...) or FORMAT Name and the data."
            )
        with self.service.engine.spool() as spool:
            request.fill(spool)
            statistics = session.insert(insert, spool, insert.format)
        self.send(HTTPStatus.OK, b"", result_headers("", statistics, self.started_at_s))

    def _send_result(self, request: Request, pieces: Pieces) -> None:
        """Send a small result whole, and a large or slow one as it comes."""
        first, size, since_s = list[bytes](), 0, time.monotonic()
        while size <= HTTP_BUFFER_BYTES and time.monotonic() < since_s + HTTP_BUFFER_S:
            try:
                first.append(next(pieces))
            except StopIteration as end:
                data = request.pack(b"".join(first))
                self.send(HTTPStatus.OK, data, self._result_headers(request, end.value, len(data)))
                return
            since_s = since_s if size else time.monotonic()
            size += len(first[-1])
        mark = uuid.uuid4().hex[:16]
        headers = self._result_headers(request, None, size)
        self.send_head(
            HTTPStatus.OK, {**headers, "Transfer-Encoding": "chunked", "X-ClickHouse-Exception-Tag": mark}
        )
        try:
            for piece in chain(first, pieces):
                self.send_chunk(request.pack(piece))
        except EngineError as error:
            # The status was sent already: report the error as clickhouse-server does, and end the body.
            self.close_connection = True
            self.send_chunk(request.pack(late_exception(error, mark)))
            return
        self.wfile.write(b"0\r\n\r\n")

    def _send_whole(self, request: Request, pieces: Pieces) -> None:
        """Send a result when it is complete; until then it is spooled to disk."""
        with self.service.engine.spool() as spool:
            statistics = QueryStatistics()
            while True:
                try:
                    spool.write(request.pack(next(pieces)))
                except StopIteration as end:
                    statistics = end.value
                    break
                if spool.size_bytes > MAX_SPOOLED_RESULT_BYTES:
                    raise EngineError(
                        TOO_MANY_BYTES,
                        f"The result has over {MAX_SPOOLED_RESULT_BYTES} bytes: leave wait_end_of_query out.",
                    )
            headers = self._result_headers(request, statistics, spool.size_bytes)
            self.send_head(HTTPStatus.OK, {**headers, "Content-Length": str(spool.size_bytes)})
            for part in spool.parts(0):
                self.wfile.write(part)

    def _result_headers(
        self, request: Request, statistics: QueryStatistics | None, size_bytes: int
    ) -> dict[str, str]:
        """Headers of a result; for clients a statement without a format has no result."""
        result_format = request.result_format if size_bytes or self.has_result else ""
        return result_headers(result_format, statistics, self.started_at_s)


class CrowdedConnection(QueryConnection):
    """A connection above the limit: probes are answered and queries refused."""

    once = True

    def set_busy(self) -> bool:
        """Keep the connection for its one request."""
        return True

    def _query(self) -> None:
        raise EngineError(
            TOO_MANY_QUERIES, f"{MAX_CONNECTIONS} HTTP queries are under way already: try again later."
        )
