"""HTTP as clickhouse-server speaks it: queries in the URL or the body, INSERT data in the body, settings as parameters."""

import base64
import contextlib
import email
import email.policy
import json
import socket
import threading
import time
import uuid
import zlib
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any, Final, cast
from urllib.parse import parse_qsl, urlsplit

import lz4.frame  # type: ignore[import-untyped] # ships no types

from phonemeter.engine import frames, refusals
from phonemeter.engine.blocks import PLAIN, Cursor, EndOfInputError, Head, Layout, copy_block, relaid
from phonemeter.engine.chdb_engine import Chunk, Engine, Session, Spool, Written, check_password
from phonemeter.engine.config import (
    DEFAULT_HTTP_SESSION_S,
    IDLE_TIMEOUT_S,
    MAX_HTTP_SESSION_S,
    MAX_HTTP_SESSIONS,
    MAX_INSERT_BYTES,
    MAX_QUERY_BYTES,
    TRANSFER_TIMEOUT_S,
)
from phonemeter.engine.errors import (
    ACCESS_DENIED,
    AUTHENTICATION_FAILED,
    CANNOT_DECOMPRESS,
    INCORRECT_DATA,
    NOT_IMPLEMENTED,
    SESSION_LOCKED,
    SESSION_NOT_FOUND,
    SYNTAX,
    TOO_MANY_BYTES,
    TOO_MANY_QUERIES,
    EngineError,
)
from phonemeter.engine.sql import Statement, parse
from phonemeter.engine.watch import Watch

STREAMED: Final = frozenset(
    {"Native", "RowBinary", "TabSeparated", "TSV", "TabSeparatedRaw", "TSVRaw", "CSV", "JSONEachRow", "JSONLines",
     "NDJSON", "JSONCompactEachRow", "JSONStringsEachRow", "JSONCompactStringsEachRow"}
)  # fmt: skip
"""Formats whose pieces can be put one after another; the engine ends the document with every piece of the others."""
NOT_SETTINGS: Final = frozenset(
    {"query", "user", "password", "database", "default_format", "session_id", "session_timeout", "session_check",
     "close_session", "query_id", "compress", "decompress", "quota_key", "role", "stacktrace", "wait_end_of_query",
     "buffer_size", "client_protocol_version", "readonly"}
)  # fmt: skip
STATUS: Final = {
    43: 400, 44: 400, 47: 400, 48: 501, 53: 400, 57: 400, 60: 404, 62: 400, 81: 404, 115: 400, 117: 400, 158: 400,
    159: 408, 164: 403, 202: 429, 271: 400, 307: 413, 372: 404, 373: 423, 394: 499, 456: 400, 497: 403, 516: 403,
}  # fmt: skip
WITH_BLOCK_INFO: Final = 51_903
WITH_COLUMN_FLAGS: Final = 54_454
READ_BYTES: Final = 1 << 20
MAX_CHUNK_LINE_BYTES: Final = 256


@dataclass(slots=True)
class Kept:
    """An HTTP session: between requests it keeps settings and temporary tables."""

    session: Session
    lock: threading.Lock = field(default_factory=threading.Lock)
    expires_at_s: float = 0.0


class HttpService:
    """What the HTTP connections share: the engine and the sessions that clients named."""

    def __init__(self, engine: Engine, watch: Watch, password: str) -> None:
        self.engine = engine
        self.watch = watch
        self.password = password
        self._kept: dict[str, Kept] = {}
        self._lock = threading.Lock()

    def serve(self, sock: socket.socket) -> None:
        """Serve one connection until the client leaves."""
        with contextlib.suppress(OSError, EndOfInputError):
            HttpConnection(sock, ("", 0), cast("Any", self))

    @contextlib.contextmanager
    def session(self, params: Mapping[str, str]) -> Iterator[Session]:
        """The session that the request names, or one of its own."""
        name = params.get("session_id", "")
        if not name:
            session = Session(self.engine)
            try:
                yield session
            finally:
                session.close()
            return
        kept = self._find(name, must_exist=params.get("session_check", "0") == "1")
        try:
            yield kept.session
        finally:
            lifetime_s = min(_number(params, "session_timeout", DEFAULT_HTTP_SESSION_S), MAX_HTTP_SESSION_S)
            kept.expires_at_s = time.monotonic() + lifetime_s
            kept.lock.release()

    def _find(self, name: str, *, must_exist: bool) -> Kept:
        """The locked session of that name; expired ones end here."""
        with self._lock:
            now_s = time.monotonic()
            for old, kept in list(self._kept.items()):
                if old != name and kept.expires_at_s < now_s and kept.lock.acquire(blocking=False):
                    self._kept.pop(old).session.close()
            if name not in self._kept:
                if must_exist:
                    raise EngineError(SESSION_NOT_FOUND, f"There is no session {name[:100]!r}.")
                if len(self._kept) >= MAX_HTTP_SESSIONS:
                    raise EngineError(
                        TOO_MANY_QUERIES, f"{MAX_HTTP_SESSIONS} sessions are open: wait until one expires."
                    )
                self._kept[name] = Kept(Session(self.engine))
            kept = self._kept[name]
            if not kept.lock.acquire(blocking=False):
                raise EngineError(
                    SESSION_LOCKED, f"Session {name[:100]!r} is locked by a query that still runs."
                )
            return kept


