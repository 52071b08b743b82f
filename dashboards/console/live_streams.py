"""Streams of server-sent events: the content of a page again, each time that the ledger has changed it."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import ExitStack, aclosing, suppress
from typing import Final, NamedTuple

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from dashboards.console.ledger_changes import LedgerChanges
from dashboards.console.live_seats import LiveSeats, NoSeatError
from dashboards.console.problems import ConsoleProblem
from dashboards.console.visit import Visit
from http_service.server_end import ending_of

HEARTBEAT_S: Final = 15.0
"""Pause after which the session is looked at, and a comment sent: proxies close a silent connection."""

PACE_S: Final = 3.0
"""Pause after content: a busy app changes all the time, and nobody reads faster."""

SAME_S: Final = 60.0
"""Pause after which content is made without a change: time alone moves hours, expiries and forecasts."""

SEND_S: Final = 30.0
"""Time for a browser to take what was sent; then its connection is given up."""

LAST_S: Final = 0.5
"""Time for a browser to take that the stream is over, when the server is to end."""

AGAIN_MS: Final = 5_000
"""Pause after which a browser comes back when the connection has ended."""

_LAST: Final = {"type": "http.response.body", "body": b"", "more_body": False}


class LiveContent(NamedTuple):
    """The content of a page, empty for nothing, and the lines of the ledger that it has at least."""

    text: str
    lines: int


Content = Callable[[int], Awaitable[LiveContent]]
"""Makes the content that has at least so many lines."""


class LiveStreams:
    """The streams of all pages.

    One ends with its session, or when the apps of the owner are others. While a browser takes a content, no
    other is made.
    """

    def __init__(
        self, changes: LedgerChanges, seats: LiveSeats | None = None, pace_s: float = PACE_S
    ) -> None:
        self._changes = changes
        self._pace_s = pace_s
        self.seats = seats or LiveSeats()

    def answer(self, visit: Visit, apps: Sequence[str], content: Content) -> Response:
        """The stream of a page that shows some apps; `content` makes what it shows."""
        holding = ExitStack()
        try:
            holding.enter_context(self.seats.seat(visit.member.member_id))
        except NoSeatError:
            visit.request.state.answer = "no_seat"
            return Response(status_code=429)
        return _EventStream(holding, self._events(visit, apps, content))

    async def _events(self, visit: Visit, apps: Sequence[str], content: Content) -> AsyncIterator[str]:
        yield f"retry: {AGAIN_MS}\n\n"
        loop = asyncio.get_running_loop()
        given = visit.request.query_params.get("lines", "")
        lines = int(given) if given.isdecimal() and given.isascii() and len(given) < 19 else -1  # noqa: PLR2004 - int64
        sent, made_s = "", loop.time()
        with self._changes.watching(apps) as watched:
            while True:
                newest = await watched.wait(lines, HEARTBEAT_S)
                if not await visit.goes_on():
                    return
                if newest == lines and loop.time() - made_s < SAME_S:
                    yield ": still here\n\n"
                    continue
                # Where a database does not answer, what is shown stays, and it is tried again.
                with suppress(ConsoleProblem):
                    text, lines = await content(newest)
                    made_s = loop.time()
                    digest = hashlib.sha256(text.encode()).hexdigest()
                    if text and digest != sent:
                        sent = digest
                        yield _event("content", text)
                await asyncio.sleep(self._pace_s)


class _EventStream(Response):
    """An answer that goes on; what it holds is free again when it ends, however it does."""

    media_type = "text/event-stream"

    def __init__(self, holding: ExitStack, events: AsyncIterator[str]) -> None:
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._holding = holding
        self._events = events
        self._has_begun = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the browser is gone or does not take any more, or the stream or the server ends."""
        with self._holding:
            sending = asyncio.create_task(self._send(send))
            others = (asyncio.create_task(_gone(receive)), asyncio.create_task(ending_of(scope).wait()))
            try:
                await asyncio.wait((sending, *others), return_when=asyncio.FIRST_COMPLETED)
            finally:
                for one in (sending, *others):
                    one.cancel()
                await asyncio.gather(sending, *others, return_exceptions=True)
            if ending_of(scope).is_set() and sending.cancelled() and self._has_begun:
                # A browser that takes nothing is not waited for.
                with suppress(TimeoutError):
                    async with asyncio.timeout(LAST_S):
                        await send(_LAST)
            if not sending.cancelled() and (error := sending.exception()) is not None:
                raise error

    async def _send(self, send: Send) -> None:
        start = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        await send(start)
        self._has_begun = True
        async with aclosing(self._events) as events:  # type: ignore[type-var] # a generator, as all that is given
            async for event in events:
                try:
                    async with asyncio.timeout(SEND_S):
                        await send({"type": "http.response.body", "body": event.encode(), "more_body": True})
                except TimeoutError:
                    return
        await send(_LAST)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _event(name: str, data: str) -> str:
    lines = "".join(f"data: {line}\n" for line in data.split("\n"))
    return f"event: {name}\n{lines}\n"
