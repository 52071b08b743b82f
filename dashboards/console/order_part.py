"""The orders as a part of the console: their pages, and the work on them."""

from collections.abc import Sequence

from dashboards.console.ledger_reads import LedgerReads
from dashboards.console.order_desk import OrderDesk
from dashboards.console.order_work import OrderWork
from dashboards.console.page_guard import ConsolePage
from dashboards.console.pages.order import OrderPages
from dashboards.console.pages.orders import OrderListPages


class OrderPart:
    """The part.

    Args:
        desk: of the orders.
        reads: of the ledger, which has the last word on refunds.
    """

    def __init__(self, desk: OrderDesk, reads: LedgerReads | None) -> None:
        self._pages = [*OrderListPages(desk).pages, *OrderPages(desk, reads).pages]
        self._work = OrderWork(desk, reads)

    @property
    def pages(self) -> Sequence[ConsolePage]:
        """The pages."""
        return self._pages

    def troubles(self) -> Sequence[str]:
        """The troubles of now."""
        return self._work.troubles()

    async def run(self) -> None:
        """Work on orders, until cancelled."""
        await self._work.run()
