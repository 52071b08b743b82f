"""Noticing that this process stood still: suspended, frozen or starved, and maybe replaced meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import monotonic

BEAT_S = 0.5

STALL_MAX_S = 4.0
"""Below the consumer group's session time-out of 6 s, after which partitions are given to others."""


class StalledError(Exception):
    """The process stood still for so long that its partitions may be another worker's by now."""


class StallGuard:
    """A heart that beats on the event loop; a beat that comes too late is remembered until forgotten.

    Args:
        generation: asks which division of the group this process knows of.
    """

    def __init__(self, generation: Callable[[], int | None]) -> None:
        self._generation = generation
        self._beat_s = monotonic()
        self._stalled_s = 0.0
        self._stalled_in: int | None = None

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Beat as long as the context lasts."""
        self._beat_s = monotonic()
        beating = asyncio.create_task(self._beat())
        try:
            yield
        finally:
            beating.cancel()

    def check(self) -> None:
        """Before publishing for a partition.

        Raises:
            StalledError: there was a stall since the group was last divided.
        """
        self._notice()
        if self._stalled_s:
            raise StalledError(
                f"the process stood still for {self._stalled_s:.1f} s and may have been replaced"
            )

    def forget(self, generation: int) -> None:
        """What this process owns by this division it owns since after the stall, unless it knew it before."""
        self._notice()
        if generation != self._stalled_in:
            self._stalled_s = 0.0
            self._stalled_in = None

    async def _beat(self) -> None:
        while True:
            self._notice()
            await asyncio.sleep(BEAT_S)

    def _notice(self) -> None:
        now_s = monotonic()
        if now_s - self._beat_s > STALL_MAX_S:
            self._stalled_s = now_s - self._beat_s
            self._stalled_in = self._generation()
        self._beat_s = now_s
