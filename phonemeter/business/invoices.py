"""The invoices in the business database."""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, exists, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.sql.elements import ColumnElement

from dashboards.console.chinese_amount import fen_of
from dashboards.console.errors import RefusedChangeError
from dashboards.console.invoices import (
    INVOICED_ORDERS_MAX,
    INVOICES_LISTED_MAX,
    Invoice,
    InvoicedOrder,
    InvoiceState,
    ListedInvoice,
    month_bounds,
)
from dashboards.console.members import Actor
from phonemeter.business.audit_trail import note
from phonemeter.business.console_transaction import console_transaction
from phonemeter.business.database import BusinessDatabase
from phonemeter.business.invoice_rows import (
    invoice_of,
    invoiced_order,
    listed_invoices,
    orders_of,
)
from phonemeter.business.invoice_titles import found_title
from phonemeter.business.owners import lock_owner
from phonemeter.business.tables import INVOICE_ORDERS, INVOICES, ORDERS
from producers.clock import wall_clock_ms

TO_INVOICE: Final = ("paid", "active")
"""States of orders that an invoice can be applied for."""

REFUNDS: Final = ("refund_asked", "refunded")
"""States of orders whose money goes back, or may."""


class BusinessInvoices:
    """The invoices, as the console's protocol has them, and those of all owners for the command line."""

    def __init__(self, database: BusinessDatabase) -> None:
        self._database = database

    def orders_without_invoice(self, owner_id: str) -> Sequence[InvoicedOrder]:
        """Orders to apply for."""
        newest = (
            select(ORDERS)
            .where((ORDERS.c.owner_id == owner_id) & _to_invoice())
            .order_by(ORDERS.c.paid_at_ms.desc(), ORDERS.c.order_id.desc())
            .limit(INVOICED_ORDERS_MAX)
        )
        with console_transaction(self._database) as connection:
            return [invoiced_order(row) for row in connection.execute(newest)]

    def orders_to_invoice(
        self, owner_id: str, *, order_id: str = "", month: str = ""
    ) -> Sequence[InvoicedOrder]:
        """Orders that an application would take."""
        with console_transaction(self._database) as connection:
            try:
                return _chosen_orders(connection, owner_id, order_id, month)
            except RefusedChangeError:
                return []

    def apply(self, actor: Actor, title_id: str, *, order_id: str = "", month: str = "") -> str:
        """Apply for an invoice."""
        with console_transaction(self._database) as connection:
            lock_owner(connection, actor.owner_id)
            title = found_title(connection, actor.owner_id, title_id)
            orders = _chosen_orders(connection, actor.owner_id, order_id, month)
            amount = sum(one.amount_micro_yuan for one in orders)
            try:
                fen_of(amount)
            except ValueError:
                raise RefusedChangeError("no_whole_fen") from None
            row = {
                "invoice_id": _new_number(wall_clock_ms()),
                "owner_id": actor.owner_id,
                "kind": title.kind,
                "name": title.name,
                "tax_number": title.tax_number,
                "month": month,
                "amount_micro_yuan": amount,
                "state": "applied",
                "applied_at_ms": wall_clock_ms(),
                "applied_by": actor.who,
            }
            _store(connection, row, orders)
            note(connection, actor, "invoice_applied", str(row["invoice_id"]))
        return str(row["invoice_id"])

    def invoices_of(self, owner_id: str, before: str = "") -> Sequence[ListedInvoice]:
        """A page of the invoices of an owner, and one more."""
        older = INVOICES.c.invoice_id < before if before else INVOICES.c.invoice_id != ""
        with console_transaction(self._database) as connection:
            of_owner = (INVOICES.c.owner_id == owner_id) & older
            return listed_invoices(connection, of_owner, INVOICES_LISTED_MAX + 1)

    def in_state(self, state: InvoiceState | None, limit: int) -> Sequence[ListedInvoice]:
        """The newest invoices of all owners, of one state or of all."""
        chosen = INVOICES.c.invoice_id != "" if state is None else INVOICES.c.state == state
        with console_transaction(self._database) as connection:
            return listed_invoices(connection, chosen, limit)

    def invoice(self, owner_id: str, invoice_id: str) -> Invoice | None:
        """One invoice of an owner."""
        with console_transaction(self._database) as connection:
            found = invoice_of(connection, invoice_id)
        return found if found is not None and found.owner_id == owner_id else None

    def owner_of(self, invoice_id: str) -> str | None:
        """The id of the owner of an invoice; None if there is no such invoice."""
        with console_transaction(self._database) as connection:
            chosen = select(INVOICES.c.owner_id).where(INVOICES.c.invoice_id == invoice_id)
            found: str | None = connection.execute(chosen).scalar_one_or_none()
            return found

    def issue(self, actor: Actor, invoice_id: str) -> None:
        """Issue an invoice."""
        with console_transaction(self._database) as connection:
            _lock_in_state(connection, actor, invoice_id, "applied")
            states = (
                select(ORDERS.c.order_id)
                .join(INVOICE_ORDERS, INVOICE_ORDERS.c.order_id == ORDERS.c.order_id)
                .where((INVOICE_ORDERS.c.invoice_id == invoice_id) & ORDERS.c.state.in_(REFUNDS))
            )
            if connection.execute(states).first() is not None:
                raise RefusedChangeError("order_refunded")
            _change(
                connection, invoice_id, state="issued", decided_at_ms=wall_clock_ms(), decided_by=actor.who
            )
            note(connection, actor, "invoice_issued", invoice_id)

    def refuse(self, actor: Actor, invoice_id: str, reason: str) -> None:
        """Refuse an application."""
        with console_transaction(self._database) as connection:
            _lock_in_state(connection, actor, invoice_id, "applied")
            _change(
                connection,
                invoice_id,
                state="refused",
                decided_at_ms=wall_clock_ms(),
                decided_by=actor.who,
                decision_reason=reason,
            )
            _free_orders(connection, invoice_id)
            note(connection, actor, "invoice_refused", f"{invoice_id}: {reason}")

    def void(self, actor: Actor, invoice_id: str, reason: str) -> None:
        """Void an issued invoice."""
        with console_transaction(self._database) as connection:
            _lock_in_state(connection, actor, invoice_id, "issued")
            _change(
                connection,
                invoice_id,
                state="voided",
                voided_at_ms=wall_clock_ms(),
                voided_by=actor.who,
                void_reason=reason,
            )
            _free_orders(connection, invoice_id)
            note(connection, actor, "invoice_voided", f"{invoice_id}: {reason}")


