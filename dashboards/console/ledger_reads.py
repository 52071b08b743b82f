"""The console's reads of ClickHouse: through the pool of threads, with one answer if there is none."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import nullcontext
from typing import Final, Self, TypeVar

from dashboards.console.problems import ConsoleProblem
from dashboards.http.errors import LedgerAwayError, TooLongError, TooMuchError
from dashboards.http.pool import PoolFullError, ReadPool
from dashboards.reads.asking import Ask
from dashboards.reads.clock import ClockReading, read_clock

log = logging.getLogger(__name__)

LOOK_S: Final = 5.0

T = TypeVar("T")


class LedgerReads:
    """Reads of the ledger for pages.

    Args:
        pool: of the threads.
        turns: which a read waits for before it takes a thread; none if it need not.
    """

    def __init__(self, pool: ReadPool, turns: asyncio.Semaphore | None = None) -> None:
        self._pool = pool
        self._turns = turns
        self._trouble = ""

    def in_background(self) -> Self:
        """The same reads for what no visitor waits for: one at a time, so that other threads stay free."""
        return type(self)(self._pool, asyncio.Semaphore(1))

    async def read(self, read: Callable[[Ask], T]) -> T:
        """The answer of a read, without keeping others waiting.

        Raises:
            ConsoleProblem: there is none.
        """
        try:
            async with self._turns or nullcontext():
                return await self._pool.run(read)
        except (LedgerAwayError, PoolFullError, TooLongError, TooMuchError) as error:
            log.warning("A page has no figures: %s", error or type(error).__name__)
            raise ConsoleProblem("unavailable") from error

    async def clock(self) -> ClockReading:
        """The present moment of the ledger."""
        return await self.read(read_clock)

    def troubles(self) -> list[str]:
        """The troubles of now, each in a sentence."""
        return [self._trouble] if self._trouble else []

    async def run(self) -> None:
        """Ask ClickHouse again and again whether it answers, until cancelled."""
        while True:
            try:
                await self._pool.run(read_clock)
            except LedgerAwayError as error:
                self._trouble = str(error)
            except (PoolFullError, TooLongError):
                self._trouble = "ClickHouse answers too slowly: pages have no figures."
            else:
                self._trouble = ""
            await asyncio.sleep(LOOK_S)
