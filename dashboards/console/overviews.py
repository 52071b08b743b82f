"""The overview of each owner, kept for a while: its forecast takes longer to read than a visitor waits."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from dashboards.console.ledger_reads import LedgerReads
from dashboards.console.overview_rows import RECENT_DAYS, OverviewRow, overview_rows
from dashboards.reads.apps import read_outlooks
from dashboards.reads.differences import read_differences
from dashboards.reads.recent_use import read_recent_use
from metering.times import DAY_MS, parse_time, shanghai_date

FRESH_S: Final = 15.0
SHOWN_S: Final = 300.0
OWNERS_MAX: Final = 64


class Overview(NamedTuple):
    """All rows of an owner, as of a time."""

    as_of_ms: int
    rows: list[OverviewRow]


class _Kept(NamedTuple):
    overview: Overview
    read_at_s: float


class Overviews:
    """Overviews by owner.

    One is read again if it is asked for when it is older than 15 s. Up to 5 minutes it is shown meanwhile;
    the page says as of when it is.
    """

    def __init__(self, reads: LedgerReads, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._reads = reads
        self._monotonic_s = monotonic_s
        self._kept: OrderedDict[tuple[str, ...], _Kept] = OrderedDict()
        self._under_way: dict[tuple[str, ...], asyncio.Task[Overview]] = {}

    async def of(self, apps: Sequence[str]) -> Overview:
        """The overview of an owner's apps.

        Raises:
            ConsoleProblem: there is none, and it can't be read.
        """
        owner = tuple(sorted(apps))
        kept = self._kept.get(owner)
        age_s = SHOWN_S if kept is None else self._monotonic_s() - kept.read_at_s
        if kept is not None and age_s < FRESH_S:
            return kept.overview
        reading = self._reading(owner)
        if kept is not None and age_s < SHOWN_S:
            return kept.overview
        return await asyncio.shield(reading)

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
        # One after the other would take their sum; each has a thread of its own.
        listed, counts, clock = await asyncio.gather(
            self._reads.read(lambda ask: read_outlooks(ask, owner)),
            self._reads.read(lambda ask: read_differences(ask, owner)),
            self._reads.clock(),
        )
        today = shanghai_date(clock.now_ms)
        first = shanghai_date(clock.now_ms - (RECENT_DAYS - 1) * DAY_MS)
        use = await self._reads.read(lambda ask: read_recent_use(ask, owner, first, today))
        found = Overview(
            parse_time(listed.as_of), overview_rows(listed.apps, use, counts, today, clock.now_ms)
        )
        if not found.rows:
            # Kept, it would send a visitor back to the first run after the first event.
            return found
        self._kept[owner] = _Kept(found, self._monotonic_s())
        self._kept.move_to_end(owner)
        while len(self._kept) > OWNERS_MAX:
            self._kept.popitem(last=False)
        return found
