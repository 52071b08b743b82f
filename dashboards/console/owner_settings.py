"""The pages of what owners set up for their apps, as a part of the console: member card, alerts, levels."""

import asyncio
from collections.abc import Sequence

from dashboards.console.alert_desk import AlertDesk
from dashboards.console.facts import FactDesk
from dashboards.console.ledger_reads import LedgerReads
from dashboards.console.page_guard import ConsolePage
from dashboards.console.pages.alert_levels import AlertLevelPages
from dashboards.console.pages.alerts import AlertPages
from dashboards.console.pages.member_card import MemberCardPages
from dashboards.console.pages.recipients import RecipientPages
from dashboards.console.recipients import RecipientDesk
from dashboards.console.setting_work import TAKES_HOLD_S, SettingWork
from dashboards.http.pool import ReadPool
from metering.rules import Rules


class OwnerSettingPages:
    """The pages, which read the ledger and write facts.

    Args:
        pool: of the threads that read ClickHouse; it is closed at the end.
        facts: the outbox.
        alerts: the notifier's routes and log.
        recipients: whom alerts reach besides; None where owners do not set them up.
        rules: whose thresholds hold where an owner has set none.
        takes_hold_s: how long a page waits at most for a setting to be in the ledger.
    """

    def __init__(
        self,
        pool: ReadPool,
        facts: FactDesk,
        alerts: AlertDesk,
        recipients: RecipientDesk | None,
        rules: Rules,
        takes_hold_s: float = TAKES_HOLD_S,
    ) -> None:
        self._pool = pool
        work = SettingWork(LedgerReads(pool), facts, takes_hold_s)
        self._parts = (
            MemberCardPages(work),
            AlertPages(work, alerts, recipients),
            *(() if recipients is None else (RecipientPages(recipients),)),
            AlertLevelPages(work, rules),
        )

    @property
    def pages(self) -> Sequence[ConsolePage]:
        """The pages."""
        return [page for part in self._parts for page in part.pages]

    def troubles(self) -> Sequence[str]:
        """No troubles of its own: the pages with figures tell of ClickHouse."""
        return ()

    async def run(self) -> None:
        """Wait until cancelled, then end the threads."""
        try:
            await asyncio.Event().wait()
        finally:
            self._pool.close()
