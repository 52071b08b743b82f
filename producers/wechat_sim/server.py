"""The stand-in's HTTP server: WeChat's paths, and `/sim/...` to change what it says."""

import asyncio
import json
import logging
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

import aiohttp
from aiohttp import web

from producers.wechat_sim.accounts import PushTarget
from producers.wechat_sim.packs import SPUS
from producers.wechat_sim.pushing import (
    Format,
    Mode,
    PushReply,
    SentPush,
    make_push,
    quota_message,
    send,
    ticket_message,
    validity_message,
)
from producers.wechat_sim.world import RefusedRequestError, SimulatedWechat

log = logging.getLogger(__name__)

BODY_BYTES_MAX: Final = 65_536
ERRORS_MAX: Final = 1_000
CALLS_MAX: Final = 1_000_000_000

MODES: Final[tuple[Mode, ...]] = ("plain", "compatible", "safe")
FORMATS: Final[tuple[Format, ...]] = ("xml", "json")
KINDS: Final = ("quota", "validity", "ticket")

Word = TypeVar("Word", bound=str)

ENDPOINTS: Final = {
    ("GET", "/wxa/charge/usage/get"): "usage",
    ("POST", "/cgi-bin/stable_token"): "stable_token",
    ("POST", "/cgi-bin/component/api_component_token"): "component_token",
    ("POST", "/cgi-bin/component/api_authorizer_token"): "authorizer_token",
}


class SimulatedServer:
    """The pages of the stand-in."""

    def __init__(self, wechat: SimulatedWechat) -> None:
        self._wechat = wechat

    def application(self) -> web.Application:
        """The web application."""
        application = web.Application(client_max_size=BODY_BYTES_MAX)
        for (method, path), endpoint in ENDPOINTS.items():
            application.router.add_route(method, path, self._handler(endpoint))
        application.router.add_get("/livez", self._live)
        application.router.add_get("/sim/state", self._state)
        application.router.add_post("/sim/buy", self._buy)
        application.router.add_post("/sim/use", self._use)
        application.router.add_post("/sim/errors", self._errors)
        application.router.add_post("/sim/expire-tokens", self._expire_tokens)
        application.router.add_post("/sim/push", self._push)
        return application

    def _handler(self, endpoint: str) -> Any:  # noqa: ANN401 - aiohttp's own type of handlers
        async def handle(request: web.Request) -> web.Response:
            body = await _json_of(request) if request.method == "POST" else {}
            try:
                answer = self._wechat.answer(endpoint, request.query, body)
            except RefusedRequestError as error:
                words = f"{error.errmsg} rid: 65a4f1c3-{self._wechat.asked.total():08x}"
                answer = {"errcode": error.errcode, "errmsg": words}
            except ConnectionError:
                if request.transport is not None:
                    request.transport.abort()
                answer = {}
            return web.json_response(answer)

        return handle

    async def _live(self, _request: web.Request) -> web.Response:
        return web.json_response({"state": "alive"})

    async def _state(self, _request: web.Request) -> web.Response:
        now_s = self._wechat.now_s()
        return web.json_response(
            {
                "apps": {
                    appid: {name: app.quotas.rows(spu, now_s) for name, spu in SPUS.items()}
                    for appid, app in self._wechat.apps.items()
                },
                "asked": dict(self._wechat.asked),
            }
        )

    async def _buy(self, request: web.Request) -> web.Response:
        given = await _json_of(request)
        pack = self._wechat.buy(
            self._appid(given),
            _capability(given),
            _whole(given, "calls", 1, CALLS_MAX),
            _whole(given, "days", 1, 3_660, default=365),
            pkg_id=str(given.get("pkgId", "")),
            order_id=str(given.get("orderId", "")),
        )
        return web.json_response(pack.row(self._wechat.now_s()))

    async def _use(self, request: web.Request) -> web.Response:
        given = await _json_of(request)
        calls = _whole(given, "calls", 1, CALLS_MAX, default=1)
        quotas = self._wechat.apps[self._appid(given)].quotas
        granted = quotas.use(SPUS[_capability(given)], calls, self._wechat.now_s())
        return web.json_response({"granted": granted, "refused": calls - granted})

    async def _errors(self, request: web.Request) -> web.Response:
        given = await _json_of(request)
        endpoint = str(given.get("endpoint"))
        if endpoint not in ENDPOINTS.values():
            raise _wrong(f"endpoint is one of {', '.join(ENDPOINTS.values())}")
        times = _whole(given, "times", 1, ERRORS_MAX, default=1)
        errcode = _whole(given, "errcode", -1_000, 10**9)
        self._wechat.errors.setdefault(endpoint, deque(maxlen=ERRORS_MAX)).extend([errcode] * times)
        return web.json_response({"queued": len(self._wechat.errors[endpoint])})

    async def _expire_tokens(self, _request: web.Request) -> web.Response:
        self._wechat.tokens.expire_all()
        return web.json_response({})

    async def _push(self, request: web.Request) -> web.Response:
        given = await _json_of(request)
        kind = _one_of(given, "kind", KINDS, "quota")
        mode: Mode = _one_of(given, "mode", MODES, "safe")
        style: Format = _one_of(given, "format", FORMATS, "xml")
        # A ticket is pushed to a platform, everything else to an app, unless another receiver is named.
        usual = next(iter(self._wechat.components), "") if kind == "ticket" else self._appid(given)
        receiver = str(given.get("receiver") or usual)
        account = self._wechat.apps.get(receiver) or self._wechat.components.get(receiver)
        target = None if account is None else account.push
        if target is None:
            raise _wrong("receiver is no app or platform with an address for pushes")
        push = make_push(self._message(given, kind, receiver), target, receiver, mode, style)
        reply = await push_once(target, push)
        return web.json_response({"status": reply.status, "text": reply.text})

    def _message(self, given: Mapping[str, Any], kind: str, receiver: str) -> dict[str, str | int]:
        now_s = int(time.time())
        if kind == "ticket":
            if receiver not in self._wechat.components:
                raise _wrong(f"a ticket is pushed to one of {', '.join(self._wechat.components)}")
            return ticket_message(receiver, self._wechat.components[receiver].ticket, now_s)
        appid, spu = self._appid(given), SPUS[_capability(given)]
        event = str(given.get("event", "charge_service_quota_notify"))
        if kind == "validity":
            return validity_message(appid, spu, now_s, now_s, event)
        used, size = self._wechat.apps[appid].quotas.totals(spu, self._wechat.now_s())
        return quota_message(appid, spu, used, size, now_s, event)

    def _appid(self, given: Mapping[str, Any]) -> str:
        appid = str(given.get("appid") or next(iter(self._wechat.apps), ""))
        if appid not in self._wechat.apps:
            raise _wrong(f"appid is one of {', '.join(self._wechat.apps)}")
        return appid


