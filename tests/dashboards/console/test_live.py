"""Live pages: what the ledger gets is sent at once to who looks on and may see it, and to nobody else."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from pathlib import Path
from unittest.mock import Mock

import aiohttp
import pytest
import pytest_asyncio
from starlette.types import Message

from dashboards.console import live_streams
from dashboards.console.figures import FigurePages
from dashboards.console.ledger_changes import WatchedApps
from dashboards.console.live_seats import SEATS_A_MEMBER, LiveSeats, NoSeatError
from dashboards.console.sessions import PLAIN_COOKIE, token_digest
from dashboards.http.pool import ReadPool
from metering.ledger import Entry
from metering.times import DAY_MS
from phonemeter.business.sessions import BusinessSessions
from tests.dashboards.conftest import Ledger
from tests.dashboards.console.figures import console_with_figures
from tests.dashboards.console.parts import OTHER_APP, Browser, ServedConsole, email_of, served_console
from tests.dashboards.console.test_overviews import ScriptedLedger
from tools.pictures.half_year import DAYS, START_MS
from tools.pictures.half_year_engine import store_entries

APP = "wx92717bd84024b977"
NOW_MS = START_MS + DAYS * DAY_MS
WAIT_S = 120.0
"""Longer than any of these takes, also beside everything else that the machine does."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def console(ledger: Ledger, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServedConsole]:
    async with console_with_figures(tmp_path_factory.mktemp("console"), ledger) as served:
        yield served


class Stream:
    """A stream of events, as a browser reads it."""

    def __init__(self, reply: aiohttp.ClientResponse) -> None:
        self.reply = reply

    async def content(self) -> str:
        """The next content."""
        name, lines = "", list[str]()
        while line := await asyncio.wait_for(self.reply.content.readline(), WAIT_S):
            field, _, value = line.decode().rstrip("\n").partition(": ")
            if field == "event":
                name = value
            elif field == "data":
                lines.append(value)
            elif not field and name == "content":
                return "\n".join(lines)
        raise AssertionError("the stream has ended")

    async def end(self) -> None:
        """Read until the stream ends."""
        await asyncio.wait_for(self.reply.content.read(), WAIT_S)


@asynccontextmanager
async def opened(browser: Browser, path: str) -> AsyncIterator[Stream]:
    timeout = aiohttp.ClientTimeout(total=None)
    options = {"headers": {"accept": "text/event-stream"}, "allow_redirects": False}
    async with browser.session.get(f"{browser.base}{path}", timeout=timeout, **options) as reply:  # type: ignore[arg-type] # names of parameters
        yield Stream(reply)


