"""The figures of one capability of an app, read for it alone: what is left, until when, what to decide."""

import asyncio
from collections.abc import Awaitable
from typing import NamedTuple

from dashboards.console.ledger_reads import LedgerReads
from dashboards.console.overview_rows import OverviewRow, overview_rows
from dashboards.console.quotas import Quota, quota_of
from dashboards.reads.apps import read_open_alerts
from dashboards.reads.clock import ClockReading
from dashboards.reads.differences import Differences
from dashboards.reads.expected import ExpectedUse, expected_use
from dashboards.reads.open_packs import open_packs_of
from dashboards.reads.outlooks import foretold_of, outlook_of, read_holdings
from dashboards.reads.packs import read_packs
from dashboards.reads.recent_use import read_recent_use
from metering.times import shanghai_date, shanghai_day


class CapabilityFigures(NamedTuple):
    """The figures of one capability.

    Attributes:
        quota: None without any event of the app.
        expected: its forecast; empty without any event.
        row: that of the overview; None for a capability that the app does not use.
    """

    quota: Quota | None
    expected: ExpectedUse
    row: OverviewRow | None


async def read_app_figures(
    reads: LedgerReads, clock: ClockReading, appid: str, capability: str, differences: Awaitable[Differences]
) -> CapabilityFigures:
    """Read the figures of an app; differences to the platform's count, which take long to find, are given."""
    apps = (appid,)
    holdings, packs, use, alerts, found = await asyncio.gather(
        reads.read(lambda ask: read_holdings(ask, apps)),
        reads.read(lambda ask: read_packs(ask, appid).packs),
        reads.read(lambda ask: read_recent_use(ask, apps, clock.now_ms)),
        reads.read(lambda ask: read_open_alerts(ask, apps)),
        differences,
    )
    held = {one.capability: one for one in holdings.get(appid, [])}
    if not held:
        return CapabilityFigures(None, ExpectedUse(None, {}, {}), None)
    foretold = foretold_of(list(held.values()), open_packs_of(appid, packs), use, clock.now_ms)
    pace = use.paces(appid, shanghai_day(clock.now_ms) - 1)[capability]
    expected = expected_use(pace, foretold[capability], clock.now_ms)
    own = [pack for pack in packs if pack.capability == capability]
    app = outlook_of(list(held.values()), foretold, alerts)
    rows = overview_rows([app], use, found, shanghai_date(clock.now_ms), clock.now_ms)
    return CapabilityFigures(
        quota_of(held[capability], own, expected.lapsing, clock.now_ms),
        expected,
        next((row for row in rows if row.capability == capability), None),
    )
