"""The page of one order: what it buys, how it is paid, its refund and its history."""

import asyncio
import re
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final

from starlette.responses import JSONResponse, Response

from dashboards.console.errors import RefusedChangeError
from dashboards.console.facts import RefusedFactError
from dashboards.console.languages import marked
from dashboards.console.ledger_reads import LedgerReads
from dashboards.console.order_desk import PATH, OrderDesk, description_of, order_address
from dashboards.console.order_texts import (
    OUTCOME_NAMES,
    RETURN_NAMES,
    STATE_LEVELS,
    STATE_NAMES,
    STEP_NAMES,
)
from dashboards.console.orders import OrderHistory
from dashboards.console.overview_rows import CAPABILITY_NAMES
from dashboards.console.page_guard import ConsolePage
from dashboards.console.payments import PaymentNotice, PaymentUnavailableError
from dashboards.console.problems import ConsoleProblem
from dashboards.console.qr_code import qr_code
from dashboards.console.refund_rule import REFUSALS, refusal_of_refund
from dashboards.console.visit import Visit
from dashboards.reads.asking import Ask
from dashboards.reads.packs import BoughtPack, read_packs
from metering.events import Capability
from metering.money import MICRO_YUAN
from metering.times import HOUR_MS, SHANGHAI, to_ms

ORDER: Final = f"{PATH}/{{order_id}}"
_DOCUMENTS: Final = "https://developers.weixin.qq.com/miniprogram/dev/framework/open-ability"
COMPONENT_DOCUMENTS: Final[Mapping[Capability, str]] = {
    "quick": f"{_DOCUMENTS}/getPhoneNumber.html",
    "realtime": f"{_DOCUMENTS}/getRealtimePhoneNumber.html",
}

CHANGING: Final = frozenset({"paying", "paid", "refund_asked"})
"""States that pass by themselves: the page looks whether they have."""

QR_NAME: Final = marked("QR code to pay with WeChat")
NOT_ACCEPTED: Final = marked("Read and accept the terms first.")
NO_WAY: Final = marked("Choose a way to pay.")
NOT_NOW: Final = marked("This way to pay does not answer now. Choose another one, or try again in a minute.")
NOT_YET: Final = marked("The pack is on its way to the ledger. Try again in a minute.")
NOT_ASSENTED: Final = marked("The order has changed meanwhile; this page shows it as it is now.")
NO_AMOUNT: Final = marked("Type the amount in yuan, the transaction number and when it was paid.")
OUTCOMES: Final[Mapping[str, str]] = {
    "repeated": marked("This payment was noted before; nothing has changed."),
    "wrong_amount": marked("The amount is not that of the order: it stays unpaid, and the money goes back."),
    "order_ended": marked("The order had ended: it stays so, and the money goes back."),
    "paid_twice": marked("The order is paid already: this money goes back."),
}

_AMOUNT: Final = re.compile(r"(\d{1,9})(?:\.(\d{1,2}))?")
_TRANSACTION: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