class HttpConnection(BaseHTTPRequestHandler):
    """One connection; the base class parses requests and limits their lines and headers."""

    protocol_version = "HTTP/1.1"
    server_version = "phonemeter"
    sys_version = ""
    timeout = IDLE_TIMEOUT_S
    wbufsize = 1 << 16

    @property
    def service(self) -> HttpService:
        """What this connection belongs to."""
        return cast("HttpService", self.server)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Requests aren't logged."""

    def do_GET(self) -> None:
        """Liveness, or a query that changes nothing."""
        path = urlsplit(self.path)
        if path.path in {"/ping", "/replicas_status"} or (path.path == "/" and not path.query):
            self._send_all(HTTPStatus.OK, b"Ok.\n", {"Content-Type": "text/html; charset=UTF-8"})
        else:
            self._request(readonly=True)

    do_HEAD = do_GET  # noqa: N815 - the base class's name

    def do_POST(self) -> None:
        """Any query."""
        self._request(readonly=False)

    # One request

    def _request(self, *, readonly: bool) -> None:
        self._streaming = ""
        self._query_id = ""
        self.connection.settimeout(TRANSFER_TIMEOUT_S)
        try:
            with self.service.engine.spool() as body:
                params = self._read_request(body)
                with self.service.session(params) as session:
                    self._query(session, params, body, readonly=readonly)
        except EngineError as error:
            self._send_error(error)
        self.connection.settimeout(IDLE_TIMEOUT_S)

    def _read_request(self, body: Spool) -> dict[str, str]:
        url = urlsplit(self.path)
        params = dict(parse_qsl(url.query, keep_blank_values=True))
        self._read_body(params, body)
        if url.path != "/":
            raise EngineError(
                SYNTAX, f"There is no handle {url.path[:100]}: send queries to / and probes to /ping."
            )
        self._authenticate(params)
        if params.get("role"):
            raise EngineError(
                ACCESS_DENIED, "The embedded engine has no roles: leave the parameter role out."
            )
        if self.headers.get_content_type() == "multipart/form-data":
            self._read_form(params, body)
        return params

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

    def _read_body(self, params: Mapping[str, str], body: Spool) -> None:
        """Spool the body, unpacked. What goes wrong leaves the rest unread, so the connection ends."""
        try:
            for part in self._unpacked(params):
                body.write(part)
        except (EngineError, EndOfInputError) as error:
            self.close_connection = True
            if isinstance(error, EngineError):
                raise
            raise EngineError(INCORRECT_DATA, "The request's body ended too early.") from error

    def _unpacked(self, params: Mapping[str, str]) -> Iterator[bytes]:
        raw = self._raw_body()
        encoding = self.headers.get("Content-Encoding", "").strip().lower()
        if params.get("decompress") == "1":
            cursor = Cursor(lambda: next(raw, b""))
            while cursor.ahead():
                yield frames.unpack(cursor.take)
        elif encoding in {"", "identity"}:
            yield from raw
        elif encoding in {"gzip", "deflate"}:
            yield from _inflated(raw, zlib.decompressobj(zlib.MAX_WBITS | 32), zlib.error)
        elif encoding == "lz4":
            yield from _inflated(raw, lz4.frame.LZ4FrameDecompressor(), RuntimeError)
        else:
            raise EngineError(
                CANNOT_DECOMPRESS, f"Content-Encoding {encoding[:50]} is not served: use gzip, lz4 or none."
            )

    def _raw_body(self) -> Iterator[bytes]:
        if self.headers.get("Transfer-Encoding", "").strip().lower() == "chunked":
            while size := self._chunk_size():
                yield from self._exactly(size)
                self.rfile.readline(MAX_CHUNK_LINE_BYTES)
            while self.rfile.readline(MAX_CHUNK_LINE_BYTES).strip():
                pass
            return
        length = self.headers.get("Content-Length", "0")
        if not length.isdigit() or int(length) > MAX_INSERT_BYTES:
            raise EngineError(
                TOO_MANY_BYTES, f"Content-Length {length[:30]} is not a number of at most {MAX_INSERT_BYTES}."
            )
        yield from self._exactly(int(length))

    def _chunk_size(self) -> int:
        line = self.rfile.readline(MAX_CHUNK_LINE_BYTES).split(b";")[0].strip()
        try:
            return int(line, 16)
        except ValueError as error:
            raise EngineError(INCORRECT_DATA, "A chunk of the request's body has no size.") from error

    def _exactly(self, size: int) -> Iterator[bytes]:
        while size > 0:
            part = self.rfile.read1(min(size, READ_BYTES))
            if not part:
                raise EndOfInputError
            size -= len(part)
            yield part

    def _read_form(self, params: dict[str, str], body: Spool) -> None:
        """Fields of a multipart form are parameters; files would be external tables."""
        head = b"Content-Type: " + self.headers["Content-Type"].encode() + b"\r\n\r\n"
        form = email.message_from_bytes(head + body.read(MAX_QUERY_BYTES), policy=email.policy.HTTP)
        for part in form.iter_parts():
            name = part.get_param("name", header="content-disposition")
            if part.get_filename() is not None:
                raise EngineError(
                    NOT_IMPLEMENTED, "External tables are not served here: use a temporary table instead."
                )
            params[str(name)] = (part.get_payload(decode=True) or b"").decode()  # type: ignore[union-attr] # not nested
        body.clear()

    # Running it

    def _query(self, session: Session, params: Mapping[str, str], body: Spool, *, readonly: bool) -> None:
        in_url = params.get("query", "").encode()
        prefix = in_url + b"\n" if in_url and body.size_bytes else in_url
        text = (prefix + body.read(MAX_QUERY_BYTES)).decode("utf-8", "surrogateescape")
        statement = parse(text)
        own = text[: statement.insert.data_start] if statement.insert else text
        try:
            own.encode()
        except UnicodeEncodeError as error:
            raise EngineError(SYNTAX, "The query is not valid UTF-8.") from error
        if not own.strip():
            raise EngineError(SYNTAX, "The query is empty: send it in the body or in the parameter query.")
        if statement.insert is None and body.size_bytes > MAX_QUERY_BYTES:
            raise EngineError(TOO_MANY_BYTES, f"The query has more than {MAX_QUERY_BYTES} bytes.")
        settings = {name: value for name, value in params.items() if name not in NOT_SETTINGS}
        database = params.get("database") or self.headers.get("X-ClickHouse-Database") or ""
        with session.prepared(settings, params.get("readonly", "0"), database) as prepared:
            classified = prepared.classify(own)
            refusals.check(statement, classified)
            if statement.into_outfile:
                raise EngineError(
                    ACCESS_DENIED,
                    "INTO OUTFILE would write on the engine's machine: save the response instead.",
                )
            if readonly:
                refusals.check_readonly(statement, classified)
            self._query_id = prepared.begin(
                params.get("query_id", ""), parsed=bool(classified["statement_count"])
            )
            with self.service.watch.over(self.connection, prepared.tag, native=False):
                if statement.insert is not None:
                    skip = len(own.encode()) - len(prefix)
                    self._insert(prepared, statement, params, body, prefix, skip)
                else:
                    self._answer(prepared, statement, params)

    def _insert(
        self,
        session: Session,
        statement: Statement,
        params: Mapping[str, str],
        body: Spool,
        prefix: bytes,
        skip: int,
    ) -> None:
        """Insert what follows the statement: the rest of the URL's query, then the body from `skip` on."""
        insert = statement.insert
        if insert is None or not insert.format:
            raise EngineError(
                SYNTAX, "This INSERT has no data: end it with VALUES (...) or FORMAT Name and the data."
            )
        with self.service.engine.spool() as spool:
            data = body
            if skip:
                data = spool
                spool.write(prefix[skip:] if skip < 0 else b"")
                more = body.reader(max(skip, 0))
                while part := more():
                    spool.write(part)
            layout = _layout(params)
            if insert.format == "Native" and layout != PLAIN:
                with self.service.engine.spool() as plain:
                    cursor = Cursor(data.reader())
                    while cursor.ahead():
                        copy_block(cursor, plain.write, layout, PLAIN)
                    written = session.insert(insert, plain, insert.format)
            else:
                written = session.insert(insert, data, insert.format)
        self._send_all(HTTPStatus.OK, b"", self._result_headers(written, ""))

    def _answer(self, session: Session, statement: Statement, params: Mapping[str, str]) -> None:
        chosen = statement.format or self.headers.get("X-ClickHouse-Format") or params.get("default_format")
        result_format = chosen or "TabSeparated"
        streamed = (
            statement.streams and result_format in STREAMED and params.get("wait_end_of_query", "0") != "1"
        )
        if not streamed:
            data, written = session.run(statement, result_format)
            if result_format == "Native" and data and _layout(params) != PLAIN:
                data = _all_relaid(data, _layout(params))
            self._send_all(HTTPStatus.OK, data, self._result_headers(written, result_format), params)
            return
        chunks = session.stream(statement, result_format)
        try:
            first = next(chunks, None)
            self._send_stream(session, statement, params, result_format, first, chunks)
        finally:
            chunks.close()

    def _send_stream(
        self,
        session: Session,
        statement: Statement,
        params: Mapping[str, str],
        result_format: str,
        first: Chunk | None,
        rest: Generator[Chunk],
    ) -> None:
        layout = _layout(params) if result_format == "Native" else PLAIN
        convert = partial(relaid, target=layout) if layout != PLAIN else bytes
        if first is None:
            empty = b""
            if result_format == "Native" and layout != PLAIN:
                empty = Head(tuple(session.result_columns(statement)), 0).encode(layout)
            self._send_all(HTTPStatus.OK, empty, self._result_headers(Written(), result_format), params)
            return
        piece = convert(first.data)
        reply = Reply(self, params, self._result_headers(None, result_format))
        try:
            reply.write(piece)
            for chunk in rest:
                reply.write(convert(chunk.data))
        except EngineError as error:
            # The status line is gone: say it as clickhouse-server does, and break the response off.
            reply.write(_late_exception(error, reply.tag))
            reply.flush()
            self.close_connection = True
            return
        reply.end()

    # Answering

    def _result_headers(self, written: Written | None, result_format: str) -> dict[str, str]:
        headers = {"Content-Type": _content_type(result_format)}
        if result_format:
            headers["X-ClickHouse-Format"] = result_format
        if written is not None:
            headers["X-ClickHouse-Summary"] = json.dumps({k: str(v) for k, v in written._asdict().items()})
        return headers

    def send_common(self, status: int, headers: Mapping[str, str]) -> None:
        """The status line and the headers that every answer has."""
        self.send_response(status)
        common = {"X-ClickHouse-Query-Id": getattr(self, "_query_id", ""), "X-ClickHouse-Timezone": "UTC"}
        for name, value in {**common, "X-ClickHouse-Server-Display-Name": "phonemeter", **headers}.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")

    def _send_all(
        self, status: int, data: bytes, headers: Mapping[str, str], params: Mapping[str, str] | None = None
    ) -> None:
        packer = Packer(params or {}, self.headers.get("Accept-Encoding", ""))
        data = (packer.pack(data) + packer.end()) if data else data
        self.send_common(
            status, {**headers, **(packer.headers if data else {}), "Content-Length": str(len(data))}
        )
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
        self.wfile.flush()

    def _send_error(self, error: EngineError) -> None:
        body = f"{error.http_text} (version {self.service.engine.version})\n".encode()
        headers = {
            "X-ClickHouse-Exception-Code": str(error.code),
            "Content-Type": "text/plain; charset=UTF-8",
        }
        self._send_all(STATUS.get(error.code, HTTPStatus.INTERNAL_SERVER_ERROR), body, headers)


