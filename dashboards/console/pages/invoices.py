"""Invoices: what can be applied for, what became of it, and the decisions of operators."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from starlette.responses import Response

from dashboards.console.chinese_amount import chinese_amount
from dashboards.console.errors import RefusedChangeError
from dashboards.console.invoice_paper import invoice_paper
from dashboards.console.invoice_titles import TITLE_KINDS
from dashboards.console.invoices import (
    INVOICE_STATES,
    INVOICES_LISTED_MAX,
    Invoice,
    InvoiceDesk,
    InvoicedOrder,
    TitleDesk,
    is_reason,
    month_bounds,
)
from dashboards.console.languages import marked
from dashboards.console.overview_rows import CAPABILITY_NAMES
from dashboards.console.page_guard import ConsolePage
from dashboards.console.problems import ConsoleProblem
from dashboards.console.visit import Visit
from metering.times import shanghai_date

ORDERS_SHOWN: Final = 50
"""Orders without an invoice that the page lists one by one; months count all."""

NUMBER_CHARACTERS_MAX: Final = 21
STATE_TAGS: Final[Mapping[str, str]] = {
    "applied": "warn",
    "issued": "good",
    "refused": "",
    "voided": "danger",
}

NO_TITLE: Final = marked("Choose a title.")
WRONG_REASON: Final = marked("Give a reason of 1 to 200 characters, without a phone number or an openid.")
REFUSED: Final[Mapping[str, str]] = {
    "not_there": marked("There is no such order, invoice or title."),
    "wrong_state": marked("Somebody has decided this invoice meanwhile. See below how it stands."),
    "order_refunded": marked(
        "The money of an order goes back, or has gone back: there is no invoice for it."
    ),
    "invoiced_already": marked("There is an invoice for this order already."),
    "nothing_to_invoice": marked("There is no paid order without an invoice."),
    "no_whole_fen": marked("The amount is no whole number of fen. Ask who runs phonemeter."),
}


class UninvoicedMonth(NamedTuple):
    """A month with paid orders that have no invoice yet."""

    month: str
    orders: int
    amount_micro_yuan: int


class InvoicePages:
    """The pages of the invoices, and what their forms are sent to."""

    def __init__(self, invoices: InvoiceDesk, titles: TitleDesk) -> None:
        self._invoices = invoices
        self._titles = titles
        # The thread that makes a PDF takes a processor; more of them would take it from the pages.
        self._one_paper = asyncio.Semaphore(1)

    @property
    def pages(self) -> Sequence[ConsolePage]:
        """The pages; `/invoices/titles` comes from `TitlePages`, which have to be before these."""
        one = "/invoices/{invoice_id}"
        return [
            ConsolePage("/invoices", self._list, title=marked("Invoices")),
            ConsolePage("/invoices/apply", self._form, "invoices"),
            ConsolePage("/invoices/apply", self._apply, "invoices", "POST"),
            ConsolePage(one, self._show),
            ConsolePage(f"{one}/pdf", self._paper),
            ConsolePage(f"{one}/issue", self._issue, "invoice_decisions", "POST"),
            ConsolePage(f"{one}/refuse", self._refuse, "invoice_decisions", "POST"),
            ConsolePage(f"{one}/void", self._void, "invoice_decisions", "POST"),
        ]

    async def _list(self, visit: Visit) -> Response:
        owner_id = visit.member.membership.owner_id
        before = visit.request.query_params.get("before", "")[:NUMBER_CHARACTERS_MAX]
        invoices = await asyncio.to_thread(self._invoices.invoices_of, owner_id, before)
        orders = await asyncio.to_thread(self._invoices.orders_without_invoice, owner_id)
        shown = invoices[:INVOICES_LISTED_MAX]
        values = {
            "invoices": shown,
            "older": shown[-1].invoice_id if len(invoices) > len(shown) else "",
            "before": before,
            "orders": orders[:ORDERS_SHOWN],
            "months": months_of(orders),
            **_words(),
        }
        return visit.page("invoices.html", values)

    async def _form(self, visit: Visit) -> Response:
        query = visit.request.query_params
        order_id, month = query.get("order", ""), query.get("month", "")
        if not order_id and not month:
            return visit.redirect("/invoices")
        return await self._application(visit, order_id, month)

    async def _apply(self, visit: Visit) -> Response:
        order_id, month, title_id = visit.value("order"), visit.value("month"), visit.value("title")
        if not title_id:
            return await self._application(visit, order_id, month, visit.wording.text(NO_TITLE), 422)
        actor = visit.member.actor
        try:
            invoice_id = await asyncio.to_thread(
                self._invoices.apply, actor, title_id, order_id=order_id, month=month
            )
        except RefusedChangeError as error:
            mistake = visit.wording.text(REFUSED[error.reason])
            return await self._application(visit, order_id, month, mistake, 409)
        return visit.redirect(f"/invoices/{invoice_id}")

    async def _application(
        self, visit: Visit, order_id: str, month: str, mistake: str = "", status: int = 200
    ) -> Response:
        """The page to apply on; one for an order of others is not there."""
        owner_id = visit.member.membership.owner_id
        titles = await asyncio.to_thread(self._titles.titles_of, owner_id)
        orders = await asyncio.to_thread(
            self._invoices.orders_to_invoice, owner_id, order_id=order_id, month=month
        )
        if not orders and not mistake:
            raise ConsoleProblem("not_found")
        amount = sum(one.amount_micro_yuan for one in orders)
        values = {
            "titles": titles,
            "orders": orders,
            "order_id": order_id,
            "month": month if month_bounds(month) else "",
            "amount_micro_yuan": amount,
            "capitals": chinese_amount(amount),
            "chosen": visit.value("title"),
            "mistake": mistake,
            **_words(),
        }
        return visit.page("invoice_apply.html", values, status)

    async def _show(self, visit: Visit) -> Response:
        return await self._page(visit)

    async def _paper(self, visit: Visit) -> Response:
        invoice = await self._found(visit)
        async with self._one_paper:
            content = await asyncio.to_thread(invoice_paper, invoice, visit.wording)
        name = f'attachment; filename="{invoice.invoice_id}.pdf"'
        return Response(content, media_type="application/pdf", headers={"content-disposition": name})

    async def _issue(self, visit: Visit) -> Response:
        actor, invoice = visit.member.actor, await self._found(visit)
        return await self._changed(visit, lambda: self._invoices.issue(actor, invoice.invoice_id))

    async def _refuse(self, visit: Visit) -> Response:
        return await self._ended(visit, self._invoices.refuse)

    async def _void(self, visit: Visit) -> Response:
        return await self._ended(visit, self._invoices.void)

    async def _ended(self, visit: Visit, end: Callable[..., None]) -> Response:
        actor, invoice, reason = visit.member.actor, await self._found(visit), visit.value("reason")
        if not is_reason(reason):
            return await self._page(visit, visit.wording.text(WRONG_REASON), 422)
        return await self._changed(visit, lambda: end(actor, invoice.invoice_id, reason))

    async def _changed(self, visit: Visit, change: Callable[[], None]) -> Response:
        try:
            await asyncio.to_thread(change)
        except RefusedChangeError as error:
            return await self._page(visit, visit.wording.text(REFUSED[error.reason]), 409)
        return visit.redirect(f"/invoices/{visit.request.path_params['invoice_id']}")

    async def _found(self, visit: Visit) -> Invoice:
        """The invoice of the address; one of another owner is not there."""
        invoice_id = visit.request.path_params["invoice_id"][: NUMBER_CHARACTERS_MAX + 1]
        owner_id = visit.member.membership.owner_id
        invoice = await asyncio.to_thread(self._invoices.invoice, owner_id, invoice_id)
        if invoice is None:
            raise ConsoleProblem("not_found")
        return invoice

    async def _page(self, visit: Visit, mistake: str = "", status: int = 200) -> Response:
        invoice = await self._found(visit)
        values = {
            "invoice": invoice,
            "capitals": chinese_amount(invoice.amount_micro_yuan),
            "mistake": mistake,
            "reason": visit.value("reason"),
            **_words(),
        }
        return visit.page("invoice.html", values, status)


def month_of(order: InvoicedOrder) -> str:
    """The Shanghai month of an order's payment, such as 2023-08."""
    return f"{shanghai_date(order.paid_at_ms):%Y-%m}"


def months_of(orders: Sequence[InvoicedOrder]) -> list[UninvoicedMonth]:
    """The months of orders, the newest first."""
    amounts: dict[str, list[int]] = defaultdict(list)
    for one in orders:
        amounts[month_of(one)].append(one.amount_micro_yuan)
    return [UninvoicedMonth(month, len(paid), sum(paid)) for month, paid in sorted(amounts.items())][::-1]


def _words() -> dict[str, object]:
    """The names of states, kinds and capabilities, for templates."""
    return {
        "states": INVOICE_STATES,
        "state_tags": STATE_TAGS,
        "kinds": TITLE_KINDS,
        "capabilities": CAPABILITY_NAMES,
    }
