"""A connection of the HTTP server: uvicorn's, with limits that it lacks, and its refusals in our form."""

import asyncio
from array import array
from http import HTTPStatus
from typing import Any, Final, cast

import httptools
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from http_service.direct_answers import DirectAnswer, has_body, write_answer
from http_service.problem_document import problem_document

HEAD_BYTES_MAX: Final = 65_536
CONNECTIONS_MAX: Final = 2_000

AGAIN_S: Final = 2
CLOSE: Final = {"connection": "close"}
"""The header of an answer after which the connection is closed."""

REFUSED: Final = f"This is no request of HTTP/1.1, or its head has more than {HEAD_BYTES_MAX:,} bytes."

OFFER: Final = frozenset({b"upgrade", b"http2-settings"})
"""The headers, and the words of the header Connection, with which a client offers another protocol."""


class _Parser(httptools.HttpRequestParser):
    """A parser that goes on with HTTP/1.1 where the client offers another protocol, as RFC 9110 (7.8) has it.

    httptools takes what follows such a head for the other protocol. Java's client offers HTTP/2 with every
    request, and its body would be lost (uvicorn issue 2722).
    """

    def __init__(self, connection: "BoundedConnection") -> None:
        super().__init__(connection)
        self._connection = connection
        # As uvicorn does: an answer to the first of several requests that came at once.
        self.set_dangerous_leniencies(lenient_data_after_close=True)

    def feed_data(self, data: "bytes | bytearray | memoryview[int] | array[int]") -> None:
        """Parse bytes."""
        try:
            super().feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            self._connection.decline(bytes(data)[offer.args[0] :])


class BoundedConnection(HttpToolsProtocol):
    """A connection that is closed if the head of the next request does not come, or does not end.

    uvicorn only limits how long a connection rests between two requests.
    """

    head_s = 10.0
    """Time for a head."""
    direct: DirectAnswer | None = None
    """Answers that need no task; asked first."""

    _head_timer: asyncio.TimerHandle | None = None
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        """Expect the first head."""
        super().connection_made(transport)
        self.parser = _Parser(self)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Expect no more."""
        self._end_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes; those of a head are counted."""
        super().data_received(data)
        if self._head_timer is not None:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX:
                self.send_400_response("")

    def on_message_begin(self) -> None:
        """Expect the rest of a head."""
        super().on_message_begin()
        self._await_head()

    def on_headers_complete(self) -> None:
        """Begin to answer, unless another protocol is offered first."""
        if self.parser.should_upgrade():
            return
        self._end_head()
        if sum(len(name) + len(value) for name, value in self.headers) > HEAD_BYTES_MAX:
            raise httptools.HttpParserError("a long head")
        is_full = len(self.connections) > CONNECTIONS_MAX
        self.app = _full if is_full else self.config.loaded_app
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Expect no more of the body."""
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def decline(self, rest: bytes) -> None:
        """Decline the offer of another protocol: read the request as if it had none.

        Args:
            rest: what came after the head.

        Raises:
            HttpParserError: it asks for a tunnel, and has no other meaning.
        """
        method = self.parser.get_method()
        if method == b"CONNECT":
            raise httptools.HttpParserError("a tunnel")
        lines = [b"%s %s HTTP/%s" % (method, self.url, self.parser.get_http_version().encode())]
        lines += [b"%s: %s" % (name, _kept(name, value)) for name, value in self.headers if name not in OFFER]
        self.parser = _Parser(self)
        self.parser.feed_data(b"\r\n".join(lines) + b"\r\n\r\n" + rest)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP, and close the connection."""
        del msg
        status = HTTPStatus.BAD_REQUEST
        answer = problem_document("malformed", status, "The request can't be read", REFUSED, CLOSE)
        head = [b"HTTP/1.1 %d %s" % (status, status.phrase.encode())]
        head += [b"%s: %s" % header for header in answer.raw_headers]
        self.transport.write(b"\r\n".join(head) + b"\r\n\r\n" + bytes(answer.body))
        self.transport.close()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:  # noqa: ANN401 - as uvicorn's
        """Answer at once where that is possible; otherwise in a task."""
        scope = cast("Scope", cycle.scope)
        # Behind others, each answer would be written within the one before.
        waits = self.pipeline or self.flow.write_paused
        if self.direct is not None and app is self.config.loaded_app and not waits and not has_body(scope):
            answer = self.direct(scope)
            if answer is not None:
                write_answer(answer, cycle)
                return
        super()._start_asgi_task(cycle, app)

    def _await_head(self) -> None:
        if self._head_timer is None:
            self._head_bytes = 0
            self._head_timer = self.loop.call_later(self.head_s, self.transport.close)

    def _end_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


def _kept(name: bytes, value: bytes) -> bytes:
    """The value of a header without the offer of another protocol."""
    if name != b"connection":
        return value
    words = (word.strip() for word in value.split(b","))
    return b", ".join(word for word in words if word.lower() not in OFFER)


async def _full(scope: Scope, receive: Receive, send: Send) -> None:
    """The answer on a connection too many."""
    answer = problem_document(
        "unavailable",
        HTTPStatus.SERVICE_UNAVAILABLE,
        "This can't be done now",
        "Too many connections are open; nothing was taken.",
        {**CLOSE, "retry-after": str(AGAIN_S)},
    )
    await answer(scope, receive, send)
