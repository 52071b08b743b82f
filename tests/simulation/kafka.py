"""A simulated broker: logs, transactions, compaction, and assignments."""

import asyncio
import random
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable

from aiokafka.errors import RequestTimedOutError

from metering import topics
from metering.records import Record
from tests.metering.building import START_MS
from tests.simulation.events import Published
from tests.simulation.virtual_time import OUTSIDE, VirtualTimeLoop

SESSION_S = 6.0
"""The session time-out: without a heartbeat for so long, a member's partitions are reassigned."""

Place = tuple[str, int]


class Kafka:
    """The broker; `up` while it answers.

    `logs` has the records that can be read. Control records, aborted and compacted records only take offsets.
    """

    def __init__(
        self, loop: VirtualTimeLoop, chance: random.Random, faults: Counter[str], partitions: int
    ) -> None:
        self.loop = loop
        self.chance = chance
        self.faults = faults
        self.partitions = range(partitions)
        self.logs: defaultdict[Place, list[Record]] = defaultdict(list)
        self.ends: Counter[Place] = Counter()
        self._open: defaultdict[Place, set[int]] = defaultdict(set)
        self._epochs: defaultdict[Place, list[int]] = defaultdict(list)
        self.up = True
        self.back: list[Callable[[], None]] = []

    def append(
        self, topic: str, partition: int, key: bytes | None, value: bytes | None, at_ms: int = 0
    ) -> None:
        """Append a record."""
        place = (topic, partition)
        self.logs[place].append(Record(self.ends[place], at_ms, key, value))
        self.ends[place] += 1

    def clock_ms(self, place: Place) -> int:
        """The time of a record that is appended now; only the topic of events has times."""
        if place[0] != topics.EVENTS:
            return 0
        return max((record.recorded_at_ms or 0 for record in self.logs[place]), default=START_MS)

    def leave_out(self, topic: str, partition: int, offsets: int) -> None:
        """Skip offsets, which have no record to read."""
        self.ends[topic, partition] += offsets

    def lose_end(self, place: Place, records: int) -> None:
        """Lose the newest records, as after an unclean election; later ones are of a new leader epoch."""
        log = self.logs[place]
        self.ends[place] = log[-records].offset
        self.logs[place] = log[:-records]
        self._epochs[place].append(self.ends[place])

    def leader_epoch_of(self, place: Place, offset: int) -> int:
        """The leader epoch in which the record at an offset was written."""
        return bisect_right(self._epochs[place], offset)

    def stable_end(self, place: Place) -> int:
        """The last stable offset: the beginning of the first open transaction."""
        return min(self._open[place], default=self.ends[place])

    def transact(self, place: Place, records: Iterable[Published], *, commits: bool) -> None:
        """Append records in a transaction, which is committed or aborted a while later."""
        begin = self.ends[place]
        for key, value, at_ms in records:
            self.append(*place, key, value, at_ms)
        self._open[place].add(begin)
        at_s = self.loop.time() + self.chance.expovariate(1.0)
        self.loop.call_at(at_s, self._decide, place, begin, self.ends[place], commits, context=OUTSIDE)

    def _decide(self, place: Place, begin: int, end: int, commits: bool) -> None:  # noqa: FBT001 - by position only
        self._open[place].remove(begin)
        if not commits:
            self.logs[place] = [record for record in self.logs[place] if not begin <= record.offset < end]
        self.leave_out(*place, 1)
        self.faults["transaction committed" if commits else "transaction aborted"] += 1

    def compact(self, topic: str) -> None:
        """Keep only the newest record of each key, except among the newest few records."""
        for partition in self.partitions:
            log = self.logs[topic, partition]
            dirty = self.chance.randrange(4)
            clean, rest = log[: len(log) - dirty], log[len(log) - dirty :]
            newest = {record.key: record.offset for record in clean}
            kept = [record for record in clean if newest[record.key] == record.offset]
            self.logs[topic, partition] = kept + rest

    def go_down(self) -> None:
        """Stop answering."""
        self.up = False

    def come_back(self) -> None:
        """Answer again, first to waiting requests."""
        self.up = True
        waiting, self.back = self.back, []
        for arrive in waiting:
            arrive()

    async def answer(self) -> None:
        """Wait as long as a request takes.

        Raises:
            RequestTimedOutError: the broker is down.
        """
        await asyncio.sleep(self.chance.uniform(0.001, 0.05))
        if not self.up:
            await asyncio.sleep(self.chance.uniform(0.1, 1.0))
            raise RequestTimedOutError


def random_assignment(partitions: Iterable[int], members: int, chance: random.Random) -> list[frozenset[int]]:
    """A random assignment of the partitions to so many members."""
    owners = [chance.randrange(members) for _ in partitions]
    return [
        frozenset(partition for partition, owner in zip(partitions, owners, strict=True) if owner == number)
        for number in range(members)
    ]