class OrderPages:
    """The page, and what its forms are sent to.

    Args:
        desk: of the orders.
        reads: of the ledger, for the pack; without it no refund can be asked for.
    """

    def __init__(self, desk: OrderDesk, reads: LedgerReads | None) -> None:
        self._desk = desk
        self._reads = reads

    @property
    def pages(self) -> Sequence[ConsolePage]:
        """The pages."""
        return [
            ConsolePage(ORDER, self._show),
            ConsolePage(f"{ORDER}/state", self._state),
            ConsolePage(f"{ORDER}/pay", self._pay, "buy", "POST"),
            ConsolePage(f"{ORDER}/test-payment", self._test_payment, "buy", "POST"),
            ConsolePage(f"{ORDER}/cancel", self._cancel, "buy", "POST"),
            ConsolePage(f"{ORDER}/refund", self._refund, "buy", "POST"),
            ConsolePage(f"{ORDER}/confirm", self._confirm, "payments", "POST"),
            ConsolePage(f"{ORDER}/returned", self._returned, "payments", "POST"),
        ]

    async def _show(self, visit: Visit) -> Response:
        return await self._page(visit)

    async def _state(self, visit: Visit) -> Response:
        """The number of the order's changes, which the page asks for while something is under way."""
        return JSONResponse({"version": (await self._found(visit)).order.version})

    async def _pay(self, visit: Visit) -> Response:
        if not visit.form.get("terms"):
            return await self._page(visit, NOT_ACCEPTED, 422)
        if visit.value("provider") not in self._desk.providers:
            return await self._page(visit, NO_WAY, 422)
        order_id = (await self._found(visit)).order.order_id
        try:
            await self._desk.pay(visit.member, order_id, visit.value("provider"))
        except RefusedChangeError:
            return await self._page(visit, NOT_ASSENTED, 409)
        except PaymentUnavailableError:
            return await self._page(visit, NOT_NOW, 503)
        return visit.redirect(order_address(order_id))

    async def _test_payment(self, visit: Visit) -> Response:
        """Pay by the button of the test provider, if the order is to be paid so."""
        order = (await self._found(visit)).order
        if order.provider != "test" or "test" not in self._desk.providers:
            return await self._page(visit, NOT_ASSENTED, 409)
        notice = PaymentNotice(order.order_id, f"test-{order.order_id}", order.price_micro_yuan, _now_ms())
        return await self._noted(visit, "test", notice)

    async def _cancel(self, visit: Visit) -> Response:
        order_id = (await self._found(visit)).order.order_id
        try:
            await self._desk.cancel(visit.member, order_id)
        except RefusedChangeError:
            return await self._page(visit, NOT_ASSENTED, 409)
        return visit.redirect(order_address(order_id))

    async def _refund(self, visit: Visit) -> Response:
        order = (await self._found(visit)).order
        pack = await self._pack(order.appid, order.pack_id)
        if pack is None:
            return await self._page(visit, NOT_YET, 409)
        refusal = refusal_of_refund(pack, _now_ms())
        try:
            await asyncio.to_thread(self._desk.orders.ask_refund, visit.member.actor, order.order_id, refusal)
        except RefusedChangeError:
            return await self._page(visit, NOT_ASSENTED, 409)
        return visit.redirect(order_address(order.order_id))

    async def _confirm(self, visit: Visit) -> Response:
        """Note a transfer that an operator sees on the account."""
        order = (await self._found(visit)).order
        amount = _AMOUNT.fullmatch(visit.value("amount"))
        paid_at_ms = _shanghai_ms(visit.value("paid_at"))
        transaction = visit.value("transaction")
        if amount is None or paid_at_ms is None or _TRANSACTION.fullmatch(transaction) is None:
            return await self._page(visit, NO_AMOUNT, 422)
        fen = int(amount[1]) * 100 + int((amount[2] or "").ljust(2, "0"))
        notice = PaymentNotice(order.order_id, transaction, fen * (MICRO_YUAN // 100), paid_at_ms)
        return await self._noted(visit, "transfer", notice)

    async def _returned(self, visit: Visit) -> Response:
        """Note that money was transferred back."""
        found = await self._found(visit)
        payment = next((one for one in found.payments if str(one.payment_id) == visit.value("payment")), None)
        if payment is None or payment.return_state != "by_hand":
            return await self._page(visit, NOT_ASSENTED, 409)
        await asyncio.to_thread(
            self._desk.orders.note_return, payment.payment_id, "returned", visit.member.email
        )
        return visit.redirect(order_address(found.order.order_id))

    async def _noted(self, visit: Visit, provider: str, notice: PaymentNotice) -> Response:
        try:
            outcome = await self._desk.notice(provider, notice, visit.member.email)
        except RefusedFactError:
            return await self._page(visit, NO_AMOUNT, 422)
        if outcome != "accepted":
            return await self._page(visit, OUTCOMES[outcome], 409)
        return visit.redirect(order_address(notice.order_id))

    async def _found(self, visit: Visit) -> OrderHistory:
        """The order of the address, of the owner that is shown; that of another is not there."""
        found = await self._desk.find(visit.member, visit.request.path_params["order_id"])
        if found is None:
            raise ConsoleProblem("not_found")
        return found

    async def _pack(self, appid: str, pack_id: str | None) -> BoughtPack | None:
        """The pack in the ledger; None if it is not there yet, or there is no ledger."""
        if self._reads is None or pack_id is None:
            return None
        return await self._reads.read(partial(_find_pack, appid=appid, pack_id=pack_id))

    async def _page(self, visit: Visit, mistake: str = "", status: int = 200) -> Response:
        found = await self._found(visit)
        order, now_ms = found.order, _now_ms()
        pack = None
        if order.state in {"active", "refund_asked", "refunded"}:
            try:
                pack = await self._pack(order.appid, order.pack_id)
            except ConsoleProblem:
                # Without the ledger the order is shown all the same, and only what the pack holds is not.
                pack = None
        may_buy = visit.member.may("buy")
        values: dict[str, Any] = {
            "billing_start_ms": self._desk.billing_start_ms,
            "capability_names": CAPABILITY_NAMES,
            "description": description_of(order),
            "is_assigned": order.kind == "assignment",
            "is_changing": order.state in CHANGING,
            "is_payable": order.is_unpaid and order.expires_at_ms > now_ms,
            "may_buy": may_buy,
            "may_confirm": visit.member.may("payments") and order.provider == "transfer",
            "may_note_return": visit.member.may("payments"),
            "mistake": visit.wording.text(mistake) if mistake else "",
            "now": datetime.fromtimestamp(now_ms / 1_000, SHANGHAI).strftime("%Y-%m-%dT%H:%M"),
            "order": order,
            "outcome_names": OUTCOME_NAMES,
            "pack": pack,
            "path": PATH,
            "payments": found.payments,
            "qr": qr_code(order.offer_text or "", visit.wording.text(QR_NAME))
            if order.offer_kind == "qr"
            else "",
            "providers": list(self._desk.providers.values()),
            "refusal": None if pack is None else refusal_of_refund(pack, now_ms),
            "refusals": REFUSALS,
            "return_names": RETURN_NAMES,
            "starts_at_ms": order.starts_at_ms(now_ms, self._desk.billing_start_ms),
            "state_levels": STATE_LEVELS,
            "state_names": STATE_NAMES,
            "step_names": STEP_NAMES,
            "steps": found.steps,
            "component_document": COMPONENT_DOCUMENTS[order.capability],
        }
        return visit.page("order.html", values, status)


def _find_pack(ask: Ask, appid: str, pack_id: str) -> BoughtPack | None:
    return next((one for one in read_packs(ask, appid).packs if one.pack_id == pack_id), None)


def _shanghai_ms(text: str) -> int | None:
    """The time of a field for date and time, which browsers send without a zone; None if it is none."""
    try:
        found = to_ms(datetime.fromisoformat(text).replace(tzinfo=SHANGHAI))
    except ValueError:
        return None
    return found if found <= _now_ms() + HOUR_MS else None


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
