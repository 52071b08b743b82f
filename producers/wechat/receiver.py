"""The receiver of WeChat's pushes over HTTP: each is answered once what it says is safe in Kafka."""

import asyncio
import logging
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from aiohttp import web

from metering.times import SECOND_MS
from producers.wechat.apps import PushKeys, WechatApps
from producers.wechat.errors import WechatFileError
from producers.wechat.metrics import Metrics, PushOutcome
from producers.wechat.push_actions import PushActions
from producers.wechat.pushes import (
    BODY_BYTES_MAX,
    ForgedPushError,
    InvalidPushError,
    PlatformMessage,
    SignedQuery,
    check_address,
    read_push,
)
from producers.wechat.replays import PushMemory

log = logging.getLogger(__name__)

PATH: Final = "/wechat/push/{receiver:[A-Za-z0-9_-]{1,64}}"
ECHO_CHARS_MAX: Final = 256
BODY_WITHIN_S: Final = 5.0
AT_ONCE_MAX: Final = 64
"""Pushes that are worked on at the same time. A further one is refused, and WeChat sends it again."""

STATUSES: Final = {
    "forged": HTTPStatus.FORBIDDEN,
    "replayed": HTTPStatus.FORBIDDEN,
    "invalid": HTTPStatus.BAD_REQUEST,
    "failed": HTTPStatus.SERVICE_UNAVAILABLE,
}
"""Statuses of pushes that are not answered with `success`."""


class PushReceiver:
    """The pages that pushes are sent to, one per app or third-party platform that has a push token."""

    def __init__(
        self,
        apps: WechatApps,
        actions: PushActions,
        metrics: Metrics,
        age_max_s: float,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._apps = apps
        self._actions = actions
        self._metrics = metrics
        self._memory = PushMemory(age_max_s, now_s)
        self._now_s = now_s
        self._under_way = 0

    def application(self) -> web.Application:
        """The web application. A third-party platform's address may end in the appid of the app."""
        application = web.Application(client_max_size=BODY_BYTES_MAX)
        for path in (PATH, f"{PATH}/{{appid:[A-Za-z0-9_-]{{1,64}}}}"):
            application.router.add_get(path, self._verify)
            application.router.add_post(path, self._receive)
        return application

    async def _verify(self, request: web.Request) -> web.Response:
        """Answer WeChat's check of an address with the text that it sent."""
        query = SignedQuery.of(request.query)
        try:
            check_address(query, self._keys(request).token.read())
        except (ForgedPushError, WechatFileError) as error:
            _log_secret(error)
            return self._answer("forged")
        if not self._memory.is_timely(query.timestamp):
            return self._answer("replayed")
        return web.Response(text=request.query.get("echostr", "")[:ECHO_CHARS_MAX])

    async def _receive(self, request: web.Request) -> web.Response:
        if self._under_way >= AT_ONCE_MAX:
            return self._answer("failed")
        self._under_way += 1
        try:
            return await self._received(request)
        finally:
            self._under_way -= 1

    async def _received(self, request: web.Request) -> web.Response:
        query = SignedQuery.of(request.query)
        try:
            message = await self._message(request, query)
        except (InvalidPushError, web.HTTPRequestEntityTooLarge):
            return self._answer("invalid")
        except (ForgedPushError, WechatFileError) as error:
            _log_secret(error)
            return self._answer("forged")
        receiver = request.match_info["receiver"]
        identity = f"{receiver}\n{query.identity}"
        if not self._memory.is_timely(query.timestamp) or not self._memory.take(identity):
            return self._answer("replayed")
        outcome: PushOutcome = "failed"
        try:
            outcome = await self._actions.act(receiver, message, round(self._now_s() * SECOND_MS))
        finally:
            # WeChat sends it again, signed as it was.
            if outcome == "failed":
                self._memory.forget(identity)
        return self._answer(outcome)

    async def _message(self, request: web.Request, query: SignedQuery) -> PlatformMessage:
        keys = self._keys(request)
        try:
            async with asyncio.timeout(BODY_WITHIN_S):
                body = await request.read()
        except TimeoutError:
            raise InvalidPushError from None
        return read_push(body, query, keys.token.read(), keys.message_key, request.match_info["receiver"])

    def _keys(self, request: web.Request) -> PushKeys:
        keys = self._apps.push_keys(request.match_info["receiver"])
        if keys is None:
            raise ForgedPushError
        return keys

    def _answer(self, outcome: PushOutcome) -> web.Response:
        self._metrics.pushes.labels(outcome).inc()
        if outcome == "stored":
            self._metrics.facts.labels("push").inc()
        status = STATUSES.get(outcome, HTTPStatus.OK)
        return web.Response(status=status, text="success" if status == HTTPStatus.OK else outcome)


def _log_secret(error: Exception) -> None:
    if isinstance(error, WechatFileError):
        log.error("A push can't be checked: %s", error)
