"""HTTP as clickhouse-server speaks it: queries and data in the URL or the body, settings as parameters."""

import base64
import contextlib
import json
import re
import socket
import uuid
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any, Final, cast
from urllib.parse import parse_qsl, urlsplit

from phonemeter.engine import frames, refusals
from phonemeter.engine.blocks import PLAIN, EndOfInputError, Head, Layout, relaid
from phonemeter.engine.chdb_engine import Chunk, Engine, Session, Written, check_password
from phonemeter.engine.config import IDLE_TIMEOUT_S, MAX_QUERY_BYTES, TRANSFER_TIMEOUT_S
from phonemeter.engine.errors import ACCESS_DENIED, AUTHENTICATION_FAILED, SYNTAX, TOO_MANY_BYTES, EngineError
from phonemeter.engine.http_body import body_parts
from phonemeter.engine.http_sessions import HttpSessions, number
from phonemeter.engine.metrics import CONTENT_TYPE as METRICS_TYPE
from phonemeter.engine.metrics import Metrics
from phonemeter.engine.spool import Spool
from phonemeter.engine.sql import Insert, Statement, parse
from phonemeter.engine.watch import Watch

STREAMED: Final = frozenset({
    "Native", "RowBinary", "TabSeparated", "TSV", "TabSeparatedRaw", "TSVRaw", "CSV", "JSONEachRow",
    "JSONLines", "NDJSON", "JSONCompactEachRow", "JSONStringsEachRow", "JSONCompactStringsEachRow",
})  # fmt: skip
"""Formats whose pieces can follow one another; in others the engine makes every piece a whole document."""
NOT_SETTINGS: Final = frozenset({
    "query", "user", "password", "database", "default_format", "session_id", "session_timeout",
    "session_check", "close_session", "query_id", "compress", "decompress", "quota_key", "role",
    "stacktrace", "readonly",
    "wait_end_of_query", "buffer_size", "client_protocol_version",
})  # fmt: skip
STATUS: Final = {
    **dict.fromkeys((36, 43, 44, 47, 53, 57, 62, 115, 117, 158, 271, 456), 400),
    **dict.fromkeys((164, 497, 516), 403),
    **dict.fromkeys((60, 81, 372), 404),
    48: 501,
    159: 408,
    202: 429,
    307: 413,
    373: 423,
}
"""HTTP status by ClickHouse code; 500 for the others."""
CONTENT_TYPES: Final = {
    r"JSON\w*EachRow|JSONLines|NDJSON": "application/x-ndjson; charset=UTF-8",
    r"JSON": "application/json; charset=UTF-8",
    r"TabSeparated|TSV": "text/tab-separated-values; charset=UTF-8",
    r"CSV": "text/csv; charset=UTF-8",
    r"Native|RowBinary|Parquet|Arrow|ORC": "application/octet-stream",
    r"": "text/plain; charset=UTF-8",
}
WITH_BLOCK_INFO: Final = 51_903
WITH_COLUMN_FLAGS: Final = 54_454
BUFFERED_BYTES: Final = 1 << 16


class HttpService:
    """What the HTTP connections share."""

    def __init__(self, engine: Engine, watch: Watch, password: str, metrics: Metrics) -> None:
        self.engine = engine
        self.watch = watch
        self.password = password
        self.metrics = metrics
        self.sessions = HttpSessions(engine)

    def serve(self, sock: socket.socket) -> None:
        """Serve one connection until the client leaves."""
        with contextlib.suppress(OSError, EndOfInputError):
            HttpConnection(sock, ("", 0), cast("Any", self))


@dataclass(frozen=True, slots=True)
class Request:
    """A request that was read and allowed to ask: parameters, statement, and where its data begins."""

    params: dict[str, str]
    statement: Statement
    body: Spool
    in_url: bytes
    """The part of the query that the URL carried, and the line break after it."""
    database: str
    result_format: str
    layout: Layout

    @property
    def streamed(self) -> bool:
        """Whether the result can be sent as it comes."""
        waits = self.params.get("wait_end_of_query") == "1"
        return self.statement.streams and self.result_format in STREAMED and not waits

    @property
    def pack(self) -> Callable[[bytes], bytes]:
        """ClickHouse's own compression if the client asked for it; on loopback no other pays."""
        return frames.pack if self.params.get("compress") == "1" else bytes

    def fill(self, spool: Spool) -> None:
        """Write the INSERT data: what follows the statement, from the URL and from the body."""
        skip = len(self.statement.head.encode()) - len(self.in_url)
        if skip < 0:
            spool.write(self.in_url[skip:])
        for part in self.body.parts(max(skip, 0)):
            spool.write(part)


