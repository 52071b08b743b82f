"""Invoices and their orders, read from the rows of the business database."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, case, func, select
from sqlalchemy.sql.elements import ColumnElement

from dashboards.console.invoice_titles import TitleText
from dashboards.console.invoices import (
    INVOICED_ORDERS_MAX,
    Invoice,
    InvoicedOrder,
    InvoiceStep,
    ListedInvoice,
)
from phonemeter.business.tables import INVOICE_ORDERS, INVOICES, ORDERS


def invoiced_order(row: Row[Any]) -> InvoicedOrder:
    """An order as an invoice has it, from its row."""
    return InvoicedOrder(
        row.order_id,
        row.appid,
        row.capability,
        row.calls,
        row.validity_days,
        row.price_micro_yuan,
        row.paid_at_ms,
        row.state == "refunded",
    )


def orders_of(connection: Connection, condition: ColumnElement[bool], limit: int) -> Sequence[InvoicedOrder]:
    """The orders for which a condition holds, by time of payment."""
    chosen = select(ORDERS).where(condition).order_by(ORDERS.c.paid_at_ms, ORDERS.c.order_id).limit(limit)
    return [invoiced_order(row) for row in connection.execute(chosen)]


def invoice_of(connection: Connection, invoice_id: str) -> Invoice | None:
    """The invoice of a number, of whichever owner; None if there is none."""
    chosen = select(INVOICES).where(INVOICES.c.invoice_id == invoice_id)
    row = connection.execute(chosen).one_or_none()
    if row is None:
        return None
    on_it = select(INVOICE_ORDERS.c.order_id).where(INVOICE_ORDERS.c.invoice_id == invoice_id)
    return Invoice(
        row.invoice_id,
        row.owner_id,
        TitleText(row.kind, row.name, row.tax_number),
        row.month,
        row.amount_micro_yuan,
        row.state,
        InvoiceStep(row.applied_at_ms, row.applied_by),
        _step(row.decided_at_ms, row.decided_by, row.decision_reason),
        _step(row.voided_at_ms, row.voided_by, row.void_reason),
        tuple(orders_of(connection, ORDERS.c.order_id.in_(on_it), INVOICED_ORDERS_MAX)),
    )


def listed_invoices(
    connection: Connection, condition: ColumnElement[bool], limit: int
) -> Sequence[ListedInvoice]:
    """The invoices for which a condition holds, the newest first, with how many orders each has."""
    refunded = func.sum(case((ORDERS.c.state == "refunded", 1), else_=0))
    counts = (
        select(
            INVOICE_ORDERS.c.invoice_id,
            func.count().label("orders"),
            refunded.label("refunded"),
        )
        .join(ORDERS, ORDERS.c.order_id == INVOICE_ORDERS.c.order_id)
        .where(
            INVOICE_ORDERS.c.invoice_id.in_(
                select(INVOICES.c.invoice_id)
                .where(condition)
                .order_by(INVOICES.c.invoice_id.desc())
                .limit(limit)
            )
        )
        .group_by(INVOICE_ORDERS.c.invoice_id)
        .subquery()
    )
    chosen = (
        select(INVOICES, counts.c.orders, counts.c.refunded)
        .join(counts, counts.c.invoice_id == INVOICES.c.invoice_id)
        .order_by(INVOICES.c.invoice_id.desc())
    )
    return [
        ListedInvoice(
            row.invoice_id,
            row.owner_id,
            TitleText(row.kind, row.name, row.tax_number),
            row.month,
            row.amount_micro_yuan,
            row.state,
            InvoiceStep(row.applied_at_ms, row.applied_by),
            int(row.orders),
            int(row.refunded),
        )
        for row in connection.execute(chosen)
    ]


def _step(at_ms: int | None, who: str | None, reason: str | None) -> InvoiceStep | None:
    return None if at_ms is None else InvoiceStep(at_ms, who or "", reason or "")
