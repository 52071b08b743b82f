"""The pages with figures, as a part of the console: overview, usage, buying, charge notices, first run."""

import asyncio
from collections.abc import Sequence

from dashboards.console.buying_guide import GuideStore
from dashboards.console.cause_desk import CauseDesk
from dashboards.console.facts import FactDesk
from dashboards.console.key_desk import KeyDesk
from dashboards.console.languages import marked
from dashboards.console.ledger_changes import LedgerChanges
from dashboards.console.ledger_reads import LedgerReads
from dashboards.console.live_streams import LiveStreams
from dashboards.console.order_desk import OrderDesk
from dashboards.console.overviews import Overviews
from dashboards.console.page_guard import ConsolePage
from dashboards.console.pages import balance, first_run, overview, usage
from dashboards.console.pages.buy import BuyPages
from dashboards.console.pages.buying_guide import GuidePages
from dashboards.console.pages.charge_notices import ChargeNoticePages
from dashboards.http.pool import ReadPool


class FigurePages:
    """The pages, all of which need the ledger.

    Attributes:
        reads: of the ledger, for other parts.

    Args:
        pool: of the threads that read ClickHouse; it is closed at the end.
        keys: the API keys.
        desk: of orders.
        facts: that pages record.
        gateway: address that back ends send events to.
        causes: explains differences to WeChat's count; without it they are shown only.
        guide: remembers how far apps have got in buying at WeChat; without it there is no guide.
    """

    def __init__(  # noqa: PLR0917 - what its pages need, each from another part
        self,
        pool: ReadPool,
        keys: KeyDesk,
        desk: OrderDesk,
        facts: FactDesk,
        gateway: str,
        causes: CauseDesk | None = None,
        guide: GuideStore | None = None,
    ) -> None:
        self._pool = pool
        self.reads = self._reads = LedgerReads(pool)
        background = self._reads.in_background()
        self._overviews = Overviews(self._reads, background)
        self._changes = LedgerChanges(self._reads)
        streams = LiveStreams(self._changes)
        self._overview = overview.OverviewPage(self._overviews, streams)
        self._usage = usage.AppUsagePage(self._reads, background, self._overviews, streams)
        self._balance = balance.BalancePage(self._reads, self._overviews, causes)
        self._buying = BuyPages(self._reads, self._overviews, desk, facts, has_guide=guide is not None)
        self._guide = None if guide is None else GuidePages(self._overviews, guide)
        self._notices = ChargeNoticePages(self._reads, self._overviews, facts, desk.billing_start_ms)
        self._first_run = first_run.FirstRunPage(self._reads, keys, gateway)

    @property
    def pages(self) -> Sequence[ConsolePage]:
        """The pages."""
        return [
            ConsolePage(overview.PATH, self._overview.show, title=marked("Overview")),
            ConsolePage(overview.LIVE_PATH, self._overview.live, is_use=False),
            ConsolePage(usage.PATH, self._usage.first, title=marked("My usage")),
            ConsolePage(f"{usage.PATH}/{{appid}}", self._usage.show),
            ConsolePage(f"{usage.PATH}/{{appid}}/live", self._usage.live, is_use=False),
            ConsolePage(f"{usage.PATH}/{{appid}}/calls.csv", self._usage.file),
            ConsolePage(f"{usage.PATH}/{{appid}}/balance", self._balance.show),
            *self._buying.pages,
            *([] if self._guide is None else self._guide.pages),
            *self._notices.pages,
            ConsolePage(first_run.PATH, self._first_run.show),
            ConsolePage(f"{first_run.PATH}/state", self._first_run.state),
        ]

    def troubles(self) -> Sequence[str]:
        """The troubles of now."""
        return self._reads.troubles()

    async def run(self) -> None:
        """Watch ClickHouse and read overviews until cancelled, then end the threads."""
        try:
            await asyncio.gather(self._reads.run(), self._overviews.run(), self._changes.run())
        finally:
            self._pool.close()
