"""Payments: the ways in which an order can be paid, as the console asks for them."""

from typing import Final, Literal, Protocol

from msgspec import Struct

from dashboards.console.languages import marked

WECHAT_PAY: Final = marked("WeChat Pay")
"""Title of that way to pay; texts of pages are looked for in this folder."""

OfferKind = Literal[
    # A text to show as a QR code.
    "qr",
    # Instructions for a transfer by a bank, as text with line feeds.
    "transfer",
    # A button on the order's page that pays at once, for trying out.
    "link",
]

ReturnState = Literal[
    # The money is back.
    "returned",
    # The provider has taken the request and says later.
    "under_way",
    # Somebody has to transfer it, and notes it then.
    "by_hand",
]

StoredReturn = ReturnState | Literal["open"]
"""The state of the return of a payment; `open` until the provider was asked."""


class PaymentRequest(Struct, frozen=True):
    """An order that somebody wants to pay.

    Attributes:
        order_id: the number of the order, 21 characters.
        amount_micro_yuan: what it costs; always whole fen.
        description: what is bought, in Chinese, for the payer's own records.
        expires_at_ms: when the order ends without a payment.
    """

    order_id: str
    amount_micro_yuan: int
    description: str
    expires_at_ms: int


class PaymentOffer(Struct, frozen=True):
    """The offer of a provider to take the money for one order.

    Attributes:
        kind: how it is shown.
        text: the QR text, the instructions, or nothing.
        expires_at_ms: until when it can be used; the order lives as long.
    """

    kind: OfferKind
    text: str
    expires_at_ms: int


class PaymentNotice(Struct, frozen=True):
    """A notice that money has come for an order. The same transaction may be told often and counts once.

    Attributes:
        order_id: the number of the order.
        transaction_id: the provider's name of the payment, at most 64 characters.
        amount_micro_yuan: what was paid.
        paid_at_ms: when.
    """

    order_id: str
    transaction_id: str
    amount_micro_yuan: int
    paid_at_ms: int


class ReturnRequest(Struct, frozen=True):
    """A payment that goes back whole: of a refunded order, or one that no order wants.

    Attributes:
        return_id: the same for each attempt, so that a provider returns it once.
        order_id, transaction_id, amount_micro_yuan: those of its notice.
    """

    return_id: str
    order_id: str
    transaction_id: str
    amount_micro_yuan: int


class PaymentUnavailableError(Exception):
    """A provider does not answer, or refuses; the message is one sentence for operators."""


class PaymentProvider(Protocol):
    """A way to pay. Each method raises PaymentUnavailableError if the provider can't do it now."""

    @property
    def name(self) -> str:
        """Its name in records, at most 16 characters: `test`, `transfer`, `wechat`."""

    @property
    def title(self) -> str:
        """Its name on pages, in English and marked for translation."""

    async def begin(self, request: PaymentRequest) -> PaymentOffer:
        """Offer to take the money; for the same order again, the same or another offer."""

    async def look(self, order_id: str) -> PaymentNotice | None:
        """Ask the provider whether money has come; None if not, or if it can't be asked."""

    async def close(self, order_id: str) -> None:
        """Let an order that ended unpaid be paid no more; one that is closed already is no error."""

    async def give_back(self, request: ReturnRequest) -> ReturnState:
        """Give a payment back, or tell how far that is; asked again until it is back."""