class Packer:
    """The compression that a client asked for: ClickHouse frames (compress=1), lz4 or gzip encoding, or none."""

    def __init__(self, params: Mapping[str, str], accepted: str) -> None:
        self.headers: dict[str, str] = {}
        self.pack: Callable[[bytes], bytes] = bytes
        self.end: Callable[[], bytes] = bytes
        offered = {part.split(";")[0].strip() for part in accepted.lower().split(",")}
        if params.get("compress") == "1":
            self.pack = frames.pack
        elif params.get("enable_http_compression") == "1" and "lz4" in offered:
            packer = lz4.frame.LZ4FrameCompressor()
            begun = packer.begin()
            self.pack = lambda data: self._once(begun) + packer.compress(data)
            self.end = packer.flush
            self.headers = {"Content-Encoding": "lz4"}
        elif params.get("enable_http_compression") == "1" and "gzip" in offered:
            gzip = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS | 16)
            self.pack, self.end = gzip.compress, gzip.flush
            self.headers = {"Content-Encoding": "gzip"}
        self._begun = False

    def _once(self, head: bytes) -> bytes:
        begun, self._begun = self._begun, True
        return b"" if begun else head


class Reply:
    """A response in chunks, whose length isn't known when it begins."""

    def __init__(
        self, connection: HttpConnection, params: Mapping[str, str], headers: Mapping[str, str]
    ) -> None:
        self._out = connection.wfile
        self._packer = Packer(params, connection.headers.get("Accept-Encoding", ""))
        self._silent = connection.command == "HEAD"
        self.tag = uuid.uuid4().hex[:16]
        extra = {"Transfer-Encoding": "chunked", "X-ClickHouse-Exception-Tag": self.tag}
        connection.send_common(HTTPStatus.OK, {**headers, **self._packer.headers, **extra})
        connection.end_headers()

    def write(self, data: bytes) -> None:
        """Send a piece."""
        self._chunk(self._packer.pack(data))

    def flush(self) -> None:
        """Send what is pending, without saying that it is all."""
        self._chunk(self._packer.end())
        self._out.flush()

    def end(self) -> None:
        """Say that it was all."""
        self._chunk(self._packer.end())
        if not self._silent:
            self._out.write(b"0\r\n\r\n")
        self._out.flush()

    def _chunk(self, data: bytes) -> None:
        if data and not self._silent:
            self._out.write(b"%x\r\n" % len(data))
            self._out.write(data)
            self._out.write(b"\r\n")


