"""The orders in the business database; each change puts what it means for the ledger into the outbox."""

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec.structs import asdict
from sqlalchemy import Connection, func, insert, or_, select, update

from dashboards.console.errors import RefusedChangeError
from dashboards.console.members import Actor
from dashboards.console.order_life import outcome_of, purchase_fact, refund_fact
from dashboards.console.orders import (
    OPEN_ORDERS_MAX,
    TERMS,
    UNPAID_MS,
    OrderFilter,
    OrderHistory,
    OrderKind,
    OrderPayment,
    OrderState,
    PackOrder,
    PaymentOutcome,
    StepName,
)
from dashboards.console.payments import PaymentNotice, PaymentOffer, ReturnState
from metering.catalogue import Offer
from phonemeter.business.audit_trail import COMMAND_LINE
from phonemeter.business.console_transaction import console_transaction
from phonemeter.business.database import BusinessDatabase
from phonemeter.business.fact_desk import event_of, refuse_others
from phonemeter.business.order_rows import (
    changed_order,
    find_order,
    locked_order,
    new_order_id,
    note_step,
    payments_of,
    read_orders,
    steps_of,
)
from phonemeter.business.outbox import put
from phonemeter.business.owners import lock_owner
from phonemeter.business.tables import ORDERS, PAYMENTS
from producers.clock import wall_clock_ms

ONCE_CHARACTERS_MAX: Final = 63
UNPAID: Final[tuple[OrderState, ...]] = ("created", "paying")
EXPIRED_AT_ONCE: Final = 200
PAYMENTS_SHOWN: Final = 100

SURPLUS: Final[Mapping[PaymentOutcome, StepName]] = {
    "wrong_amount": "wrong_amount",
    "order_ended": "order_ended",
    "paid_twice": "paid_twice",
}
RETURNS: Final[Mapping[ReturnState, StepName]] = {
    "under_way": "return_under_way",
    "by_hand": "return_by_hand",
    "returned": "returned",
}


