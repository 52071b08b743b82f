"""The limit on batches and checkpoints that are in flight at the same time."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

IN_FLIGHT_MAX = 2
"""One batch is metered while the broker stores the output of another. More would only take memory."""


class InFlight:
    """Slots for batches and checkpoints: a few at a time, and one per partition."""

    def __init__(self) -> None:
        self._slots = asyncio.Semaphore(IN_FLIGHT_MAX)
        self._locks: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)

    @asynccontextmanager
    async def slot(self, partition: int) -> AsyncIterator[None]:
        """One slot, with no other batch of the partition in flight."""
        async with self._slots, self._locks[partition]:
            yield

    @asynccontextmanager
    async def all_slots(self) -> AsyncIterator[None]:
        """All slots, so that nothing is in flight."""
        for _ in range(IN_FLIGHT_MAX):
            await self._slots.acquire()
        try:
            yield
        finally:
            for _ in range(IN_FLIGHT_MAX):
                self._slots.release()
