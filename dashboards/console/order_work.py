"""The work on orders that no page does: they expire, refunds are decided by the ledger, money goes back."""

import asyncio
import logging
import time
from collections.abc import Sequence
from functools import partial
from typing import Final

from dashboards.console.errors import RecordsUnavailableError, RefusedChangeError
from dashboards.console.ledger_reads import LedgerReads
from dashboards.console.order_desk import OrderDesk
from dashboards.console.orders import OrderPayment, PackOrder
from dashboards.console.payments import PaymentUnavailableError, ReturnRequest, ReturnState
from dashboards.console.problems import ConsoleProblem
from dashboards.reads.refunds import read_refund_answer

log = logging.getLogger(__name__)

ROUND_S: Final = 1.0
AT_ONCE: Final = 200
RETURN_PAUSE_S: Final = 30.0
"""Time between two questions to a provider about the same return."""


class OrderWork:
    """The rounds of work.

    Args:
        desk: of the orders.
        reads: of the ledger; without it refunds wait.
    """

    def __init__(self, desk: OrderDesk, reads: LedgerReads | None) -> None:
        self._desk = desk
        self._reads = reads
        self._asked_s: dict[int, float] = {}
        self._troubles: dict[int, str] = {}

    def troubles(self) -> Sequence[str]:
        """The troubles of now: money that can't be given back."""
        return list(self._troubles.values())[:1]

    async def run(self) -> None:
        """Work round by round, until cancelled."""
        while True:
            try:
                await self.round()
            except RecordsUnavailableError as error:
                # The health of the console tells it.
                log.info("Orders can't be read now: %s", error)
            await asyncio.sleep(ROUND_S)

    async def round(self) -> None:
        """Work once on all that is due."""
        for order in await asyncio.to_thread(self._desk.orders.expire):
            log.info("The order %s was not paid in time.", order.order_id)
        for order in await asyncio.to_thread(self._desk.orders.in_state, "refund_asked", AT_ONCE):
            await self._decide(order)
        payments = await asyncio.to_thread(self._desk.orders.open_returns, AT_ONCE)
        for stale in self._asked_s.keys() - {one.payment_id for one in payments}:
            self._asked_s.pop(stale)
            self._troubles.pop(stale, None)
        for payment in payments:
            await self._give_back(payment)

    async def _decide(self, order: PackOrder) -> None:
        if self._reads is None or order.pack_id is None or order.refund_asked_at_ms is None:
            return
        read = partial(
            read_refund_answer,
            appid=order.appid,
            pack_id=order.pack_id,
            asked_at_ms=order.refund_asked_at_ms,
        )
        try:
            answer = await self._reads.read(read)
        except ConsoleProblem:
            return
        if answer is not None:
            await asyncio.to_thread(self._desk.orders.decide_refund, order.order_id, answer.refusal or None)

    async def _give_back(self, payment: OrderPayment) -> None:
        provider = self._desk.providers.get(payment.provider)
        now_s = time.monotonic()
        if now_s - self._asked_s.get(payment.payment_id, -RETURN_PAUSE_S) < RETURN_PAUSE_S:
            return
        self._asked_s[payment.payment_id] = now_s
        request = ReturnRequest(
            f"{payment.order_id}R{payment.payment_id}",
            payment.order_id,
            payment.transaction_id,
            payment.amount_micro_yuan,
        )
        try:
            # A way to pay that is not set up any more leaves it to an operator.
            state: ReturnState = "by_hand" if provider is None else await provider.give_back(request)
            await asyncio.to_thread(
                self._desk.orders.note_return, payment.payment_id, state, payment.provider
            )
        except (PaymentUnavailableError, RefusedChangeError) as error:
            self._troubles[payment.payment_id] = (
                f"The payment {payment.transaction_id} of the order {payment.order_id} is not given back "
                f"yet: {error}"
            )
            log.warning("%s", self._troubles[payment.payment_id])
        else:
            self._troubles.pop(payment.payment_id, None)
