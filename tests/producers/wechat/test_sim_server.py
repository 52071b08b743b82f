"""The stand-in's own pages over HTTP: where a push goes, and the answers to wrong requests."""

import aiohttp
import pytest
from aiohttp import web

from producers.wechat_sim.accounts import PushTarget, SimulatedApp, SimulatedComponent
from producers.wechat_sim.server import SimulatedServer
from producers.wechat_sim.world import SimulatedWechat
from tests.producers.wechat.parts import AES_KEY, APP, APP_SECRET, PLATFORM, PUSH_TOKEN, TICKET, on_port


class Received:
    """A receiver of pushes that takes all of them."""

    def __init__(self) -> None:
        self.paths: list[str] = []

    def application(self) -> web.Application:
        application = web.Application()
        application.router.add_post("/{receiver}", self._take)
        return application

    async def _take(self, request: web.Request) -> web.Response:
        self.paths.append(request.path)
        return web.Response(text="success")


async def pushed(asked: dict[str, str]) -> tuple[int, str, list[str]]:
    """The answer to a request for a push, and where pushes arrived."""
    received, wechat = Received(), SimulatedWechat()
    async with on_port(received.application()) as base:
        app, platform = (PushTarget(f"{base}/{name}", PUSH_TOKEN, AES_KEY) for name in (APP, PLATFORM))
        wechat.add(SimulatedApp(APP, APP_SECRET, push=app))
        wechat.add(SimulatedComponent(PLATFORM, "x", TICKET, push=platform))
        async with (
            on_port(SimulatedServer(wechat).application()) as api,
            aiohttp.ClientSession() as session,
            session.post(f"{api}/sim/push", json=asked) as response,
        ):
            return response.status, await response.text(), received.paths


@pytest.mark.parametrize(("kind", "receiver"), [("quota", APP), ("validity", APP), ("ticket", PLATFORM)])
async def test_a_push_goes_to_whom_its_kind_is_for(kind: str, receiver: str) -> None:
    assert await pushed({"kind": kind}) == (200, '{"status": 200, "text": "success"}', [f"/{receiver}"])


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"kind": "quotas"}, "kind is one of quota, validity, ticket\n"),
        ({"mode": "save"}, "mode is one of plain, compatible, safe\n"),
        ({"format": "yaml"}, "format is one of xml, json\n"),
        ({"kind": "ticket", "receiver": APP}, f"a ticket is pushed to one of {PLATFORM}\n"),
        ({"receiver": "wx0"}, "receiver is no app or platform with an address for pushes\n"),
    ],
)
async def test_a_wrong_request_for_a_push_is_answered_with_a_sentence(
    asked: dict[str, str], sentence: str
) -> None:
    assert await pushed(asked) == (400, sentence, [])
