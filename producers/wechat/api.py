"""Requests to WeChat, with limits of time and size; no message of an error has a token or a secret."""

import time
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Final, Literal
from urllib.parse import urlsplit

import aiohttp
import msgspec
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt
from tenacity.wait import wait_exponential_jitter

from http_service.exchange import NoAnswerError, exchange
from producers.wechat.answers import A, decode_answer
from producers.wechat.errors import Trouble, WechatError
from producers.wechat.metrics import Metrics

ANSWER_BYTES_MAX: Final = 1_000_000
WORDS_CHARS_MAX: Final = 160
ATTEMPTS: Final = 3
"""Attempts at a request that WeChat was too busy for, or that got no answer."""

USER_AGENT: Final = "phonemeter-wechat"
LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})

TROUBLES: Final[Mapping[int, Trouble]] = {
    -1: "busy",
    40001: "token",
    40014: "token",
    42001: "token",
    45009: "limited",
    45011: "limited",
}
"""Meaning of WeChat's error numbers for the next step; all others are `refused`."""

Endpoint = Literal["usage", "stable_token", "component_token", "authorizer_token"]

_PATHS: Final[Mapping[Endpoint, str]] = {
    "usage": "/wxa/charge/usage/get",
    "stable_token": "/cgi-bin/stable_token",
    "component_token": "/cgi-bin/component/api_component_token",
    "authorizer_token": "/cgi-bin/component/api_authorizer_token",
}


class WechatApi:
    """WeChat's server-side interface at an address, over one session of HTTP."""

    def __init__(self, base: str, timeout_s: float, session: aiohttp.ClientSession, metrics: Metrics) -> None:
        self._base = base
        self._timeout_s = timeout_s
        self._session = session
        self._metrics = metrics

    async def get(self, endpoint: Endpoint, query: Mapping[str, str], kind: type[A]) -> A:
        """Ask by GET.

        Raises:
            WechatError: it was not answered as asked.
        """
        return await self._retried(endpoint, query, None, kind)

    async def post(
        self, endpoint: Endpoint, query: Mapping[str, str], body: Mapping[str, object], kind: type[A]
    ) -> A:
        """Ask by POST with a JSON body.

        Raises:
            WechatError: it was not answered as asked.
        """
        return await self._retried(endpoint, query, body, kind)

    async def _retried(
        self, endpoint: Endpoint, query: Mapping[str, str], body: Mapping[str, object] | None, kind: type[A]
    ) -> A:
        async for attempt in AsyncRetrying(
            retry=retry_if_exception(_is_passing),
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_exponential_jitter(multiplier=0.2, max=2, jitter=0.2),
            reraise=True,
            after=self._count_repeat,
        ):
            with attempt:
                return await self._once(endpoint, query, body, kind)
        raise AssertionError  # pragma: no cover - tenacity returns or raises

    def _count_repeat(self, _state: RetryCallState) -> None:
        self._metrics.repeats.inc()

    async def _once(
        self, endpoint: Endpoint, query: Mapping[str, str], body: Mapping[str, object] | None, kind: type[A]
    ) -> A:
        began_s = time.monotonic()
        try:
            content = await self._exchange(endpoint, query, body)
            answer = self._answer(
                endpoint, content, kind, [*query.values(), *map(str, (body or {}).values())]
            )
        except WechatError as error:
            self._metrics.requests.labels(endpoint, error.trouble).inc()
            raise
        finally:
            self._metrics.request_seconds.labels(endpoint).observe(time.monotonic() - began_s)
        self._metrics.requests.labels(endpoint, "ok").inc()
        return answer

    def _answer(self, endpoint: Endpoint, content: bytes, kind: type[A], secrets: Sequence[str]) -> A:
        answer = decode_answer(content, kind)
        if answer is None:
            raise WechatError("unreachable", f"{self._host} answered something that is not WeChat's JSON.")
        if answer.errcode:
            raise _error(endpoint, answer.errcode, answer.errmsg, secrets)
        return answer

    async def _exchange(
        self, endpoint: Endpoint, query: Mapping[str, str], body: Mapping[str, object] | None
    ) -> bytes:
        try:
            answer = await exchange(
                self._session,
                "GET" if body is None else "POST",
                f"{self._base}{_PATHS[endpoint]}",
                self._host,
                self._timeout_s,
                ANSWER_BYTES_MAX,
                params=query,
                data=None if body is None else msgspec.json.encode(body),
                headers={"user-agent": USER_AGENT, "content-type": "application/json"},
            )
        except NoAnswerError as error:
            raise WechatError("unreachable", str(error)) from None
        if answer.status != HTTPStatus.OK:
            raise WechatError("unreachable", f"{self._host} answered with status {answer.status}.")
        if len(answer.content) > ANSWER_BYTES_MAX:
            raise WechatError("unreachable", f"{self._host} answered more than {ANSWER_BYTES_MAX:,} bytes.")
        return answer.content

    @property
    def _host(self) -> str:
        return urlsplit(self._base).netloc


def is_loopback(url: str) -> bool:
    """Return whether a URL leads to this machine."""
    return urlsplit(url).hostname in LOOPBACK


def _is_passing(error: BaseException) -> bool:
    return isinstance(error, WechatError) and error.trouble in {"busy", "unreachable"}


def _error(endpoint: Endpoint, number: int, words: str, secrets: Sequence[str]) -> WechatError:
    for secret in secrets:
        if len(secret) >= 8:  # noqa: PLR2004 - shorter ones are page numbers and the like
            words = words.replace(secret, "***")
    shown = " ".join(words.split())[:WORDS_CHARS_MAX]
    return WechatError(
        TROUBLES.get(number, "refused"), f"WeChat refused {_PATHS[endpoint]} with error {number}: {shown}."
    )
