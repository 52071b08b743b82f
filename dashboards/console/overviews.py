"""The overview of each owner, kept for a while; all apps are read from the start on, so that nobody waits."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from dashboards.console.ledger_reads import LedgerReads
from dashboards.console.overview_facts import KnownApps, Overview, OverviewFacts, read_overview_facts
from dashboards.console.problems import ConsoleProblem
from dashboards.reads.app_names import read_app_names
from dashboards.reads.differences import Differences, read_differences

FRESH_MIN_S: Final = 3.0
FRESH_MAX_S: Final = 15.0
FRESH_READS: Final = 10
"""An overview is fresh for ten times as long as it took to read, within these limits."""

SHOWN_S: Final = 300.0
OWNERS_MAX: Final = 64
EVERYTHING_PAUSE_S: Final = 60.0
EVERYTHING_READS: Final = 20
"""All apps are read again after a minute, or after twenty times as long as it took."""


class _Kept(NamedTuple):
    overview: Overview
    known: KnownApps
    read_at_s: float
    fresh_s: float


class Overviews:
    """Overviews by owner.

    One is read again if it is asked for when it is no longer fresh. Up to 5 minutes it is shown meanwhile, or
    what was read of all apps; the page says as of when it is.

    Args:
        reads: for a visitor who waits.
        background: for all other reads.
        monotonic_s: the clock.
    """

    def __init__(
        self, reads: LedgerReads, background: LedgerReads, monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._reads = reads
        self._background = background
        self._monotonic_s = monotonic_s
        self._everything: OverviewFacts | None = None
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
        shown = self._shown(owner)
        if shown is None:
            return await asyncio.shield(self._reading(owner, self._reads))
        self._reading(owner, self._background)
        return shown

    async def names(self, apps: Sequence[str]) -> Mapping[str, str]:
        """The names of an owner's apps, at most minutes old, unique among these.

        Raises:
            ConsoleProblem: they can't be read.
        """
        known = self._known(apps)
        if known is not None:
            return known.names
        return {app.appid: app.name for app in await self._reads.read(lambda ask: read_app_names(ask, apps))}

    async def differences(self, apps: Sequence[str], appid: str) -> Differences:
        """The differences to the platform's count, at most minutes old: of one of an owner's apps at least.

        Raises:
            ConsoleProblem: they can't be read.
        """
        known = self._known(apps)
        if known is not None:
            return known.differences
        return await self._reads.read(lambda ask: read_differences(ask, (appid,)))

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
            found = await asyncio.shield(self._reading(owner, self._background))
            if owner not in self._kept:
                return found

    async def run(self) -> None:
        """Read the overviews of all apps again and again, until cancelled."""
        while True:
            began_s = self._monotonic_s()
            try:
                self._everything = await read_overview_facts(self._background, None, self._monotonic_s)
            except ConsoleProblem:
                # The reads have logged it. Where one answer can't hold all apps, owners wait for theirs.
                self._everything = None
            took_s = self._monotonic_s() - began_s
            await asyncio.sleep(max(EVERYTHING_PAUSE_S, EVERYTHING_READS * took_s))

    def _age_s(self, read_at_s: float) -> float:
        return self._monotonic_s() - read_at_s

    def _shown(self, owner: tuple[str, ...]) -> Overview | None:
        kept = self._kept.get(owner)
        if kept is not None and self._age_s(kept.read_at_s) < SHOWN_S:
            return kept.overview
        everything = self._recent_everything()
        overview = None if everything is None else everything.overview(owner)
        return overview if overview is not None and overview.rows else None

    def _known(self, apps: Sequence[str]) -> KnownApps | None:
        owner = tuple(sorted(apps))
        kept = self._kept.get(owner)
        if kept is not None and self._age_s(kept.read_at_s) < SHOWN_S:
            return kept.known
        everything = self._recent_everything()
        known = None if everything is None else everything.known(owner)
        return known if known is not None and known.names else None

    def _recent_everything(self) -> OverviewFacts | None:
        everything = self._everything
        is_recent = everything is not None and self._age_s(everything.read_at_s) < SHOWN_S
        return everything if is_recent else None

    def _reading(self, owner: tuple[str, ...], reads: LedgerReads) -> asyncio.Task[Overview]:
        under_way = self._under_way.get(owner)
        if under_way is None:
            under_way = self._under_way[owner] = asyncio.create_task(self._read(owner, reads))
            under_way.add_done_callback(lambda task: self._forget(owner, task))
        return under_way

    def _forget(self, owner: tuple[str, ...], task: asyncio.Task[Overview]) -> None:
        del self._under_way[owner]
        # Whoever waits has the error; if nobody does, the log has it.
        if not task.cancelled():
            task.exception()

    async def _read(self, owner: tuple[str, ...], reads: LedgerReads) -> Overview:
        began_s = self._monotonic_s()
        facts = await read_overview_facts(reads, owner, self._monotonic_s)
        found = facts.overview(owner)
        if not found.rows:
            # Kept, it would send a visitor back to the first run after the first event.
            return found
        fresh_s = min(FRESH_MAX_S, max(FRESH_MIN_S, FRESH_READS * (facts.read_at_s - began_s)))
        self._kept[owner] = _Kept(found, facts.known(owner), facts.read_at_s, fresh_s)
        self._kept.move_to_end(owner)
        while len(self._kept) > OWNERS_MAX:
            self._kept.popitem(last=False)
        return found
