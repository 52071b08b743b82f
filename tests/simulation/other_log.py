"""A run in which the log of events loses its end and is filled again."""

import asyncio
from collections.abc import Callable

from metering import topics
from tests.simulation import checks
from tests.simulation.events import log_of
from tests.simulation.kafka import Place
from tests.simulation.world import World

REFUSED_S_MAX = 60.0
"""The virtual time within which a worker has to notice it."""

REFUSED = "worker stopped by LogChangedError"


class OtherLog(World):
    """A partition that loses some records after they were metered, and gets as many others or more.

    A worker has to report it and stop, and no checkpoint may go beyond the first log.
    """

    def __init__(self, seed: int, tell: Callable[[str], None] = lambda _line: None) -> None:
        super().__init__(seed, tell)
        self._changed = 0
        self._went_to = 0

    async def _run(self) -> None:
        self._start()
        await self._publish()
        await self._wait_until_stored()
        # The other partitions go on: settlers may still publish there.
        self._changed = self._chance.choice(self._kafka.partitions)
        self._went_to = self._kafka.ends[topics.EVENTS, self._changed]
        self._lose_end((topics.EVENTS, self._changed))
        # Long enough for the worker to be restarted and to find the same.
        await asyncio.sleep(self._chance.uniform(1, 2) * REFUSED_S_MAX)

    def _lose_end(self, place: Place) -> None:
        lost = self._chance.randint(1, min(20, len(self._kafka.logs[place])))
        self._kafka.lose_end(place, lost)
        for key, value, at_ms in log_of(place[1], self._chance)[: lost + self._chance.choice((0, 0, 1, 30))]:
            self._kafka.append(*place, key, value, at_ms)

    def _check(self) -> None:
        checks.require(self.faults[REFUSED] > 0, "another log was metered and not reported")
        state, _ = self.surroundings.state_reader(
            self._changed, self._kafka.ends[topics.STATE, self._changed]
        ).newest()
        checks.require(state.next_offset <= self._went_to, "records of another log were stored as metered")
