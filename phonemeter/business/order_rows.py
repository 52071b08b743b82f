"""Rows of orders: read, locked, changed with a step and a line in the audit trail."""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, insert, select, update

from dashboards.console.errors import RefusedChangeError
from dashboards.console.members import Actor
from dashboards.console.orders import OrderPayment, OrderStep, PackOrder, StepName
from phonemeter.business.audit_trail import note
from phonemeter.business.tables import ORDER_STEPS, ORDERS, PAYMENTS
from producers.clock import wall_clock_ms

FIELDS = tuple(field.name for field in msgspec.structs.fields(PackOrder))


def read_orders(connection: Connection, chosen: Any) -> list[PackOrder]:  # noqa: ANN401 - a select with its types
    """The orders of a selection of the table's rows."""
    return [_order(row) for row in connection.execute(chosen)]


def find_order(connection: Connection, order_id: str) -> PackOrder | None:
    """The order of a number."""
    found = read_orders(connection, select(ORDERS).where(ORDERS.c.order_id == order_id))
    return found[0] if found else None


def locked_order(connection: Connection, order_id: str, owner_id: str | None = None) -> PackOrder:
    """The order of a number, which nobody else changes in this transaction.

    By a statement that writes: SQLite begins a transaction only with one.

    Raises:
        RefusedChangeError: there is none, or it is another owner's.
    """
    this = ORDERS.c.order_id == order_id
    if owner_id is not None:
        this &= ORDERS.c.owner_id == owner_id
    connection.execute(update(ORDERS).where(this).values(version=ORDERS.c.version))
    found = read_orders(connection, select(ORDERS).where(this))
    if not found:
        raise RefusedChangeError("not_there")
    return found[0]


def changed_order(
    connection: Connection,
    order: PackOrder,
    who: str,
    what: StepName,
    changes: Mapping[str, object],
    details: str = "",
) -> PackOrder:
    """The order after a change, which is stored if it still is as it was read.

    Raises:
        RefusedChangeError: it was changed meanwhile.
    """
    as_read = (ORDERS.c.order_id == order.order_id) & (ORDERS.c.version == order.version)
    values = {**changes, "version": order.version + 1}
    if connection.execute(update(ORDERS).where(as_read).values(values)).rowcount != 1:
        raise RefusedChangeError("wrong_state")
    note_step(connection, order, who, what, details)
    return msgspec.structs.replace(order, **values)


def note_step(connection: Connection, order: PackOrder, who: str, what: StepName, details: str = "") -> None:
    """Write a line of the order's history, and one of the audit trail."""
    row = {
        "order_id": order.order_id,
        "at_ms": wall_clock_ms(),
        "who": who,
        "what": what,
        "details": details,
    }
    connection.execute(insert(ORDER_STEPS).values(row))
    subject = f"{order.order_id} {details}".strip()
    note(connection, Actor(who, order.owner_id), f"order_{what}", subject)


def steps_of(connection: Connection, order_id: str) -> Sequence[OrderStep]:
    """The history of an order."""
    columns = ORDER_STEPS.c
    chosen = select(columns.at_ms, columns.who, columns.what, columns.details).where(
        columns.order_id == order_id
    )
    return [OrderStep(*row) for row in connection.execute(chosen.order_by(columns.step_id))]


def payments_of(connection: Connection, condition: Any, limit: int) -> Sequence[OrderPayment]:  # noqa: ANN401 - the same
    """The payments of a condition, the oldest first."""
    columns = [PAYMENTS.c[field.name] for field in msgspec.structs.fields(OrderPayment)]
    chosen = select(*columns).where(condition).order_by(PAYMENTS.c.payment_id).limit(limit)
    return [OrderPayment(*row) for row in connection.execute(chosen)]


def new_order_id(connection: Connection) -> str:
    """A number that no order has: the time in milliseconds, and six digits by chance."""
    while True:
        order_id = f"DD{wall_clock_ms():013d}{secrets.randbelow(10**6):06d}"
        if find_order(connection, order_id) is None:
            return order_id


def _order(row: Any) -> PackOrder:  # noqa: ANN401 - a row of any selection
    return PackOrder(**{name: row._mapping[name] for name in FIELDS})  # noqa: SLF001 - its public name
