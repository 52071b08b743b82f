"""The way to pay `wechat`: an order is a transaction at WeChat Pay that has its number."""

import logging
from collections.abc import Callable, Iterator
from typing import Final

from dashboards.console.payments import (
    WECHAT_PAY,
    PaymentNotice,
    PaymentOffer,
    PaymentRequest,
    PaymentUnavailableError,
    ReturnRequest,
    ReturnState,
)
from dashboards.wechat_pay.answers import FEN, Refund, Transaction
from dashboards.wechat_pay.client import WechatPayClient
from dashboards.wechat_pay.errors import WechatPayError
from metering.times import HOUR_MS, SHANGHAI, from_ms, parse_time

log = logging.getLogger(__name__)

CODE_MS: Final = 2 * HOUR_MS
"""Life of the QR code of a transaction, by WeChat Pay's documentation."""

DESCRIPTION_CHARS_MAX: Final = 127
REASON: Final = "资源包退款"
RETURN_STATES: Final[dict[str, ReturnState]] = {
    "SUCCESS": "returned",
    "PROCESSING": "under_way",
    # Closed: the refund can't be done in this way any more. Abnormal: the payer's card did not take it. Both
    # are settled on WeChat Pay's own page.
    "CLOSED": "by_hand",
    "ABNORMAL": "by_hand",
}
CLOSED: Final = frozenset({"ORDER_CLOSED", "ORDERCLOSED"})
MISSING: Final = frozenset({"ORDER_NOT_EXIST", "ORDERNOTEXIST"})
SEPARATOR: Final = "-"
TRANSACTIONS_MAX: Final = 9
"""Transactions of one order: a closed one can't be paid any more, when a member comes back to WeChat Pay."""


class WechatPayProvider:
    """Orders are paid by scanning a QR code with WeChat, and given back by its refunds.

    Args:
        client: asks WeChat Pay.
        mchid, appid: of the merchant.
        notify_url: where WeChat Pay sends notices.
        now_ms: the clock.
    """

    name = "wechat"
    title = WECHAT_PAY

    def __init__(
        self, client: WechatPayClient, mchid: str, appid: str, notify_url: str, now_ms: Callable[[], int]
    ) -> None:
        self._client = client
        self._mchid = mchid
        self._appid = appid
        self._notify_url = notify_url
        self._now_ms = now_ms

    async def begin(self, request: PaymentRequest) -> PaymentOffer:
        """Begin a transaction, or get another code for the one of the same order.

        Raises:
            PaymentUnavailableError: WeChat Pay does not begin it.
        """
        transaction = {
            "appid": self._appid,
            "mchid": self._mchid,
            "description": request.description[:DESCRIPTION_CHARS_MAX],
            "time_expire": from_ms(request.expires_at_ms).astimezone(SHANGHAI).isoformat(timespec="seconds"),
            "notify_url": self._notify_url,
            "amount": {"total": _fen(request.amount_micro_yuan), "currency": "CNY"},
        }
        for number in _numbers(request.order_id):
            try:
                offered = await self._client.begin({**transaction, "out_trade_no": number})
            except WechatPayError as error:
                if error.code not in CLOSED:
                    raise _unavailable(error) from None
            else:
                expires_at_ms = min(request.expires_at_ms, self._now_ms() + CODE_MS)
                return PaymentOffer("qr", offered.code_url, expires_at_ms)
        raise PaymentUnavailableError(
            f"The way to pay of {request.order_id} was changed too often; WeChat Pay is not asked any more."
        )

    async def look(self, order_id: str) -> PaymentNotice | None:
        """Ask WeChat Pay whether an order is paid.

        Raises:
            PaymentUnavailableError: WeChat Pay does not answer.
        """
        for number in _numbers(order_id):
            try:
                found = await self._client.find(self._mchid, number)
            except WechatPayError as error:
                raise _unavailable(error) from None
            if found is None:
                return None
            if (found.mchid, found.appid, found.out_trade_no) != (self._mchid, self._appid, number):
                raise PaymentUnavailableError(
                    f"WeChat Pay answered for another payment than that of {order_id}."
                )
            if found.trade_state != "CLOSED":
                return notice_of(found)
        return None

    async def close(self, order_id: str) -> None:
        """Close the transaction of an order; one that was closed or never begun is no error.

        Raises:
            PaymentUnavailableError: it can still be paid, or is paid.
        """
        for number in _numbers(order_id):
            try:
                await self._client.close(self._mchid, number)
            except WechatPayError as error:
                if error.code in CLOSED:
                    continue
                if error.code not in MISSING:
                    raise _unavailable(error) from None
            # None was begun behind one that was open, or that is missing.
            return

    async def give_back(self, request: ReturnRequest) -> ReturnState:
        """Refund a payment whole; WeChat Pay takes the same number as the same refund.

        Raises:
            PaymentUnavailableError: WeChat Pay does not answer, or refuses it now.
        """
        amount = _fen(request.amount_micro_yuan)
        wanted = {
            "transaction_id": request.transaction_id,
            "out_refund_no": request.return_id,
            "reason": REASON,
            "notify_url": self._notify_url,
            "amount": {"refund": amount, "total": amount, "currency": "CNY"},
        }
        try:
            refund = await self._client.find_refund(request.return_id) or await self._client.refund(wanted)
        except WechatPayError as error:
            raise _unavailable(error) from None
        return self._return_state(refund, request, amount)

    def _return_state(self, refund: Refund, request: ReturnRequest, amount: int) -> ReturnState:
        same = (request.return_id, request.transaction_id, amount)
        if (refund.out_refund_no, refund.transaction_id, refund.amount.refund) != same:
            raise PaymentUnavailableError(
                f"WeChat Pay answered for another refund than {request.return_id} of {request.order_id}."
            )
        state = RETURN_STATES.get(refund.status)
        if state is None:
            raise PaymentUnavailableError(
                f"WeChat Pay tells a state of refund {request.return_id} that is not known: look at its page."
            )
        return state


def notice_of(transaction: Transaction) -> PaymentNotice | None:
    """The notice in a transaction; None if it is not paid.

    Raises:
        PaymentUnavailableError: it is paid, but how is not understood.
    """
    # One whose money went back since is REFUND: it pays no order that nobody knew to be paid.
    if transaction.trade_state != "SUCCESS":
        return None
    amount = transaction.amount
    try:
        paid_at_ms = parse_time(transaction.success_time)
    except ValueError:
        paid_at_ms = -1
    if amount is None or amount.currency != "CNY" or paid_at_ms < 0 or not transaction.transaction_id:
        raise PaymentUnavailableError(
            f"WeChat Pay tells a payment of {transaction.out_trade_no[:32]} without a number, a time or an "
            f"amount in CNY: look at its page."
        )
    order_id = transaction.out_trade_no.partition(SEPARATOR)[0]
    return PaymentNotice(order_id, transaction.transaction_id, amount.total * FEN, paid_at_ms)


def _numbers(order_id: str) -> Iterator[str]:
    """The numbers of an order's transactions, in their order: its own, and that with a count behind it."""
    yield order_id
    for count in range(2, TRANSACTIONS_MAX + 1):
        yield f"{order_id}{SEPARATOR}{count}"


def _fen(amount_micro_yuan: int) -> int:
    fen, rest = divmod(amount_micro_yuan, FEN)
    if rest or fen <= 0:
        raise PaymentUnavailableError(
            f"WeChat Pay takes whole fen only, and {amount_micro_yuan} micro-yuan are none."
        )
    return fen


def _unavailable(error: WechatPayError) -> PaymentUnavailableError:
    log.warning("%s", error)
    return PaymentUnavailableError(str(error))
