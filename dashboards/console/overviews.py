"""The overview of each owner, kept for a while; all apps are read from the start on, so that nobody waits."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, TypeVar

from dashboards.console.ledger_reads import LedgerReads
from dashboards.console.overview_rows import OverviewRow, overview_rows
from dashboards.console.problems import ConsoleProblem
from dashboards.reads.apps import AppList, AppOutlook, read_open_alerts
from dashboards.reads.asking import Ask
from dashboards.reads.clock import ClockReading
from dashboards.reads.differences import KnownDifference, read_differences
from dashboards.reads.line_counts import read_line_counts
from dashboards.reads.open_packs import read_open_packs
from dashboards.reads.outlooks import outlooks_of, read_holdings
from dashboards.reads.recent_use import RecentUse, read_recent_use
from metering.times import parse_time, shanghai_date

FRESH_MIN_S: Final = 3.0
FRESH_MAX_S: Final = 15.0
FRESH_READS: Final = 10
"""An overview is fresh for ten times as long as it took to read, within these limits."""

SHOWN_S: Final = 300.0
OWNERS_MAX: Final = 64
EVERYTHING_PAUSE_S: Final = 60.0
EVERYTHING_READS: Final = 20
"""All apps are read again after a minute, or after twenty times as long as it took."""

T = TypeVar("T")


class Overview(NamedTuple):
    """All rows of an owner, as of a time at which the ledger had at least so many lines of the apps."""

    as_of_ms: int
    rows: list[OverviewRow]
    lines: int


class _Facts(NamedTuple):
    """The facts that overviews are made of: of some apps, or of all."""

    clock: ClockReading
    apps: Mapping[str, AppOutlook]
    use: RecentUse
    counts: Mapping[tuple[str, str], KnownDifference]
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
            overview_rows(apps, self.use, self.counts, today, self.clock.now_ms),
            sum(self.lines.get(appid, 0) for appid in wanted),
        )


class _Kept(NamedTuple):
    overview: Overview
    read_at_s: float
    fresh_s: float


class Overviews:
    """Overviews by owner.

    One is read again if it is asked for when it is no longer fresh. Up to 5 minutes it is shown meanwhile, or
    what was read of all apps; the page says as of when it is.
    """

    def __init__(self, reads: LedgerReads, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._reads = reads
        self._monotonic_s = monotonic_s
        self._everything: _Facts | None = None
        self._kept: OrderedDict[tuple[str, ...], _Kept] = OrderedDict()
        self._under_way: dict[tuple[str, ...], asyncio.Task[Overview]] = {}

    async def of(self, apps: Sequence[str]) -> Overview:
        """The overview of an owner's apps.

        Raises:
            ConsoleProblem: there is none, and it can't be read.
        """
        owner = tuple(sorted(apps))
        kept = self._kept.get(owner)
        if kept is not None and self._age_s(kept.read_at_s) < kept.fresh_s:
            return kept.overview
        reading = self._reading(owner)
        if kept is not None and self._age_s(kept.read_at_s) < SHOWN_S:
            return kept.overview
        everything = self._everything
        if everything is not None and self._age_s(everything.read_at_s) < SHOWN_S:
            overview = everything.overview(owner)
            if overview.rows:
                return overview
        return await asyncio.shield(reading)

    async def newest(self, apps: Sequence[str], lines: int) -> Overview:
        """The overview of an owner's apps that has at least so many lines of the ledger.

        It is read no more often than for visitors: this waits while the one that is kept is fresh.

        Raises:
            ConsoleProblem: it can't be read.
        """
        owner = tuple(sorted(apps))
        while True:
            kept = self._kept.get(owner)
            if kept is not None and kept.overview.lines >= lines:
                return kept.overview
            if kept is not None and (left_s := kept.fresh_s - self._age_s(kept.read_at_s)) > 0:
                await asyncio.sleep(left_s)
            found = await asyncio.shield(self._reading(owner))
            if owner not in self._kept:
                return found

    async def run(self) -> None:
        """Read the overviews of all apps again and again, until cancelled."""
        while True:
            began_s = self._monotonic_s()
            try:
                self._everything = await self._facts(None)
            except ConsoleProblem:
                # The reads have logged it. Where one answer can't hold all apps, owners wait for theirs.
                self._everything = None
            took_s = self._monotonic_s() - began_s
            await asyncio.sleep(max(EVERYTHING_PAUSE_S, EVERYTHING_READS * took_s))

    def _age_s(self, read_at_s: float) -> float:
        return self._monotonic_s() - read_at_s

    def _reading(self, owner: tuple[str, ...]) -> asyncio.Task[Overview]:
        under_way = self._under_way.get(owner)
        if under_way is None:
            under_way = self._under_way[owner] = asyncio.create_task(self._read(owner))
            under_way.add_done_callback(lambda task: self._forget(owner, task))
        return under_way

    def _forget(self, owner: tuple[str, ...], task: asyncio.Task[Overview]) -> None:
        del self._under_way[owner]
        # Whoever waits has the error; if nobody does, the log has it.
        if not task.cancelled():
            task.exception()

    async def _read(self, owner: tuple[str, ...]) -> Overview:
        began_s = self._monotonic_s()
        facts = await self._facts(owner)
        found = facts.overview(owner)
        if not found.rows:
            # Kept, it would send a visitor back to the first run after the first event.
            return found
        fresh_s = min(FRESH_MAX_S, max(FRESH_MIN_S, FRESH_READS * (facts.read_at_s - began_s)))
        self._kept[owner] = _Kept(found, facts.read_at_s, fresh_s)
        self._kept.move_to_end(owner)
        while len(self._kept) > OWNERS_MAX:
            self._kept.popitem(last=False)
        return found

    async def _facts(self, apps: Sequence[str] | None) -> _Facts:
        # Before everything else: what arrives meanwhile is a change.
        lines = await self._reads.read(lambda ask: read_line_counts(ask, apps))
        clock = await self._reads.clock()
        # One after the other would take their sum; each has a thread of its own. In the background nobody
        # waits, and the other threads are left to visitors.
        turns = asyncio.Semaphore(1 if apps is None else 5)

        async def read(one: Callable[[Ask], T]) -> T:
            async with turns:
                return await self._reads.read(one)

        holdings, packs, use, alerts, counts = await asyncio.gather(
            read(lambda ask: read_holdings(ask, apps)),
            read(lambda ask: read_open_packs(ask, apps)),
            read(lambda ask: read_recent_use(ask, apps, clock.now_ms)),
            read(lambda ask: read_open_alerts(ask, apps)),
            read(lambda ask: read_differences(ask, apps)),
        )
        listed: AppList = await asyncio.to_thread(outlooks_of, clock, holdings, packs, use, alerts)
        return _Facts(
            clock,
            {app.appid: app for app in listed.apps},
            use,
            counts,
            lines,
            parse_time(listed.as_of),
            self._monotonic_s(),
        )
