"""The watch over orders that are being paid: providers are asked, so that a lost notice loses no payment."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Final, Literal

from dashboards.console.errors import RecordsUnavailableError
from dashboards.console.facts import RefusedFactError
from dashboards.console.order_desk import OrderDesk
from dashboards.console.orders import PackOrder
from dashboards.console.page_guard import ConsolePage
from dashboards.console.payments import PaymentProvider, PaymentUnavailableError
from metering.times import DAY_MS, MINUTE_MS, SECOND_MS

log = logging.getLogger(__name__)

ROUND_S: Final = 2.0
"""Pause between two rounds, in which the orders are asked about whose turn it is."""

FIRST_MS: Final = 5 * SECOND_MS
"""Pause after the first question about an order; each further one is twice as long."""

LAST_MS: Final = 5 * MINUTE_MS
WATCHED_MAX: Final = 10_000
ENDED_MS: Final = DAY_MS
"""Time for which a provider is asked to close an order that ended; WeChat Pay sends notices as long."""

TROUBLE_MS: Final = 5 * MINUTE_MS
"""Time after which a provider that does not answer is a trouble of the console."""


class _Turn:
    """The time at which something is asked next: after pauses that double."""

    def __init__(self, now_ms: int) -> None:
        self.since_ms = now_ms
        self.next_ms = now_ms
        self._pause_ms = FIRST_MS

    def put_off(self, now_ms: int) -> None:
        self.next_ms = now_ms + self._pause_ms
        self._pause_ms = min(2 * self._pause_ms, LAST_MS)


class _ProviderFailure(_Turn):
    """A provider that does not answer, since when, and its sentence."""

    sentence = ""


class PaymentWatch:
    """Asks the providers about orders in `paying` until they are paid, and closes those that ended unpaid.

    Args:
        desk: has the orders and the providers.
        now_ms: the clock.
    """

    def __init__(self, desk: OrderDesk, now_ms: Callable[[], int] | None = None) -> None:
        self._desk = desk
        self._now_ms = now_ms or _wall_clock_ms
        self._watched: dict[str, tuple[PackOrder, _Turn]] = {}
        self._failures: dict[str, _ProviderFailure] = {}

    @property
    def pages(self) -> Sequence[ConsolePage]:
        """No pages."""
        return ()

    def troubles(self) -> Sequence[str]:
        """Providers that have not answered for a while."""
        since_ms = self._now_ms() - TROUBLE_MS
        return [
            f"Payments by {name} can't be asked about: {one.sentence}"
            for name, one in self._failures.items()
            if one.since_ms <= since_ms
        ]

    async def run(self) -> None:
        """Ask round after round, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(ROUND_S)

    async def look(self) -> None:
        """Ask about each order whose turn it is."""
        try:
            paying = await asyncio.to_thread(self._desk.orders.in_state, "paying", WATCHED_MAX)
            known = {order.order_id for order in paying}
            for order in paying:
                turn = self._watched.get(order.order_id, (order, _Turn(self._now_ms())))[1]
                # The way to pay may be another one by now.
                self._watched[order.order_id] = (order, turn)
                await self._asked(order, turn)
            for order_id in [one for one in self._watched if one not in known]:
                await self._left(*self._watched[order_id])
        except RecordsUnavailableError as error:
            # The health of the console tells it.
            log.info("Orders can't be read now: %s", error)

    async def _asked(self, order: PackOrder, turn: _Turn) -> Literal["paid", "unpaid"] | None:
        """Ask about an order if it is its turn; None if it was not, or if there was no answer."""
        provider = self._due(order, turn)
        if provider is None:
            return None
        try:
            notice = await provider.look(order.order_id)
        except PaymentUnavailableError as error:
            self._failed(provider, error)
            return None
        self._failures.pop(provider.name, None)
        if notice is None:
            return "unpaid"
        try:
            await self._desk.notice(provider.name, notice)
        except RefusedFactError as error:
            log.warning(
                "The payment %s of the order %s is not taken: %s",
                notice.transaction_id,
                order.order_id,
                error,
            )
            return None
        return "paid"

    async def _left(self, order: PackOrder, turn: _Turn) -> None:
        """Close an order that is not `paying` any more at its provider, unless it was paid."""
        found = await asyncio.to_thread(self._desk.orders.find, order.owner_id, order.order_id)
        over = self._now_ms() - turn.since_ms > ENDED_MS
        if found is None or found.order.state not in {"cancelled", "expired"} or over:
            del self._watched[order.order_id]
            return
        # Money that came at the last moment is noted, and goes back; without any, none may come later.
        answer = await self._asked(order, turn)
        if answer == "paid" or (answer == "unpaid" and await self._closed(order)):
            del self._watched[order.order_id]

    async def _closed(self, order: PackOrder) -> bool:
        provider = self._desk.providers[order.provider or ""]
        try:
            await provider.close(order.order_id)
        except PaymentUnavailableError as error:
            log.warning("The order %s is not closed at %s: %s", order.order_id, provider.name, error)
            return False
        return True

    def _due(self, order: PackOrder, turn: _Turn) -> PaymentProvider | None:
        now_ms = self._now_ms()
        provider = self._desk.providers.get(order.provider or "")
        if provider is None or turn.next_ms > now_ms:
            return None
        failure = self._failures.get(provider.name)
        if failure is not None and failure.next_ms > now_ms:
            return None
        turn.put_off(now_ms)
        return provider

    def _failed(self, provider: PaymentProvider, error: PaymentUnavailableError) -> None:
        now_ms = self._now_ms()
        failure = self._failures.setdefault(provider.name, _ProviderFailure(now_ms))
        failure.sentence = str(error)
        failure.put_off(now_ms)


def _wall_clock_ms() -> int:
    return time.time_ns() // 1_000_000
