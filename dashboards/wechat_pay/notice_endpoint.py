"""The endpoint that WeChat Pay sends notices to: no session and no form, but a signature.

It answers 200 once what the notice says is stored, and anything else makes WeChat Pay send it again, for a
day. So a notice that is refused is refused again and again, which the metrics show.
"""

import asyncio
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dashboards.console.errors import RecordsUnavailableError
from dashboards.console.facts import RefusedFactError
from dashboards.console.order_desk import OrderDesk
from dashboards.console.payments import PaymentUnavailableError, ReturnState
from dashboards.wechat_pay.answers import FEN, RefundNotice, Transaction
from dashboards.wechat_pay.errors import NoticeFault, NoticeRefusedError
from dashboards.wechat_pay.metrics import WechatPayMetrics
from dashboards.wechat_pay.notices import NOTICE_BYTES_MAX, NoticeReader, SignatureMemory
from dashboards.wechat_pay.provider import RETURN_STATES, notice_of

log = logging.getLogger(__name__)

NOTICE_PATH: Final = "/pay/wechat/notify"
NOTICE_S: Final = 5.0
"""Time for the body of a notice; WeChat Pay itself waits no longer for the answer."""

RETURNS_MAX: Final = 1_000
"""Returns that are under way, among which that of a refund is looked for."""

STATUS: Final[Mapping[NoticeFault, HTTPStatus]] = {
    "too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "unsigned": HTTPStatus.UNAUTHORIZED,
    "stale": HTTPStatus.UNAUTHORIZED,
    "unknown_serial": HTTPStatus.UNAUTHORIZED,
    "signature_test": HTTPStatus.UNAUTHORIZED,
    "forged": HTTPStatus.UNAUTHORIZED,
    "replayed": HTTPStatus.CONFLICT,
    "unreadable": HTTPStatus.BAD_REQUEST,
    "other_merchant": HTTPStatus.FORBIDDEN,
    "other_app": HTTPStatus.FORBIDDEN,
    "amount": HTTPStatus.BAD_REQUEST,
    "unknown_order": HTTPStatus.NOT_FOUND,
}


class NoticeEndpoint:
    """The answer to notices of payments and refunds.

    Args:
        reader: verifies and decrypts.
        memory: of signatures.
        desk: stores what happened to orders.
        provider: name of the way to pay.
        metrics: counts notices.
    """

    def __init__(
        self,
        reader: NoticeReader,
        memory: SignatureMemory,
        desk: OrderDesk,
        provider: str,
        metrics: WechatPayMetrics,
    ) -> None:
        self._reader = reader
        self._memory = memory
        self._desk = desk
        self._provider = provider
        self._metrics = metrics

    @property
    def route(self) -> Route:
        """The route, for the console's application."""
        return Route(NOTICE_PATH, self.take, methods=["POST"])

    async def take(self, request: Request) -> Response:
        """Take one notice."""
        try:
            outcome = await self._taken(request)
        except NoticeRefusedError as error:
            # Neither the body nor the headers: who sends false notices would choose what is in our log.
            log.warning("A notice of WeChat Pay was refused: %s.", error.fault)
            self._metrics.notices.labels(error.fault).inc()
            request.state.answer = "form_refused"
            return _failed(STATUS[error.fault], error.fault)
        except RecordsUnavailableError as error:
            log.warning("A notice of WeChat Pay could not be stored: %s", error)
            self._metrics.notices.labels("failed").inc()
            request.state.answer = "unavailable"
            return _failed(HTTPStatus.SERVICE_UNAVAILABLE, "failed")
        self._metrics.notices.labels(outcome).inc()
        return JSONResponse({"code": "SUCCESS", "message": outcome})

    async def _taken(self, request: Request) -> str:
        body = await _body(request)
        signature = self._reader.signature(request.headers, body)
        self._memory.refuse_known(signature)
        content = self._reader.read(body)
        if isinstance(content, Transaction):
            outcome = await self._paid(content)
        elif isinstance(content, RefundNotice):
            outcome = await self._refunded(content)
        else:
            outcome = "ignored"
        # Only now: a notice that was not stored has to be taken when it comes again.
        self._memory.add(signature)
        return outcome

    async def _paid(self, transaction: Transaction) -> str:
        try:
            notice = notice_of(transaction)
        except PaymentUnavailableError as error:
            log.warning("%s", error)
            raise NoticeRefusedError("amount") from None
        if notice is None:
            return "ignored"
        try:
            outcome = await self._desk.notice(self._provider, notice)
        except RefusedFactError as error:
            log.warning("The payment %s is not taken: %s", notice.transaction_id, error)
            raise NoticeRefusedError("unreadable") from None
        if outcome == "no_order":
            raise NoticeRefusedError("unknown_order")
        return outcome

    async def _refunded(self, refund: RefundNotice) -> str:
        state: ReturnState | None = RETURN_STATES.get(refund.refund_status)
        orders = self._desk.orders
        for payment in await asyncio.to_thread(orders.open_returns, RETURNS_MAX):
            same = (payment.provider, payment.transaction_id) == (self._provider, refund.transaction_id)
            if not same or state is None:
                continue
            if refund.amount.refund * FEN != payment.amount_micro_yuan:
                raise NoticeRefusedError("amount")
            await asyncio.to_thread(orders.note_return, payment.payment_id, state, self._provider)
        # A refund that is not under way was noted before, or was made on WeChat Pay's own page.
        return "refund"


async def _body(request: Request) -> bytes:
    body = bytearray()
    try:
        async with asyncio.timeout(NOTICE_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > NOTICE_BYTES_MAX:
                    raise NoticeRefusedError("too_large")
    except (TimeoutError, ClientDisconnect):
        raise NoticeRefusedError("too_large") from None
    return bytes(body)


def _failed(status: HTTPStatus, message: str) -> JSONResponse:
    return JSONResponse({"code": "FAIL", "message": message}, status)
