"""The facts that overviews are made of: of some apps, or of all."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from dashboards.console.ledger_reads import LedgerReads
from dashboards.console.overview_rows import OverviewRow, overview_rows
from dashboards.reads.app_names import unique_names
from dashboards.reads.apps import AppList, AppOutlook, read_open_alerts
from dashboards.reads.clock import ClockReading
from dashboards.reads.differences import Differences, read_differences
from dashboards.reads.line_counts import read_line_counts
from dashboards.reads.open_packs import read_open_packs
from dashboards.reads.outlooks import outlooks_of, read_holdings
from dashboards.reads.recent_use import RecentUse, read_recent_use
from metering.times import parse_time, shanghai_date


class Overview(NamedTuple):
    """All rows of an owner, as of a time at which the ledger had at least so many lines of the apps."""

    as_of_ms: int
    rows: list[OverviewRow]
    lines: int


class KnownApps(NamedTuple):
    """The names of an owner's apps, unique among these, and the differences to the platform's count."""

    names: Mapping[str, str]
    differences: Differences


class OverviewFacts(NamedTuple):
    """The facts about some apps or about all, read together; `read_at_s` is on a monotonic clock."""

    clock: ClockReading
    apps: Mapping[str, AppOutlook]
    use: RecentUse
    differences: Differences
    lines: Mapping[str, int]
    as_of_ms: int
    read_at_s: float

    def overview(self, owner: Sequence[str]) -> Overview:
        """The overview of an owner's apps; names are made unique among these, never among others'."""
        wanted = frozenset(owner)
        apps = [app for appid, app in self.apps.items() if appid in wanted]
        today = shanghai_date(self.clock.now_ms)
        return Overview(
            self.as_of_ms,
            overview_rows(apps, self.use, self.differences, today, self.clock.now_ms),
            sum(self.lines.get(appid, 0) for appid in wanted),
        )

    def known(self, owner: Sequence[str]) -> KnownApps:
        """The names and differences of an owner's apps, without their overview."""
        names = {appid: self.apps[appid].name for appid in owner if appid in self.apps}
        differences = {key: calls for key, calls in self.differences.items() if key[0] in names}
        return KnownApps(unique_names(names), differences)


async def read_overview_facts(
    reads: LedgerReads, apps: Sequence[str] | None, monotonic_s: Callable[[], float]
) -> OverviewFacts:
    """Read the facts about some apps, or about all.

    Raises:
        ConsoleProblem: they can't be read.
    """
    # Before everything else: what arrives meanwhile is a change.
    lines = await reads.read(lambda ask: read_line_counts(ask, apps))
    clock = await reads.clock()
    holdings, packs, use, alerts, differences = await asyncio.gather(
        reads.read(lambda ask: read_holdings(ask, apps)),
        reads.read(lambda ask: read_open_packs(ask, apps)),
        reads.read(lambda ask: read_recent_use(ask, apps, clock.now_ms)),
        reads.read(lambda ask: read_open_alerts(ask, apps)),
        reads.read(lambda ask: read_differences(ask, apps)),
    )
    listed: AppList = await asyncio.to_thread(outlooks_of, clock, holdings, packs, use, alerts)
    return OverviewFacts(
        clock,
        {app.appid: app for app in listed.apps},
        use,
        differences,
        lines,
        parse_time(listed.as_of),
        monotonic_s(),
    )