async def push_once(target: PushTarget, push: SentPush) -> PushReply:
    """Send a push over a connection of its own."""
    async with aiohttp.ClientSession() as session:
        return await send(session, target, push)


async def push_tickets(wechat: SimulatedWechat, pause_s: float) -> None:
    """Push its ticket to every platform with an address, again and again, until cancelled."""
    while True:
        for component in wechat.components.values():
            if component.push is not None:
                message = ticket_message(component.appid, component.ticket, int(time.time()))
                push = make_push(message, component.push, component.appid, "safe", "xml")
                await push_once(component.push, push)
        await asyncio.sleep(pause_s)


async def _json_of(request: web.Request) -> dict[str, Any]:
    try:
        found = json.loads(await request.read() or b"{}")
    except ValueError:
        raise _wrong("the body is JSON") from None
    if not isinstance(found, dict):
        raise _wrong("the body is a JSON object")
    return found


def _capability(given: Mapping[str, Any]) -> str:
    capability = str(given.get("capability", "quick"))
    if capability not in SPUS:
        raise _wrong(f"capability is one of {', '.join(SPUS)}")
    return capability


def _one_of(given: Mapping[str, Any], name: str, words: Sequence[Word], usual: Word) -> Word:
    asked = given.get(name, usual)
    for word in words:
        if word == asked:
            return word
    raise _wrong(f"{name} is one of {', '.join(words)}")


def _whole(given: Mapping[str, Any], name: str, least: int, most: int, *, default: int | None = None) -> int:
    value = given.get(name, default)
    if not isinstance(value, int) or not least <= value <= most:
        raise _wrong(f"{name} is a whole number from {least:,} to {most:,}")
    return value


def _wrong(sentence: str) -> web.HTTPBadRequest:
    return web.HTTPBadRequest(text=f"{sentence}\n")
