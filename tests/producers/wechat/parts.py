"""The parts that tests of WeChat's side share: the stand-in over real HTTP, and a collector of events."""

import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from aiohttp import web

from metering.rejections import Rejection
from producers.errors import DeliveryError, RefusedError
from producers.event_check import check
from producers.events import CloudEvent
from producers.wechat.api import WechatApi
from producers.wechat.apps import WechatApp, WechatApps, WechatComponent
from producers.wechat.metrics import Metrics
from producers.wechat.secret import Secret
from producers.wechat_sim.accounts import SimulatedApp, SimulatedComponent
from producers.wechat_sim.server import SimulatedServer
from producers.wechat_sim.world import SimulatedWechat
from tests.ports import free_port

APP = "wx5100000000000001"
OTHER = "wx5100000000000002"
PLATFORM = "wx51000000000000aa"
APP_SECRET = "appsecret-0123456789abcdef"  # noqa: S105 - no real one
PLATFORM_SECRET = "platformsecret-0123456789abcdef"  # noqa: S105 - no real one
TICKET = "ticket@@@0123456789abcdef"
REFRESH_TOKEN = "refreshtoken@@@0123456789abcdef"  # noqa: S105 - no real one
PUSH_TOKEN = "pushtoken0123456789"  # noqa: S105 - no real one
AES_KEY = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
SECRETS = (APP_SECRET, PLATFORM_SECRET, TICKET, REFRESH_TOKEN, PUSH_TOKEN, AES_KEY)


class Fixed(Secret):
    """A secret that is in the test."""

    def __init__(self, text: str) -> None:
        super().__init__("test", "env:TEST", Path())
        self._text = text

    def read(self) -> str:
        return self._text


def apps() -> WechatApps:
    """An app with a secret of its own, and one that has authorized a platform."""
    return WechatApps(
        {
            APP: WechatApp(APP, ("quick",), secret=Fixed(APP_SECRET)),
            OTHER: WechatApp(OTHER, ("quick",), component=PLATFORM, refresh_token=Fixed(REFRESH_TOKEN)),
        },
        {PLATFORM: WechatComponent(PLATFORM, Fixed(PLATFORM_SECRET), ticket=Fixed(TICKET))},
    )


def simulated() -> SimulatedWechat:
    """The stand-in with the same accounts."""
    wechat = SimulatedWechat()
    wechat.add(SimulatedApp(APP, APP_SECRET))
    wechat.add(SimulatedApp(OTHER, component=PLATFORM, refresh_token=REFRESH_TOKEN))
    wechat.add(SimulatedComponent(PLATFORM, PLATFORM_SECRET, TICKET))
    return wechat


@asynccontextmanager
async def on_port(application: web.Application) -> AsyncIterator[str]:
    """An application served on loopback: its address."""
    port = free_port()
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def api_of(wechat: SimulatedWechat, timeout_s: float = 5.0) -> AsyncIterator[WechatApi]:
    """The product's client, connected to the stand-in."""
    async with (
        on_port(SimulatedServer(wechat).application()) as base,
        aiohttp.ClientSession() as session,
    ):
        yield WechatApi(base, timeout_s, session, Metrics())


class Collector:
    """A `Publish` that checks events as the real one does, and keeps them; it fails while `away`."""

    def __init__(self) -> None:
        self.events: list[CloudEvent] = []
        self.away = False

    async def __call__(self, events: Sequence[CloudEvent]) -> None:
        for event in events:
            found = check(msgspec.json.encode(event), now_ms=None)
            if isinstance(found, Rejection):
                raise RefusedError(found)
            if self.away:
                raise DeliveryError("Kafka is away.")
            self.events.append(event)

    def of(self, kind: str) -> list[CloudEvent]:
        return [event for event in self.events if event["type"] == kind]

    def data(self, kind: str) -> list[dict[str, Any]]:
        return [event["data"] for event in self.of(kind)]


@contextmanager
def everything_logged() -> Iterator[list[str]]:
    """All that is logged in the block by anybody, down to the last level, with its arguments put in."""
    lines: list[str] = []

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(logging.Formatter().format(record))

    handler, root = Lines(), logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield lines
    finally:
        root.setLevel(before)
        root.removeHandler(handler)
