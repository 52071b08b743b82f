"""Orders: purchases of packs through the console, their states, and the store of them."""

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple, Protocol

from msgspec import Struct

from dashboards.console.members import Actor
from dashboards.console.payments import OfferKind, PaymentNotice, PaymentOffer, ReturnState, StoredReturn
from metering.catalogue import Offer
from metering.events import Capability
from metering.times import HOUR_MS

OrderState = Literal[
    # It can be paid, and nobody has begun to.
    "created",
    # A way to pay was chosen; money may come at any moment.
    "paying",
    # The money is there, and the pack on its way to the ledger.
    "paid",
    # The pack is in the log of events.
    "active",
    # Somebody has ended it before it was paid.
    "cancelled",
    # Nobody has paid in time.
    "expired",
    # The pack is to be given back: the log has the request, the ledger has the last word.
    "refund_asked",
    # The pack was given back.
    "refunded",
]

OrderKind = Literal[
    # The owner buys for an app of its own.
    "purchase",
    # An agency buys, and assigns the pack to an app.
    "assignment",
]

PaymentOutcome = Literal[
    # It pays the order.
    "accepted",
    # The same transaction was told before: nothing changes.
    "repeated",
    # It is not what the order costs; the order stays unpaid and the money goes back.
    "wrong_amount",
    # The order was cancelled or has expired; the money goes back.
    "order_ended",
    # The order is paid already by another transaction; the money goes back.
    "paid_twice",
    # There is no such order; nothing is stored.
    "no_order",
]

StepName = Literal[
    "created",
    "paying",
    "paid",
    "active",
    "cancelled",
    "expired",
    "refund_asked",
    "refund_refused",
    "refunded",
    # Money that does not pay the order, by its outcome.
    "wrong_amount",
    "order_ended",
    "paid_twice",
    # Money that goes back.
    "return_under_way",
    "return_by_hand",
    "returned",
]

UNPAID_MS: Final = 2 * HOUR_MS
"""Life of an order that is not paid, unless the offer of a provider is good for longer."""

TERMS: Final = "2023-08"
"""The version of the terms that are to be accepted before paying."""

OPEN_ORDERS_MAX: Final = 100
"""Unpaid orders of one owner."""


class PackOrder(Struct, frozen=True):
    """An order of one pack.

    Attributes:
        order_id: `DD` and 19 digits; later orders have larger ones.
        owner_id: whose it is.
        appid: the app that gets the pack.
        kind: bought for the own app, or assigned by an agency.
        capability, calls, validity_days: what is bought.
        price_micro_yuan: what it costs.
        list_price_micro_yuan: what it would cost without a discount.
        state: how far it is.
        version: the number of its changes; a change of what has changed meanwhile is refused.
        created_by: the member who ordered it.
        created_at_ms: when.
        expires_at_ms: when it ends if it is not paid.
        terms: the version of the terms that were accepted.
        terms_at_ms: when they were.
        provider: the way to pay that was chosen.
        offer_kind, offer_text: of that provider's offer.
        paid_at_ms: when it was paid.
        pack_id: the id of its pack in the ledger, once it is paid.
        refund_asked_at_ms: when a refund was asked for, the last time.
        refund_refusal: why that was refused: a reason of rule 10.
    """

    order_id: str
    owner_id: str
    appid: str
    kind: OrderKind
    capability: Capability
    calls: int
    validity_days: int
    price_micro_yuan: int
    list_price_micro_yuan: int
    state: OrderState
    version: int
    created_by: str
    created_at_ms: int
    expires_at_ms: int
    terms: str | None = None
    terms_at_ms: int | None = None
    provider: str | None = None
    offer_kind: OfferKind | None = None
    offer_text: str | None = None
    paid_at_ms: int | None = None
    pack_id: str | None = None
    refund_asked_at_ms: int | None = None
    refund_refusal: str | None = None

    @property
    def is_unpaid(self) -> bool:
        """True while it can be paid."""
        return self.state in {"created", "paying"}

    def starts_at_ms(self, at_ms: int, billing_start_ms: int) -> int:
        """The start of its pack if it is paid at a time: not before billing starts (rule 6)."""
        return max(at_ms if self.paid_at_ms is None else self.paid_at_ms, billing_start_ms)


class OrderStep(Struct, frozen=True):
    """A line of the history of an order."""

    at_ms: int
    who: str
    what: StepName
    details: str


class OrderPayment(Struct, frozen=True):
    """Money that came for an order; with a `return_state` it goes back."""

    payment_id: int
    order_id: str
    provider: str
    transaction_id: str
    amount_micro_yuan: int
    paid_at_ms: int
    outcome: PaymentOutcome
    return_state: StoredReturn | None
    returned_at_ms: int | None


class OrderFilter(Struct, frozen=True):
    """The orders that are asked for.

    Attributes:
        states: only these; empty for all.
        search: in the number, the app or the pack.
        before: only numbers smaller than this one, for the next page.
        limit: how many at most.
    """

    states: tuple[OrderState, ...] = ()
    search: str = ""
    before: str = ""
    limit: int = 50


class OrderHistory(NamedTuple):
    """An order with all that happened to it."""

    order: PackOrder
    steps: Sequence[OrderStep]
    payments: Sequence[OrderPayment]


class OrderStore(Protocol):
    """The orders. Blocking.

    Each method raises RecordsUnavailableError if the database does not answer. Those that change something
    raise RefusedChangeError: `not_there` for an order or app that is not the actor's owner's, `wrong_state`
    where the state does not allow it. Each change writes a step and a line of the audit trail.
    """

    def create(self, actor: Actor, appid: str, offer: Offer, once: str, kind: OrderKind) -> PackOrder:
        """Create an order; with the same `once` of the same owner, return the one that was created."""

    def find(self, owner_id: str, order_id: str) -> OrderHistory | None:
        """An order of an owner; None for one of another."""

    def list_orders(self, owner_id: str, chosen: OrderFilter) -> Sequence[PackOrder]:
        """Orders of an owner, the newest first."""

    def begin_payment(self, actor: Actor, order_id: str, provider: str, offer: PaymentOffer) -> PackOrder:
        """Note the way to pay and that the terms were accepted now; the order is `paying` from then on."""

    def take_notice(self, provider: str, notice: PaymentNotice, who: str) -> PaymentOutcome:
        """Note money that came; if it pays the order, its pack is in the outbox with it."""

    def cancel(self, actor: Actor, order_id: str) -> PackOrder:
        """End an unpaid order; one that is cancelled stays so."""

    def ask_refund(self, actor: Actor, order_id: str, refusal: str | None) -> PackOrder:
        """Ask for a refund, whose request is in the outbox with it; or note why it is refused at once."""

    def decide_refund(self, order_id: str, refusal: str | None) -> PackOrder:
        """Note what the ledger says of a refund that was asked for."""

    def expire(self) -> Sequence[PackOrder]:
        """End the orders that were not paid in time; returns them."""

    def in_state(self, state: OrderState, limit: int) -> Sequence[PackOrder]:
        """Orders of all owners in a state, the oldest first."""

    def open_returns(self, limit: int) -> Sequence[OrderPayment]:
        """Payments of all owners that are not back yet, the oldest first."""

    def note_return(self, payment_id: int, state: ReturnState, who: str) -> None:
        """Note how far the return of a payment is."""