class BusinessOrders:
    """The orders, as the console's protocol has them."""

    def __init__(self, database: BusinessDatabase) -> None:
        self._database = database

    def create(
        self, actor: Actor, appid: str, offer: Offer, once: str, kind: OrderKind = "purchase"
    ) -> PackOrder:
        """Create an order, one per `once`."""
        key = f"{actor.owner_id}:{once[:ONCE_CHARACTERS_MAX]}"
        with console_transaction(self._database) as connection:
            lock_owner(connection, actor.owner_id)
            earlier = read_orders(connection, select(ORDERS).where(ORDERS.c.once == key))
            if earlier:
                return earlier[0]
            refuse_others(connection, actor, appid)
            unpaid = ORDERS.c.state.in_(UNPAID) & (ORDERS.c.owner_id == actor.owner_id)
            count = select(func.count()).select_from(ORDERS).where(unpaid)
            if connection.execute(count).scalar_one() >= OPEN_ORDERS_MAX:
                raise RefusedChangeError("too_many")
            now_ms = wall_clock_ms()
            order = PackOrder(
                order_id=new_order_id(connection),
                owner_id=actor.owner_id,
                appid=appid,
                kind=kind,
                capability=offer.capability,
                calls=offer.calls,
                validity_days=offer.validity_days,
                price_micro_yuan=offer.price_micro_yuan,
                list_price_micro_yuan=offer.list_price_micro_yuan,
                state="created",
                version=1,
                created_by=actor.who,
                created_at_ms=now_ms,
                expires_at_ms=now_ms + UNPAID_MS,
            )
            connection.execute(insert(ORDERS).values({**asdict(order), "once": key}))
            note_step(connection, order, actor.who, "created")
        return order

    def find(self, owner_id: str, order_id: str) -> OrderHistory | None:
        """An order of an owner with its history."""
        with console_transaction(self._database) as connection:
            order = find_order(connection, order_id)
            if order is None or order.owner_id != owner_id:
                return None
            payments = payments_of(connection, PAYMENTS.c.order_id == order_id, PAYMENTS_SHOWN)
            return OrderHistory(order, steps_of(connection, order_id), payments)

    def list_orders(self, owner_id: str, chosen: OrderFilter) -> Sequence[PackOrder]:
        """Orders of an owner, the newest first."""
        with console_transaction(self._database) as connection:
            return listed_orders(connection, owner_id, chosen)

    def begin_payment(self, actor: Actor, order_id: str, provider: str, offer: PaymentOffer) -> PackOrder:
        """Note the way to pay; the terms count from the first time."""
        with console_transaction(self._database) as connection:
            order = locked_order(connection, order_id, actor.owner_id)
            now_ms = wall_clock_ms()
            if not order.is_unpaid or order.expires_at_ms <= now_ms:
                raise RefusedChangeError("wrong_state")
            changes = {
                "state": "paying",
                "provider": provider,
                "offer_kind": offer.kind,
                "offer_text": offer.text,
                "expires_at_ms": max(order.expires_at_ms, offer.expires_at_ms),
                "terms": TERMS,
                "terms_at_ms": order.terms_at_ms if order.terms == TERMS else now_ms,
            }
            return changed_order(connection, order, actor.who, "paying", changes, provider)

    def take_notice(self, provider: str, notice: PaymentNotice, who: str) -> PaymentOutcome:
        """Note money that came, each transaction once."""
        with console_transaction(self._database) as connection:
            try:
                order = locked_order(connection, notice.order_id)
            except RefusedChangeError:
                return "no_order"
            same = (PAYMENTS.c.provider == provider) & (PAYMENTS.c.transaction_id == notice.transaction_id)
            if connection.execute(select(PAYMENTS.c.payment_id).where(same)).first() is not None:
                return "repeated"
            outcome = outcome_of(order, notice)
            row = {
                "order_id": order.order_id,
                "provider": provider,
                "transaction_id": notice.transaction_id,
                "amount_micro_yuan": notice.amount_micro_yuan,
                "paid_at_ms": notice.paid_at_ms,
                "noted_at_ms": wall_clock_ms(),
                "noted_by": who,
                "outcome": outcome,
                "return_state": None if outcome == "accepted" else "open",
            }
            connection.execute(insert(PAYMENTS).values(row))
            if outcome == "accepted":
                _take_payment(connection, order, provider, notice, who)
            else:
                note_step(connection, order, who, SURPLUS[outcome], notice.transaction_id)
        return outcome

    def cancel(self, actor: Actor, order_id: str) -> PackOrder:
        """End an unpaid order."""
        with console_transaction(self._database) as connection:
            order = locked_order(connection, order_id, actor.owner_id)
            if order.state == "cancelled":
                return order
            if not order.is_unpaid:
                raise RefusedChangeError("wrong_state")
            return changed_order(connection, order, actor.who, "cancelled", {"state": "cancelled"})

    def ask_refund(self, actor: Actor, order_id: str, refusal: str | None) -> PackOrder:
        """Ask for a refund, or note why there is none."""
        with console_transaction(self._database) as connection:
            order = locked_order(connection, order_id, actor.owner_id)
            if order.state == "refund_asked" and refusal is None:
                return order
            if order.state != "active":
                raise RefusedChangeError("wrong_state")
            now_ms = wall_clock_ms()
            changes = {"refund_asked_at_ms": now_ms, "refund_refusal": refusal}
            if refusal is not None:
                return changed_order(connection, order, actor.who, "refund_refused", changes, refusal)
            changes["state"] = "refund_asked"
            asked = changed_order(connection, order, actor.who, "refund_asked", changes)
            put(connection, order.owner_id, event_of(refund_fact(asked, now_ms), now_ms), order_id)
            return asked

    def decide_refund(self, order_id: str, refusal: str | None) -> PackOrder:
        """Note what the ledger says; with the pack goes the money."""
        with console_transaction(self._database) as connection:
            order = locked_order(connection, order_id)
            if order.state != "refund_asked":
                return order
            if refusal is not None:
                changes = {"state": "active", "refund_refusal": refusal}
                return changed_order(connection, order, COMMAND_LINE, "refund_refused", changes, refusal)
            paid = (PAYMENTS.c.order_id == order_id) & (PAYMENTS.c.outcome == "accepted")
            connection.execute(update(PAYMENTS).where(paid).values(return_state="open"))
            return changed_order(connection, order, COMMAND_LINE, "refunded", {"state": "refunded"})

    def expire(self) -> Sequence[PackOrder]:
        """End orders that were not paid in time."""
        late = ORDERS.c.state.in_(UNPAID) & (ORDERS.c.expires_at_ms <= wall_clock_ms())
        with console_transaction(self._database) as connection:
            numbers = connection.execute(
                select(ORDERS.c.order_id).where(late).order_by(ORDERS.c.order_id).limit(EXPIRED_AT_ONCE)
            ).scalars()
            ended = []
            for order_id in list(numbers):
                order = locked_order(connection, order_id)
                if order.is_unpaid and order.expires_at_ms <= wall_clock_ms():
                    ended.append(
                        changed_order(connection, order, COMMAND_LINE, "expired", {"state": "expired"})
                    )
        return ended

    def in_state(self, state: OrderState, limit: int) -> Sequence[PackOrder]:
        """Orders of all owners in a state."""
        chosen = select(ORDERS).where(ORDERS.c.state == state).order_by(ORDERS.c.order_id).limit(limit)
        with console_transaction(self._database) as connection:
            return read_orders(connection, chosen)

    def open_returns(self, limit: int) -> Sequence[OrderPayment]:
        """Payments that are not back yet."""
        with console_transaction(self._database) as connection:
            return payments_of(connection, PAYMENTS.c.return_state.in_(("open", "under_way")), limit)

    def note_return(self, payment_id: int, state: ReturnState, who: str) -> None:
        """Note how far the return of a payment is."""
        with console_transaction(self._database) as connection:
            (payment,) = payments_of(connection, PAYMENTS.c.payment_id == payment_id, 1)
            order = locked_order(connection, payment.order_id)
            changes = {
                "return_state": state,
                "returned_at_ms": wall_clock_ms() if state == "returned" else None,
            }
            unlike = (
                (PAYMENTS.c.payment_id == payment_id)
                & PAYMENTS.c.return_state.is_not(None)
                & PAYMENTS.c.return_state.not_in((state, "returned"))
            )
            if connection.execute(update(PAYMENTS).where(unlike).values(changes)).rowcount:
                note_step(connection, order, who, RETURNS[state], payment.transaction_id)