def _late_exception(error: EngineError, tag: str) -> bytes:
    message = error.http_text.encode()
    mark = tag.encode()
    return b"\r\n__exception__\r\n%s\r\n%s\n%d %s\r\n__exception__\r\n" % (
        mark,
        message,
        len(message) + 1,
        mark,
    )


def _layout(params: Mapping[str, str]) -> Layout:
    revision = _number(params, "client_protocol_version", 0)
    return Layout(info=revision >= WITH_BLOCK_INFO, flags=revision >= WITH_COLUMN_FLAGS)


def _all_relaid(data: bytes, target: Layout) -> bytes:
    pending, parts = [data], list[bytes]()
    cursor = Cursor(lambda: pending.pop() if pending else b"")
    while cursor.ahead():
        copy_block(cursor, parts.append, PLAIN, target)
    return b"".join(parts)


def _number(params: Mapping[str, str], name: str, default: float) -> float:
    value = params.get(name, "")
    if value and not value.isdigit():
        raise EngineError(SYNTAX, f"The parameter {name} is not a number: {value[:50]!r}.")
    return int(value) if value else default


def _inflated(raw: Iterator[bytes], packed: Any, failure: type[Exception]) -> Iterator[bytes]:  # noqa: ANN401 - zlib's or lz4's
    """The unpacked body, in pieces of bounded size."""
    try:
        for part in raw:
            out = packed.decompress(part, READ_BYTES)
            yield out
            while not packed.eof and (rest := _pending(packed)) is not None:
                out = packed.decompress(rest, READ_BYTES)
                if not out:
                    break
                yield out
    except failure as error:
        raise EngineError(CANNOT_DECOMPRESS, "The request's body cannot be unpacked.") from error
    if not packed.eof:
        raise EngineError(CANNOT_DECOMPRESS, "The request's packed body ended too early.")


def _pending(packed: Any) -> bytes | None:  # noqa: ANN401 - zlib's or lz4's
    """What a decompressor still holds back: zlib hands it out, lz4 keeps it."""
    tail = getattr(packed, "unconsumed_tail", None)
    if tail is not None:
        return tail or None
    return None if packed.needs_input else b""


def _content_type(result_format: str) -> str:
    if result_format.startswith("JSON") and "EachRow" not in result_format and result_format != "JSONLines":
        return "application/json; charset=UTF-8"
    if "JSON" in result_format:
        return "application/x-ndjson; charset=UTF-8"
    if result_format.startswith(("TabSeparated", "TSV")):
        return "text/tab-separated-values; charset=UTF-8"
    if result_format.startswith("CSV"):
        return "text/csv; charset=UTF-8"
    if result_format.startswith(("Native", "RowBinary", "Parquet", "Arrow", "ORC")):
        return "application/octet-stream"
    return "text/plain; charset=UTF-8"
