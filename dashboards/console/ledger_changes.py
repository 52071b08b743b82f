"""Changes of the ledger, by app: one question every few seconds for all who look on, none if nobody does."""

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from dashboards.console.ledger_reads import LedgerReads
from dashboards.console.problems import ConsoleProblem
from dashboards.reads.line_counts import read_line_counts

LOOK_S: Final = 2.0
LOOK_READS: Final = 10
"""Looks are ten times as far apart as one takes, and two seconds at least."""


class WatchedApps:
    """The apps that somebody looks at, and how many lines the ledger has of them.

    Attributes:
        apps: their ids.
        lines: the newest count; -1 before the first.
    """

    def __init__(self, apps: Sequence[str]) -> None:
        self.apps = frozenset(apps)
        self.lines = -1
        self._changed = asyncio.Event()

    def count(self, counts: Mapping[str, int]) -> None:
        """Take the newest counts; whoever waits goes on if there are more."""
        lines = sum(counts.get(appid, 0) for appid in self.apps)
        if lines != self.lines:
            self.lines = lines
            self._changed.set()

    async def wait(self, seen: int, within_s: float) -> int:
        """Wait for another count than was seen, but not for long; the newest count."""
        try:
            async with asyncio.timeout(within_s):
                while self.lines in {seen, -1}:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            pass
        return self.lines


class LedgerChanges:
    """The looks at the ledger."""

    def __init__(self, reads: LedgerReads) -> None:
        self._reads = reads
        self._watched: set[WatchedApps] = set()
        self._wanted = asyncio.Event()

    @contextmanager
    def watching(self, apps: Sequence[str]) -> Iterator[WatchedApps]:
        """Watch apps in the block."""
        watched = WatchedApps(apps)
        self._watched.add(watched)
        self._wanted.set()
        try:
            yield watched
        finally:
            self._watched.discard(watched)

    async def run(self) -> None:
        """Look, while somebody does, until cancelled."""
        while True:
            if not self._watched:
                self._wanted.clear()
                await self._wanted.wait()
            began_s = time.monotonic()
            asked = sorted(frozenset[str]().union(*(one.apps for one in self._watched)))
            try:
                counts = await self._reads.read(lambda ask, apps=asked: read_line_counts(ask, apps))  # type: ignore[misc] # mypy does not infer a default
            except ConsoleProblem:
                # The reads have logged it; who looks on keeps what is shown.
                counts = None
            if counts is not None:
                for one in tuple(self._watched):
                    if one.apps.issubset(asked):
                        one.count(counts)
            await asyncio.sleep(max(LOOK_S, LOOK_READS * (time.monotonic() - began_s)))
