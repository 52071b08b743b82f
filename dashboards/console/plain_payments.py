"""Ways to pay without a service: a button for trying out, and a transfer by a bank that somebody confirms."""

from typing import Final

from dashboards.console.languages import marked
from dashboards.console.payments import (
    PaymentNotice,
    PaymentOffer,
    PaymentRequest,
    ReturnRequest,
    ReturnState,
)
from metering.times import DAY_MS

TRANSFER_MS: Final = 7 * DAY_MS
"""Time for a transfer to arrive, from when it was chosen."""


class TestPayments:
    """Payments for trying out: the order's page has a button that pays, and no money moves."""

    __test__ = False
    name = "test"
    title = marked("Test payment")

    async def begin(self, request: PaymentRequest) -> PaymentOffer:
        """Offer the button."""
        return PaymentOffer("link", "", request.expires_at_ms)

    async def look(self, order_id: str) -> PaymentNotice | None:  # noqa: ARG002 - the protocol's
        """Know nothing: the button tells the desk itself."""
        return None

    async def close(self, order_id: str) -> None:
        """Do nothing: the desk takes no money for an order that ended."""

    async def give_back(self, request: ReturnRequest) -> ReturnState:  # noqa: ARG002 - the protocol's
        """Give back what never was."""
        return "returned"


class BankTransfer:
    """Transfers by a bank, of a person or a company; an operator confirms that the money is there.

    Args:
        account: whom to pay, by lines.
    """

    name = "transfer"
    title = marked("Bank transfer")

    def __init__(self, account: str) -> None:
        self._account = account

    async def begin(self, request: PaymentRequest) -> PaymentOffer:
        """Tell the account; the order waits for the transfer."""
        expires_at_ms = request.expires_at_ms + TRANSFER_MS
        return PaymentOffer("transfer", self._account, expires_at_ms)

    async def look(self, order_id: str) -> PaymentNotice | None:  # noqa: ARG002 - the protocol's
        """Know nothing: no bank is asked."""
        return None

    async def close(self, order_id: str) -> None:
        """Do nothing: what arrives all the same is transferred back."""

    async def give_back(self, request: ReturnRequest) -> ReturnState:  # noqa: ARG002 - the protocol's
        """Leave it to an operator."""
        return "by_hand"