def _new_number(now_ms: int) -> str:
    """A number that nobody can guess the next of; later invoices have larger ones."""
    return f"FP{now_ms:013}{secrets.randbelow(10**6):06}"


def _on_valid_invoice() -> ColumnElement[bool]:
    """The condition that an order is on an invoice that holds."""
    rows = INVOICE_ORDERS.c
    return exists().where((rows.order_id == ORDERS.c.order_id) & rows.is_valid)


def _to_invoice() -> ColumnElement[bool]:
    return ORDERS.c.state.in_(TO_INVOICE) & ~_on_valid_invoice()


def _chosen_orders(
    connection: Connection, owner_id: str, order_id: str, month: str
) -> Sequence[InvoicedOrder]:
    """The order, or those of the month, that an invoice is applied for.

    Raises:
        RefusedChangeError: there is none.
    """
    of_owner, to_invoice = ORDERS.c.owner_id == owner_id, _to_invoice()
    if not month:
        _refuse_order(connection, owner_id, order_id)
        return orders_of(connection, of_owner & (ORDERS.c.order_id == order_id) & to_invoice, 1)
    bounds = month_bounds(month)
    if bounds is None:
        raise RefusedChangeError("not_there")
    in_month = (ORDERS.c.paid_at_ms >= bounds[0]) & (ORDERS.c.paid_at_ms < bounds[1])
    found = orders_of(connection, of_owner & in_month & to_invoice, INVOICED_ORDERS_MAX)
    if not found:
        raise RefusedChangeError("nothing_to_invoice")
    return found


def _refuse_order(connection: Connection, owner_id: str, order_id: str) -> None:
    chosen = select(ORDERS.c.state, _on_valid_invoice().label("is_invoiced"))
    this = (ORDERS.c.order_id == order_id) & (ORDERS.c.owner_id == owner_id)
    row = connection.execute(chosen.where(this)).one_or_none()
    if row is None:
        raise RefusedChangeError("not_there")
    if row.is_invoiced:
        raise RefusedChangeError("invoiced_already")
    if row.state not in TO_INVOICE:
        raise RefusedChangeError("order_refunded" if row.state in REFUNDS else "nothing_to_invoice")


def _store(connection: Connection, row: Mapping[str, Any], orders: Sequence[InvoicedOrder]) -> None:
    connection.execute(insert(INVOICES).values(row))
    rows = [{"invoice_id": row["invoice_id"], "order_id": one.order_id, "is_valid": True} for one in orders]
    try:
        connection.execute(insert(INVOICE_ORDERS), rows)
    except IntegrityError:
        # Whoever writes past the lock, the database lets no order onto a second invoice.
        raise RefusedChangeError("invoiced_already") from None


def _lock_in_state(connection: Connection, actor: Actor, invoice_id: str, state: InvoiceState) -> None:
    """Have others wait who change the owner's invoices, and check the state of one.

    Raises:
        RefusedChangeError: it is another owner's, or in another state.
    """
    lock_owner(connection, actor.owner_id)
    this = (INVOICES.c.invoice_id == invoice_id) & (INVOICES.c.owner_id == actor.owner_id)
    found = connection.execute(select(INVOICES.c.state).where(this)).scalar_one_or_none()
    if found is None:
        raise RefusedChangeError("not_there")
    if found != state:
        raise RefusedChangeError("wrong_state")


def _change(connection: Connection, invoice_id: str, **changes: Any) -> None:  # noqa: ANN401 - of columns
    connection.execute(update(INVOICES).where(INVOICES.c.invoice_id == invoice_id).values(changes))


def _free_orders(connection: Connection, invoice_id: str) -> None:
    """Let the orders of an invoice that does not hold any more be applied for again."""
    of_invoice = INVOICE_ORDERS.c.invoice_id == invoice_id
    connection.execute(update(INVOICE_ORDERS).where(of_invoice).values(is_valid=False))
