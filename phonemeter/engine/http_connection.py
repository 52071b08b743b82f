"""An HTTP connection: requests that arrive within their time limits, and answers that reach the client."""

import contextlib
import io
import socket
import time
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Final

from phonemeter.engine.config import (
    HTTP_HEADERS_S,
    HTTP_KEEP_ALIVE_S,
    HTTP_LINGER_BYTES,
    HTTP_LINGER_S,
    TRANSFER_TIMEOUT_S,
)
from phonemeter.engine.http_response import CONTENT_TYPES

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

BUFFERED_BYTES: Final = 1 << 16


class HttpConnection(BaseHTTPRequestHandler):
    """A connection without knowledge of queries; the base class limits the size of lines and headers."""

    protocol_version = "HTTP/1.1"
    server_version = "phonemeter"
    sys_version = ""
    timeout = TRANSFER_TIMEOUT_S
    wbufsize = BUFFERED_BYTES
    error_message_format = "%(code)d: %(message)s.\n"
    error_content_type = CONTENT_TYPES[""]
    once = False
    """True if the connection is for one request."""
    query_id = ""
    started_at_s = 0.0
    unread = False
    """True while a body may arrive that has not been read."""

    def set_idle(self) -> None:
        """Note that the connection has no request."""
        raise NotImplementedError

    def set_busy(self) -> bool:
        """Note that a request has arrived; returns False if the connection must end nevertheless."""
        raise NotImplementedError

    def answer(self) -> None:
        """Answer a GET or POST."""
        raise NotImplementedError

    def do_HEAD(self) -> None:
        """Answer a probe that wants no body."""
        self.send(HTTPStatus.OK, b"", {})

    def do_GET(self) -> None:
        """Answer."""
        self.answer()

    def do_POST(self) -> None:
        """Answer."""
        self.answer()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Log nothing."""

    # Requests

    def setup(self) -> None:
        """Read with a time limit per request."""
        super().setup()
        self.rfile.close()
        self.timed = TimedInput(self.connection)
        self.rfile = self.input = io.BufferedReader(self.timed, BUFFERED_BYTES)

    def handle_one_request(self) -> None:
        """Wait for a request, read it within its time limit, and answer it."""
        self.close_connection = True
        self.set_idle()
        self.timed.limit(HTTP_HEADERS_S if self.once else HTTP_KEEP_ALIVE_S)
        with contextlib.suppress(TimeoutError):
            if self.input.peek(1):
                self.timed.limit(HTTP_HEADERS_S)
                self.unread = True
                super().handle_one_request()
                self.close_connection |= self.unread

    def parse_request(self) -> bool:
        """Read the headers; False if there is nothing to answer."""
        if not super().parse_request():
            return False
        self.timed.limit(None)
        self.connection.settimeout(TRANSFER_TIMEOUT_S)
        self.started_at_s = time.monotonic()
        self.query_id = ""
        self.unread = "Transfer-Encoding" in self.headers or self.headers.get("Content-Length", "0") != "0"
        self.close_connection |= self.once
        if not self.set_busy():
            self.close_connection = True
            self.unread = False
            return False
        return True

    def handle_expect_100(self) -> bool:
        """Leave `100 Continue` to `ask_for_body`."""
        return True

    def ask_for_body(self) -> None:
        """Ask a client that sent `Expect: 100-continue` for its body."""
        if self.headers.get("Expect", "").lower() == "100-continue" and self.request_version >= "HTTP/1.1":
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.wfile.flush()

    def finish(self) -> None:
        """Let the client receive the last answer although its request was not read to the end."""
        with contextlib.suppress(OSError):
            self.wfile.flush()
        if self.unread:
            linger(self.connection, HTTP_LINGER_BYTES, HTTP_LINGER_S)
        super().finish()

    # Answers

    def send_head(self, status: int, headers: Mapping[str, str]) -> None:
        """Send the status line and the headers."""
        self.close_connection |= self.unread
        self.send_response(status)
        self.send_header("X-ClickHouse-Server-Display-Name", "phonemeter")
        self.send_header("X-ClickHouse-Timezone", "UTC")
        if self.query_id:
            self.send_header("X-ClickHouse-Query-Id", self.query_id)
        self.send_header("X-Content-Type-Options", "nosniff")
        for name, value in headers.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        else:
            self.send_header("Connection", "Keep-Alive")
            self.send_header("Keep-Alive", f"timeout={HTTP_KEEP_ALIVE_S}")
        self.end_headers()

    def send(self, status: int, data: bytes, headers: Mapping[str, str]) -> None:
        """Send a whole answer."""
        self.send_head(status, {**headers, "Content-Length": str(len(data))})
        self.wfile.write(data)
        self.wfile.flush()

    def send_chunk(self, data: bytes) -> None:
        """Send a piece of a body of unknown length at once."""
        if data:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            self.wfile.flush()


class TimedInput(io.RawIOBase):
    """Input from a socket with one time limit for many reads, so that slow clients cannot extend it."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._until_s: float | None = None

    def limit(self, seconds: float | None) -> None:
        """Limit the time of all following reads together; with None the socket's own limit applies."""
        self._until_s = None if seconds is None else time.monotonic() + seconds

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Read once; TimeoutError after the time limit."""
        if self._until_s is not None:
            left_s = self._until_s - time.monotonic()
            if left_s <= 0:
                raise TimeoutError
            self._sock.settimeout(left_s)
        return self._sock.recv_into(buffer)


def linger(sock: socket.socket, limit_bytes: int, limit_s: float) -> None:
    """End the output and go on reading, so that the client receives its answer and not a reset."""
    until_s = time.monotonic() + limit_s
    read_bytes = 0
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_WR)
        while read_bytes < limit_bytes and (left_s := until_s - time.monotonic()) > 0:
            sock.settimeout(left_s)
            part = sock.recv(1 << 20)
            if not part:
                return
            read_bytes += len(part)