class Calls:
    """Calls without quota that arrive one by one, each of an app and a store of its own."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._next = 20_000_000

    def arrive(self, appid: str, store: str) -> None:
        self._next += 1
        call = Entry(
            self._next, 0, "uncovered", NOW_MS, NOW_MS, appid, "quick", calls=1, reason="exhausted",
            event_id=f"live-{self._next}", store=store,
        )  # fmt: skip
        store_entries(self._ledger.engine.url, [call])


@pytest.fixture(scope="module")
def calls(ledger: Ledger) -> Calls:
    return Calls(ledger)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_call_is_on_the_page_of_its_app_without_being_asked_for(
    console: ServedConsole, calls: Calls
) -> None:
    async with (
        console.browser(email_of("owner")) as browser,
        opened(browser, f"/usage/{APP}/live?capability=quick") as stream,
    ):
        assert stream.reply.headers["content-type"].startswith("text/event-stream")
        assert stream.reply.headers["cache-control"] == "no-store"
        assert "script-src 'self'" in stream.reply.headers["content-security-policy"]
        assert "live-store" not in await stream.content()
        calls.arrive(APP, "live-store")
        assert "live-store" in await stream.content()


@pytest.mark.asyncio(loop_scope="module")
async def test_a_page_that_is_as_new_as_the_ledger_is_sent_nothing_until_it_moves(
    console: ServedConsole, calls: Calls
) -> None:
    async with console.browser(email_of("owner")) as browser:
        page = await browser.get(f"/usage/{APP}?capability=quick")
        address = page.text.split('data-address="')[1].split('"')[0].replace("&amp;", "&")
        assert "lines=" in address
        async with opened(browser, address) as stream:
            # The first content has the call: had one been sent for nothing, it would be without.
            calls.arrive(APP, "later-store")
            assert "later-store" in await stream.content()


@pytest.mark.asyncio(loop_scope="module")
async def test_the_overview_moves_with_the_apps_of_its_owner(console: ServedConsole, calls: Calls) -> None:
    async with (
        console.browser(email_of("owner")) as browser,
        opened(browser, "/overview/live?search=app+1") as stream,
    ):
        before = await stream.content()
        assert "Simulated app 1" in before
        assert "Simulated app 2" not in before
        calls.arrive(APP, "")
        assert await stream.content() != before


@pytest.mark.asyncio(loop_scope="module")
async def test_a_stream_ends_with_its_session(
    console: ServedConsole, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_streams, "HEARTBEAT_S", 0.2)
    async with console.browser(email_of("owner")) as browser:
        async with opened(browser, f"/usage/{APP}/live") as stream:
            await stream.content()
            console.records.sessions.end(token_digest(browser.cookie(PLAIN_COOKIE)))
            await stream.end()
        async with opened(browser, f"/usage/{APP}/live") as stream:
            assert (stream.reply.status, stream.reply.headers["location"][:8]) == (303, "/sign-in")


@pytest.mark.asyncio(loop_scope="module")
async def test_a_stream_of_another_owners_app_is_not_there(console: ServedConsole) -> None:
    for owner, appid in (("a", OTHER_APP), ("b", APP)):
        async with (
            console.browser(email_of("owner", owner)) as browser,
            opened(browser, f"/usage/{appid}/live") as stream,
        ):
            assert stream.reply.status == 404
    async with (
        console.browser(email_of("owner", "b")) as browser,
        opened(browser, "/overview/live") as stream,
    ):
        assert stream.reply.status == 200


@pytest.mark.asyncio(loop_scope="module")
async def test_a_member_has_so_many_streams_and_one_that_is_closed_makes_room(console: ServedConsole) -> None:
    email = console.add_member("viewer", "a", "seats@a.example")
    async with console.browser(email) as browser:
        streams = [opened(browser, "/overview/live") for _ in range(SEATS_A_MEMBER)]
        for one in streams:
            assert (await one.__aenter__()).reply.status == 200
        async with opened(browser, "/overview/live") as refused:
            assert refused.reply.status == 429
        for one in streams:
            await one.__aexit__(None, None, None)
        async with asyncio.timeout(WAIT_S):
            while True:
                async with opened(browser, "/overview/live") as again:
                    if again.reply.status == 200:
                        break


def test_seats_are_so_many_in_all_and_free_again_afterwards() -> None:
    seats = LiveSeats(of_member=2, in_all=3)
    with seats.seat("a"), seats.seat("b"):
        with seats.seat("a"), pytest.raises(NoSeatError), seats.seat("c"):
            pass
        with seats.seat("c"):
            assert seats.taken == 3
    assert seats.taken == 0


async def test_who_waits_goes_on_when_an_app_of_his_has_more_lines_and_for_no_other() -> None:
    watched = WatchedApps(["wx1", "wx2"])
    assert await watched.wait(-1, 0.01) == -1
    waiting = asyncio.create_task(watched.wait(5, WAIT_S))
    watched.count({"wx1": 2, "wx2": 3, "wx3": 9})
    await asyncio.sleep(0)
    assert not waiting.done()
    watched.count({"wx1": 2, "wx2": 4})
    assert await waiting == 6
    assert await watched.wait(5, WAIT_S) == 6


async def test_a_browser_that_takes_nothing_is_given_up_and_no_further_content_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(live_streams, "SEND_S", 0.05)
    made: list[int] = []

    async def events() -> AsyncIterator[str]:
        for number in range(10):
            made.append(number)
            yield f": {number}\n\n"

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    seats = LiveSeats()
    with ExitStack() as holding:
        holding.enter_context(seats.seat("a"))
        stream = live_streams._EventStream(holding.pop_all(), events())
        await asyncio.wait_for(stream({"type": "http"}, receive, send), WAIT_S)
    assert made == [0]
    assert seats.taken == 0


async def test_a_console_that_is_to_end_does_not_wait_for_streams_nor_complain_of_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = ScriptedLedger()
    pool = ReadPool(lambda: ledger, 2, 50, WAIT_S)
    part = FigurePages(pool, Mock(), Mock(), Mock(), gateway="https://events.example")
    working = asyncio.create_task(part.run())
    async with AsyncExitStack() as browsing:
        async with served_console(tmp_path, [part]) as served:
            browser = await browsing.enter_async_context(served.browser(email_of("owner")))
            stream = await browsing.enter_async_context(opened(browser, "/overview/live?lines=8"))
            assert await stream.reply.content.readline() == b"retry: 5000\n"
        with suppress(aiohttp.ClientPayloadError):
            await stream.end()
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    assert [record.message for record in caplog.records if record.levelno >= logging.ERROR] == []


def test_a_look_at_a_session_does_not_keep_it_open(
    console: ServedConsole, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sessions_at(now_ms: int) -> BusinessSessions:
        monkeypatch.setattr("phonemeter.business.sessions.wall_clock_ms", lambda: now_ms)
        return BusinessSessions(console.database, idle_min=60, session_h=12)

    minute_ms = 60_000
    credentials = sessions_at(0).credentials(email_of("owner"))
    assert credentials is not None
    for digest, keeps in (("1" * 64, False), ("2" * 64, True)):
        sessions_at(0).begin(credentials.member_id, digest)
        at_40 = sessions_at(40 * minute_ms)
        assert (at_40.find if keeps else at_40.look)(digest) is not None
        assert (sessions_at(70 * minute_ms).look(digest) is not None) == keeps
        sessions_at(0).end(digest)
