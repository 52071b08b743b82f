"""A few threads, each with a connection to ClickHouse, and a bound on who waits for them.

The event loop never waits for ClickHouse: it also takes events.
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

from dashboards.http.errors import LedgerAwayError, TooLongError
from dashboards.reads.asking import Ask

log = logging.getLogger(__name__)

T = TypeVar("T")


class LedgerConnection(Protocol):
    """A connection to ClickHouse for one thread, with an account that may only read."""

    def rows(
        self, query: str, parameters: Mapping[str, object] | None, within_s: float
    ) -> list[tuple[Any, ...]]:
        """The rows of a query. Blocking.

        Raises:
            LedgerAwayError: there is no answer.
            TooLongError: it takes longer than `within_s`.
            TooMuchError: the result is larger than its limit.
        """

    def close(self) -> None:
        """Close it."""


class PoolFullError(Exception):
    """Too many reads wait."""


class ReadPool:
    """Runs reads.

    Attributes:
        open: number of reads that wait or are under way.
    """

    def __init__(
        self, connect: Callable[[], LedgerConnection], connections: int, waiting_max: int, answer_s: float
    ) -> None:
        self._connect = connect
        self._most = connections + waiting_max
        self._answer_s = answer_s
        self._threads = ThreadPoolExecutor(connections, "read")
        self._local = threading.local()
        self._connections: list[LedgerConnection] = []
        self.open = 0

    async def run(self, read: Callable[[Ask], T]) -> T:
        """Run a read in one of the threads.

        Raises:
            PoolFullError: too many wait.
            TooLongError: it was not its turn, or it had not ended, within its time.
        """
        if self.open >= self._most:
            raise PoolFullError
        self.open += 1
        deadline_s = time.monotonic() + self._answer_s
        loop = asyncio.get_running_loop()
        future = self._threads.submit(self._run, read, deadline_s)
        # It counts as open until its thread is free, even if who asked has gone.
        future.add_done_callback(lambda _: self._close(loop))
        try:
            async with asyncio.timeout(self._answer_s):
                return await asyncio.wrap_future(future)
        except TimeoutError:
            raise TooLongError from None

    def close(self) -> None:
        """End the threads: a read that waits for ClickHouse fails, since its connection is closed."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for connection in self._connections:
            connection.close()

    def _close(self, loop: asyncio.AbstractEventLoop) -> None:
        # At the end of the service there is no loop, and nobody to count.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(self._count_one_less)

    def _count_one_less(self) -> None:
        self.open -= 1

    def _run(self, read: Callable[[Ask], T], deadline_s: float) -> T:
        connection: LedgerConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._connect()
            self._connections.append(connection)
        own = connection

        def ask(query: str, parameters: Mapping[str, object] | None = None, /) -> list[tuple[Any, ...]]:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                raise TooLongError
            return own.rows(query, parameters, left_s)

        try:
            return read(ask)
        except LedgerAwayError as error:
            log.warning("%s", error)
            raise
