"""The life of an order: what money does to it, and what it means for the ledger."""

from dashboards.console.facts import ConsoleFact, FactKind
from dashboards.console.orders import PackOrder, PaymentOutcome
from dashboards.console.payments import PaymentNotice
from metering.times import format_time


def outcome_of(order: PackOrder, notice: PaymentNotice) -> PaymentOutcome:
    """The outcome of money that comes for an order, from another transaction than any before."""
    if order.state in {"cancelled", "expired"}:
        return "order_ended"
    if not order.is_unpaid:
        return "paid_twice"
    return "accepted" if notice.amount_micro_yuan == order.price_micro_yuan else "wrong_amount"


def purchase_fact(order: PackOrder, paid_at_ms: int) -> ConsoleFact:
    """The fact that brings the pack of a paid order; for its id the worker knows a repeated one."""
    paid_at = format_time(paid_at_ms)
    data = {
        "pack_id": order.pack_id,
        "order_id": order.order_id,
        "capability": order.capability,
        "calls": order.calls,
        "validity_days": order.validity_days,
        "price_micro_yuan": order.price_micro_yuan,
        "paid_at": paid_at,
    }
    if order.kind == "assignment":
        return ConsoleFact("pack.assigned", order.appid, {**data, "assigned_at": paid_at}, paid_at_ms)
    return ConsoleFact("pack.purchased", order.appid, data, paid_at_ms)


def refund_fact(order: PackOrder, asked_at_ms: int) -> ConsoleFact:
    """The fact that asks for the refund of an order's pack, or cancels its assignment."""
    kind: FactKind = "pack.assignment_cancelled" if order.kind == "assignment" else "pack.refunded"
    return ConsoleFact(kind, order.appid, {"pack_id": order.pack_id}, asked_at_ms)
