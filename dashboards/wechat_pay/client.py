"""Requests to WeChat Pay: signed, answered in time and size, and believed only if the answer is signed."""

import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final, Literal, TypeVar
from urllib.parse import urlsplit

import aiohttp
import msgspec
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt
from tenacity.wait import wait_exponential_jitter

from dashboards.wechat_pay.answers import NativeOffer, Refund, Transaction, decode_refusal
from dashboards.wechat_pay.errors import NoticeRefusedError, WechatPayError
from dashboards.wechat_pay.metrics import WechatPayMetrics
from dashboards.wechat_pay.signatures import MerchantSigner, PlatformKeys
from http_service.exchange import Exchanged, NoAnswerError, exchange

PAY_ANSWER_BYTES_MAX: Final = 262_144
PAY_WORDS_CHARS_MAX: Final = 160
PAY_ATTEMPTS: Final = 3
"""Attempts at a request that got no answer, or a falsified one; each of them may be repeated."""

PAY_USER_AGENT: Final = "phonemeter-console"

PayRequestName = Literal["begin", "look", "close", "refund", "look_refund"]

T = TypeVar("T")


class WechatPayClient:
    """WeChat Pay's interface at an address, over one session of HTTP, which begins with the first request.

    Args:
        base: its address.
        timeout_s: time for an exchange.
        signer: signs requests.
        platform: verifies answers.
        public_key_id: the key by which answers shall be signed; empty for the platform's certificate.
        metrics: counts requests.
    """

    def __init__(
        self,
        base: str,
        timeout_s: float,
        signer: MerchantSigner,
        platform: PlatformKeys,
        public_key_id: str,
        metrics: WechatPayMetrics,
    ) -> None:
        self._base = base
        self._timeout_s = timeout_s
        self._session: aiohttp.ClientSession | None = None
        self._signer = signer
        self._platform = platform
        self._serial = {"wechatpay-serial": public_key_id} if public_key_id else {}
        self._metrics = metrics

    async def end(self) -> None:
        """End the session of HTTP."""
        if self._session is not None:
            await self._session.close()

    async def begin(self, transaction: Mapping[str, object]) -> NativeOffer:
        """Begin a transaction that is paid by scanning a QR code.

        Raises:
            WechatPayError: it was not begun.
        """
        content = await self._retried("begin", "/v3/pay/transactions/native", transaction)
        return self._decoded(content, NativeOffer)

    async def find(self, mchid: str, order_id: str) -> Transaction | None:
        """Find the transaction of an order; None if WeChat Pay has none.

        Raises:
            WechatPayError: it was not answered.
        """
        target = f"/v3/pay/transactions/out-trade-no/{order_id}?mchid={mchid}"
        content = await self._found("look", target, {"ORDER_NOT_EXIST", "ORDERNOTEXIST"})
        return None if content is None else self._decoded(content, Transaction)

    async def close(self, mchid: str, order_id: str) -> None:
        """Close the transaction of an order, so that it can't be paid any more.

        Raises:
            WechatPayError: it was not closed.
        """
        target = f"/v3/pay/transactions/out-trade-no/{order_id}/close"
        await self._retried("close", target, {"mchid": mchid})

    async def refund(self, refund: Mapping[str, object]) -> Refund:
        """Give money back; the same `out_refund_no` again is the same refund.

        Raises:
            WechatPayError: the refund was not taken.
        """
        return self._decoded(await self._retried("refund", "/v3/refund/domestic/refunds", refund), Refund)

    async def find_refund(self, return_id: str) -> Refund | None:
        """Find a refund; None if WeChat Pay has none.

        Raises:
            WechatPayError: it was not answered.
        """
        target = f"/v3/refund/domestic/refunds/{return_id}"
        content = await self._found("look_refund", target, {"RESOURCE_NOT_EXISTS"})
        return None if content is None else self._decoded(content, Refund)

    async def _found(self, name: PayRequestName, target: str, missing: set[str]) -> bytes | None:
        try:
            return await self._retried(name, target, None)
        except WechatPayError as error:
            if error.trouble == "refused" and error.code in missing:
                return None
            raise

    async def _retried(
        self, name: PayRequestName, target: str, content: Mapping[str, object] | None
    ) -> bytes:
        async for attempt in AsyncRetrying(
            retry=retry_if_exception(_is_passing),
            stop=stop_after_attempt(PAY_ATTEMPTS),
            wait=wait_exponential_jitter(multiplier=0.1, max=1, jitter=0.1),
            reraise=True,
        ):
            with attempt:
                return await self._counted(name, target, content)
        raise AssertionError  # pragma: no cover - tenacity returns or raises

    async def _counted(
        self, name: PayRequestName, target: str, content: Mapping[str, object] | None
    ) -> bytes:
        began_s = time.monotonic()
        try:
            answer = await self._once(target, content)
        except WechatPayError as error:
            self._metrics.requests.labels(name, error.trouble).inc()
            raise
        finally:
            self._metrics.request_seconds.labels(name).observe(time.monotonic() - began_s)
        self._metrics.requests.labels(name, "ok").inc()
        return answer

    async def _once(self, target: str, content: Mapping[str, object] | None) -> bytes:
        method, body = ("GET", b"") if content is None else ("POST", msgspec.json.encode(content))
        status, headers, answer = await self._exchange(method, target, body)
        if status in {HTTPStatus.OK, HTTPStatus.NO_CONTENT}:
            try:
                self._platform.verify(headers, answer)
            except NoticeRefusedError as error:
                raise WechatPayError(
                    "untrusted",
                    f"{self._host} answered {_path(target)} with a signature that is not WeChat Pay's "
                    f"({error.fault}): look at wechat_pay_platform_keys and the clock.",
                ) from None
            return answer
        raise self._refusal(status, target, answer)

    def _refusal(self, status: int, target: str, answer: bytes) -> WechatPayError:
        refusal = decode_refusal(answer)
        # 202 is given in place of an answer while something is still under way at WeChat Pay.
        is_busy = status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in {
            HTTPStatus.TOO_MANY_REQUESTS,
            HTTPStatus.ACCEPTED,
        }
        words = " ".join(refusal.message.split())[:PAY_WORDS_CHARS_MAX]
        told = f" {refusal.code[:64]} ({words})" if refusal.code else ""
        return WechatPayError(
            "busy" if is_busy else "refused",
            f"WeChat Pay answered {_path(target)} with status {status}{told}.",
            refusal.code[:64],
        )

    async def _exchange(self, method: str, target: str, body: bytes) -> Exchanged:
        try:
            answer = await exchange(
                self._opened(),
                method,
                f"{self._base}{target}",
                self._host,
                self._timeout_s,
                PAY_ANSWER_BYTES_MAX,
                data=body or None,
                headers={
                    "authorization": self._signer.authorization(method, target, body),
                    "accept": "application/json",
                    "content-type": "application/json",
                    "user-agent": PAY_USER_AGENT,
                    **self._serial,
                },
            )
        except NoAnswerError as error:
            raise WechatPayError("unreachable", str(error)) from None
        if len(answer.content) > PAY_ANSWER_BYTES_MAX:
            raise WechatPayError(
                "unreachable", f"{self._host} answered more than {PAY_ANSWER_BYTES_MAX:,} bytes."
            )
        return answer

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            # What WeChat Pay answers sets no cookie that a later request should carry.
            self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        return self._session

    def _decoded(self, content: bytes, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(content, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise WechatPayError(
                "unreachable", f"{self._host} answered something that is not WeChat Pay's JSON."
            ) from None

    @property
    def _host(self) -> str:
        return urlsplit(self._base).netloc


def _path(target: str) -> str:
    return target.partition("?")[0]


def _is_passing(error: BaseException) -> bool:
    return isinstance(error, WechatPayError) and error.trouble != "refused"