def listed_orders(connection: Connection, owner_id: str | None, chosen: OrderFilter) -> list[PackOrder]:
    """Orders as a filter has them, of one owner or of all."""
    rows = select(ORDERS)
    if owner_id is not None:
        rows = rows.where(ORDERS.c.owner_id == owner_id)
    if chosen.states:
        rows = rows.where(ORDERS.c.state.in_(chosen.states))
    if chosen.search:
        columns = (ORDERS.c.order_id, ORDERS.c.appid, ORDERS.c.pack_id)
        rows = rows.where(or_(*(one.contains(chosen.search, autoescape=True) for one in columns)))
    if chosen.before:
        rows = rows.where(ORDERS.c.order_id < chosen.before)
    return read_orders(connection, rows.order_by(ORDERS.c.order_id.desc()).limit(chosen.limit))


def _take_payment(
    connection: Connection, order: PackOrder, provider: str, notice: PaymentNotice, who: str
) -> None:
    now_ms = wall_clock_ms()
    changes = {
        "state": "paid",
        "provider": provider,
        "paid_at_ms": notice.paid_at_ms,
        "pack_id": order.order_id,
    }
    paid = changed_order(connection, order, who, "paid", changes, notice.transaction_id)
    put(connection, order.owner_id, event_of(purchase_fact(paid, notice.paid_at_ms), now_ms), order.order_id)
