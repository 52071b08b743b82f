"""The desk of orders: what the pages do with orders, with the ways to pay that are set up."""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Final

from dashboards.console.errors import RefusedChangeError
from dashboards.console.languages import WORDINGS
from dashboards.console.members import SignedInMember
from dashboards.console.orders import OrderHistory, OrderKind, OrderStore, PackOrder, PaymentOutcome
from dashboards.console.overview_rows import CAPABILITY_NAMES
from dashboards.console.payments import (
    PaymentNotice,
    PaymentProvider,
    PaymentRequest,
    PaymentUnavailableError,
)
from metering.catalogue import Offer

log = logging.getLogger(__name__)

PATH: Final = "/orders"


def order_address(order_id: str) -> str:
    """The address of an order's page, which asks for the terms and takes the payment."""
    return f"{PATH}/{order_id}"


class OrderDesk:
    """The desk that creates, pays and ends orders.

    The page of buying calls `create` with the offer that was chosen and a text that its form carries once,
    and goes to `order_address`: the order's page asks for the terms and the way to pay.

    Attributes:
        orders: the store.
        providers: by name, the ways to pay; empty if none is set up.
        offers: the price list.
        billing_start_ms: a pack paid before takes effect then (rule 6).
    """

    def __init__(
        self,
        orders: OrderStore,
        providers: Sequence[PaymentProvider],
        offers: Sequence[Offer],
        billing_start_ms: int,
    ) -> None:
        self.orders = orders
        self.providers: Mapping[str, PaymentProvider] = {one.name: one for one in providers}
        self.offers = tuple(offers)
        self.billing_start_ms = billing_start_ms

    async def create(
        self, member: SignedInMember, appid: str, offer: Offer, once: str, kind: OrderKind = "purchase"
    ) -> PackOrder:
        """Create an order; the same one if the form is sent twice.

        Args:
            member: who buys; the app has to be of the owner that is shown.
            appid: the app that gets the pack.
            offer: one of `offers`.
            once: of the form, made anew each time it is shown, such as `secrets.token_hex(16)`.
            kind: whether an agency assigns the pack.

        Raises:
            RefusedChangeError: the offer or the app is not there (`not_there`), or there are too many unpaid
                orders (`too_many`).
            RecordsUnavailableError: the database does not answer.
        """
        if offer not in self.offers or appid not in member.apps or not once:
            raise RefusedChangeError("not_there")
        return await asyncio.to_thread(self.orders.create, member.actor, appid, offer, once, kind)

    async def find(self, member: SignedInMember, order_id: str) -> OrderHistory | None:
        """An order of the owner that is shown."""
        return await asyncio.to_thread(self.orders.find, member.membership.owner_id, order_id)

    async def pay(self, member: SignedInMember, order_id: str, provider_name: str) -> PackOrder:
        """Begin to pay an order in a way; the terms count as accepted now.

        Raises:
            RefusedChangeError: the order or the way is not there, or it can't be paid any more.
            PaymentUnavailableError: the provider does not answer.
        """
        found = await self.find(member, order_id)
        provider = self.providers.get(provider_name)
        if found is None or provider is None:
            raise RefusedChangeError("not_there")
        order = found.order
        if not order.is_unpaid or order.expires_at_ms <= _now_ms():
            raise RefusedChangeError("wrong_state")
        if order.provider == provider_name and order.offer_text is not None:
            return order
        if order.provider is not None:
            await self._close(order)
        offer = await provider.begin(
            PaymentRequest(order_id, order.price_micro_yuan, description_of(order), order.expires_at_ms)
        )
        return await asyncio.to_thread(
            self.orders.begin_payment, member.actor, order_id, provider_name, offer
        )

    async def notice(self, provider_name: str, notice: PaymentNotice, who: str = "") -> PaymentOutcome:
        """Note money that came, as a provider or an operator (`who`) says; any number of times."""
        outcome = await asyncio.to_thread(
            self.orders.take_notice, provider_name, notice, who or provider_name
        )
        log.info("Payment %s of order %s: %s", notice.transaction_id, notice.order_id, outcome)
        return outcome

    async def cancel(self, member: SignedInMember, order_id: str) -> PackOrder:
        """End an unpaid order.

        Raises:
            RefusedChangeError: it is not there, or is paid.
        """
        order = await asyncio.to_thread(self.orders.cancel, member.actor, order_id)
        await self._close(order)
        return order

    async def _close(self, order: PackOrder) -> None:
        """Let an order be paid no more in the way that was chosen; what comes all the same goes back."""
        provider = self.providers.get(order.provider or "")
        if provider is None:
            return
        try:
            await provider.close(order.order_id)
        except PaymentUnavailableError as error:
            log.warning("The order %s is not closed at %s: %s", order.order_id, provider.name, error)


def description_of(order: PackOrder) -> str:
    """The goods of an order, as WeChat's own orders name them."""
    return f"{WORDINGS['zh'].text(CAPABILITY_NAMES[order.capability])}-{order.calls}次"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