class HttpConnection(BaseHTTPRequestHandler):
    """One connection; the base class parses requests and limits their lines and headers."""

    protocol_version = "HTTP/1.1"
    server_version = "phonemeter"
    sys_version = ""
    timeout = IDLE_TIMEOUT_S
    wbufsize = BUFFERED_BYTES
    query_id = ""

    @property
    def service(self) -> HttpService:
        """What this connection belongs to."""
        return cast("HttpService", self.server)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Requests aren't logged."""

    def do_HEAD(self) -> None:
        """Liveness for probes that want no body."""
        self._send(HTTPStatus.OK, b"", {})

    def do_GET(self) -> None:
        """Liveness, metrics, or a query that changes nothing."""
        url = urlsplit(self.path)
        if url.path in {"/ping", "/replicas_status"} or (url.path == "/" and not url.query):
            self._send(HTTPStatus.OK, b"Ok.\n", {"Content-Type": "text/html; charset=UTF-8"})
        elif url.path == "/metrics":
            self._send(HTTPStatus.OK, self.service.metrics.page(), {"Content-Type": METRICS_TYPE})
        else:
            self._request(readonly=True)

    def do_POST(self) -> None:
        """Any query."""
        self._request(readonly=False)

    def _request(self, *, readonly: bool) -> None:
        self.query_id = ""
        self.connection.settimeout(TRANSFER_TIMEOUT_S)
        try:
            with self.service.engine.spool() as body:
                request = self._read(body)
                with self.service.sessions.of(request.params) as session:
                    self._run(session, request, readonly=readonly)
        except EngineError as error:
            text = f"{error.http_text} (version {self.service.engine.version})\n".encode()
            headers = {"X-ClickHouse-Exception-Code": str(error.code), "Content-Type": CONTENT_TYPES[""]}
            self._send(STATUS.get(error.code, HTTPStatus.INTERNAL_SERVER_ERROR), text, headers)
        self.connection.settimeout(IDLE_TIMEOUT_S)

    # Reading

    def _read(self, body: Spool) -> Request:
        url = urlsplit(self.path)
        params = dict(parse_qsl(url.query, keep_blank_values=True))
        try:
            self._authenticate(params)
            for part in body_parts(self.rfile, self.headers, params):
                body.write(part)
        except EngineError:
            self.close_connection = True
            raise
        if url.path != "/":
            raise EngineError(
                SYNTAX, f"There is no handle {url.path[:100]}: send queries to / and probes to /ping."
            )
        if params.get("role"):
            raise EngineError(ACCESS_DENIED, "There are no roles here: leave the parameter role out.")
        in_url = params.get("query", "").encode()
        if in_url and body.size_bytes:
            in_url += b"\n"
        statement = parse((in_url + body.read(MAX_QUERY_BYTES)).decode("utf-8", "surrogateescape"))
        self._check(statement, body)
        asked = statement.format or self.headers.get("X-ClickHouse-Format") or params.get("default_format")
        return Request(
            params=params,
            statement=statement,
            body=body,
            in_url=in_url,
            database=params.get("database") or self.headers.get("X-ClickHouse-Database") or "",
            result_format=asked or "TabSeparated",
            layout=_layout(params) if asked == "Native" else PLAIN,
        )

    def _authenticate(self, params: Mapping[str, str]) -> None:
        user = self.headers.get("X-ClickHouse-User") or params.get("user", "")
        password = self.headers.get("X-ClickHouse-Key") or params.get("password", "")
        scheme, _, encoded = self.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "basic":
            try:
                user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
            except ValueError as error:
                raise EngineError(
                    AUTHENTICATION_FAILED, "The Authorization header cannot be read."
                ) from error
        check_password(user, password, self.service.password)

    @staticmethod
    def _check(statement: Statement, body: Spool) -> None:
        if not statement.head.strip():
            raise EngineError(SYNTAX, "The query is empty: send it in the body or in the parameter query.")
        if statement.insert is None and body.size_bytes > MAX_QUERY_BYTES:
            raise EngineError(TOO_MANY_BYTES, f"The query has more than {MAX_QUERY_BYTES} bytes.")
        if not statement.head.isprintable() and re.search(r"[\ud800-\udfff]", statement.head):
            raise EngineError(SYNTAX, "The query is not valid UTF-8.")
        if statement.into_outfile:
            raise EngineError(
                ACCESS_DENIED, "INTO OUTFILE would write on the engine's machine: save the response instead."
            )

    # Running

    def _run(self, session: Session, request: Request, *, readonly: bool) -> None:
        statement, params = request.statement, request.params
        settings = {name: value for name, value in params.items() if name not in NOT_SETTINGS}
        with session.prepared(settings, params.get("readonly", "0"), request.database) as prepared:
            classified = prepared.classify(statement.head)
            refusals.check(statement, classified)
            if readonly:
                refusals.check_readonly(statement, classified)
            self.query_id = prepared.begin(params.get("query_id", ""), statement, classified)
            if statement.insert is not None:
                self._insert(prepared, request, statement.insert)
                return
            with self.service.watch.over(self.connection, prepared.tag, native=False):
                if request.streamed:
                    self._stream(prepared, request)
                else:
                    self._answer(prepared, request)

    def _insert(self, session: Session, request: Request, insert: Insert) -> None:
        if not insert.format:
            raise EngineError(
                SYNTAX, "This INSERT has no data: end it with VALUES (...) or FORMAT Name and the data."
            )
        with self.service.engine.spool() as spool:
            request.fill(spool)
            written = session.insert(insert, spool, insert.format)
        self._send(HTTPStatus.OK, b"", _result_headers("", written))

    def _answer(self, session: Session, request: Request) -> None:
        data, written = session.run(request.statement, request.result_format)
        data = relaid(data, request.layout) if request.layout != PLAIN else data
        self._send(HTTPStatus.OK, request.pack(data), _result_headers(request.result_format, written))

    def _stream(self, session: Session, request: Request) -> None:
        """Send the chunks of a result; what fails before the first one still gets a status of its own."""
        with contextlib.closing(session.stream(request.statement, request.result_format)) as chunks:
            first = next(chunks, None)
            if first is not None:
                self._send_chunks(request, first, chunks)
                return
        empty = b""
        if request.layout != PLAIN:
            empty = Head(tuple(session.result_columns(request.statement)), 0).encode(request.layout)
        self._send(HTTPStatus.OK, request.pack(empty), _result_headers(request.result_format, Written()))

    def _send_chunks(self, request: Request, first: Chunk, rest: Generator[Chunk]) -> None:
        convert: Callable[[bytes], bytes] = bytes
        if request.layout != PLAIN:
            convert = partial(relaid, target=request.layout)
        converted = convert(first.data)
        mark = uuid.uuid4().hex[:16]
        headers = _result_headers(request.result_format, None)
        self._send_head(
            HTTPStatus.OK, {**headers, "Transfer-Encoding": "chunked", "X-ClickHouse-Exception-Tag": mark}
        )
        try:
            self._send_chunk(request.pack(converted))
            for chunk in rest:
                self._send_chunk(request.pack(convert(chunk.data)))
        except EngineError as error:
            # The status line is gone: say it as clickhouse-server does, and break the response off.
            self.close_connection = True
            self._send_chunk(request.pack(_late_exception(error, mark)))
            return
        self.wfile.write(b"0\r\n\r\n")

    # Answering

    def _send_head(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        self.send_header("X-ClickHouse-Server-Display-Name", "phonemeter")
        self.send_header("X-ClickHouse-Timezone", "UTC")
        self.send_header("X-ClickHouse-Query-Id", self.query_id)
        for name, value in headers.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()

    def _send(self, status: int, data: bytes, headers: Mapping[str, str]) -> None:
        self._send_head(status, {**headers, "Content-Length": str(len(data))})
        self.wfile.write(data)
        self.wfile.flush()

    def _send_chunk(self, data: bytes) -> None:
        if data:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))


def _result_headers(result_format: str, written: Written | None) -> dict[str, str]:
    kind = next(kind for pattern, kind in CONTENT_TYPES.items() if re.match(pattern, result_format))
    headers = {"Content-Type": kind}
    if result_format:
        headers["X-ClickHouse-Format"] = result_format
    if written is not None:
        headers["X-ClickHouse-Summary"] = json.dumps({k: str(v) for k, v in written._asdict().items()})
    return headers


def _late_exception(error: EngineError, mark: str) -> bytes:
    text = error.http_text
    size = len(text.encode()) + 1
    return f"\r\n__exception__\r\n{mark}\r\n{text}\n{size} {mark}\r\n__exception__\r\n".encode()


def _layout(params: Mapping[str, str]) -> Layout:
    """What blocks look like to a client of this revision; it does not apply to the blocks that it sends."""
    revision = number(params, "client_protocol_version", 0)
    return Layout(info=revision >= WITH_BLOCK_INFO, flags=revision >= WITH_COLUMN_FLAGS)
