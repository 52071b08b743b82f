"""Invoices of an owner's orders: what they are, and the store that the console works on."""

import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Final, Literal, Protocol

from msgspec import Struct

from dashboards.console.invoice_titles import TitleText
from dashboards.console.languages import marked
from dashboards.console.members import Actor
from metering.events import Capability
from metering.personal_identifiers import find_identifier
from metering.times import SHANGHAI, to_ms

InvoiceState = Literal["applied", "issued", "refused", "voided"]

INVOICE_STATES: Final[Mapping[InvoiceState, str]] = {
    "applied": marked("applied for"),
    "issued": marked("issued"),
    "refused": marked("turned down"),
    "voided": marked("voided"),
}
"""By state, its name in English, marked for translation."""

TITLES_MAX: Final = 20
"""Saved titles of one owner."""

INVOICED_ORDERS_MAX: Final = 500
"""Orders on one invoice; of a month with more, the others are for the next one."""

INVOICES_LISTED_MAX: Final = 50
"""Invoices on one page of the list."""

REASON_CHARACTERS_MAX: Final = 200

_MONTH: Final = re.compile(r"20[0-9]{2}-(0[1-9]|1[0-2])")


class SavedTitle(Struct, frozen=True):
    """A title that an owner has saved."""

    title_id: str
    title: TitleText


class InvoicedOrder(Struct, frozen=True):
    """A paid order, as an invoice has it.

    Attributes:
        order_id: of the order.
        appid: of the app that the pack is for.
        capability: of the pack.
        calls: of the pack.
        validity_days: of the pack.
        amount_micro_yuan: what was paid.
        paid_at_ms: when.
        is_refunded: whether the money was given back.
    """

    order_id: str
    appid: str
    capability: Capability
    calls: int
    validity_days: int
    amount_micro_yuan: int
    paid_at_ms: int
    is_refunded: bool = False


class InvoiceStep(Struct, frozen=True):
    """A change of an invoice's state.

    Attributes:
        at_ms: when.
        who: an e-mail address, or the command line.
        reason: why, where the step needs one.
    """

    at_ms: int
    who: str
    reason: str = ""


class Invoice(Struct, frozen=True):
    """An invoice, or the application for one.

    Attributes:
        invoice_id: its number.
        owner_id: whose orders it is for.
        title: who it is made out to, as it was when it was applied for.
        month: the Shanghai month (2023-08) that it was applied for; empty for a single order.
        amount_micro_yuan: the sum of its orders.
        state: where it stands.
        applied: when it was applied for, and by whom.
        decided: the same of its being issued or refused; None until then.
        voided: the same of its being voided; None while it is valid.
        orders: what it is for, by time of payment.
    """

    invoice_id: str
    owner_id: str
    title: TitleText
    month: str
    amount_micro_yuan: int
    state: InvoiceState
    applied: InvoiceStep
    decided: InvoiceStep | None
    voided: InvoiceStep | None
    orders: tuple[InvoicedOrder, ...]

    @property
    def must_be_voided(self) -> bool:
        """True if an order was refunded after the invoice had been issued."""
        return self.state == "issued" and any(one.is_refunded for one in self.orders)


class ListedInvoice(Struct, frozen=True):
    """An invoice as lists have it, without its orders.

    Attributes:
        invoice_id, owner_id, title, month, amount_micro_yuan, state, applied: as of the invoice.
        orders: how many orders it is for.
        refunded: how many of them were refunded.
    """

    invoice_id: str
    owner_id: str
    title: TitleText
    month: str
    amount_micro_yuan: int
    state: InvoiceState
    applied: InvoiceStep
    orders: int
    refunded: int

    @property
    def must_be_voided(self) -> bool:
        """True if an order was refunded after the invoice had been issued."""
        return self.state == "issued" and self.refunded > 0


class TitleDesk(Protocol):
    """The saved titles of owners. Blocking.

    Each method raises RecordsUnavailableError if the database does not answer, and those that change
    something RefusedChangeError.
    """

    def titles_of(self, owner_id: str) -> Sequence[SavedTitle]:
        """The saved titles of an owner, the newest first."""

    def save_title(self, actor: Actor, title: TitleText) -> str:
        """Save a title; returns its id, that of the earlier one if the same is saved already."""

    def remove_title(self, actor: Actor, title_id: str) -> None:
        """Remove a saved title; invoices keep theirs."""


class InvoiceDesk(Protocol):
    """The invoices of owners. Blocking.

    Each method raises RecordsUnavailableError if the database does not answer, and those that change
    something RefusedChangeError: `not_there` for what is not the actor's owner's.
    """

    def orders_without_invoice(self, owner_id: str) -> Sequence[InvoicedOrder]:
        """Paid orders that an invoice can be applied for, the newest first, as many as one invoice holds."""

    def orders_to_invoice(
        self, owner_id: str, *, order_id: str = "", month: str = ""
    ) -> Sequence[InvoicedOrder]:
        """The order, or those of a Shanghai month, that `apply` would take; none is no error."""

    def apply(self, actor: Actor, title_id: str, *, order_id: str = "", month: str = "") -> str:
        """Apply for the invoice of an order, or of all orders of a Shanghai month; returns its number."""

    def invoices_of(self, owner_id: str, before: str = "") -> Sequence[ListedInvoice]:
        """The newest invoices of an owner, or those with smaller numbers than one; one more than a page."""

    def invoice(self, owner_id: str, invoice_id: str) -> Invoice | None:
        """One invoice; None if there is none, or it is another owner's."""

    def issue(self, actor: Actor, invoice_id: str) -> None:
        """Issue an invoice that was applied for; refused if one of its orders is being refunded."""

    def refuse(self, actor: Actor, invoice_id: str, reason: str) -> None:
        """Refuse an application; its orders can be applied for again."""

    def void(self, actor: Actor, invoice_id: str, reason: str) -> None:
        """Void an issued invoice; its orders that are not refunded can be applied for again."""


def is_reason(text: str) -> bool:
    """Return whether a text can be the reason for refusing or voiding: printable, and nobody's number."""
    fits = 0 < len(text) <= REASON_CHARACTERS_MAX and text.isprintable()
    return fits and find_identifier(text) is None


def month_bounds(month: str) -> tuple[int, int] | None:
    """The first milliseconds of a Shanghai month such as 2023-08 and of the next; None if it is none."""
    if _MONTH.fullmatch(month) is None:
        return None
    first = date.fromisoformat(f"{month}-01")
    following = (first + timedelta(days=31)).replace(day=1)
    begins, ends = (to_ms(datetime.combine(one, datetime.min.time(), SHANGHAI)) for one in (first, following))
    return begins, ends
