"""A broker in memory: logs, compaction, and groups that divide partitions."""

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable

from aiokafka.errors import RequestTimedOutError

from metering.partition import Record
from tests.simulation.virtual_time import VirtualTimeLoop

SESSION_S = 6.0
"""After this time without a sign of life a member's partitions are given to others."""

Place = tuple[str, int]


class Kafka:
    """The broker. `up` says whether it answers."""

    def __init__(
        self, loop: VirtualTimeLoop, chance: random.Random, faults: Counter[str], partitions: int
    ) -> None:
        self.loop = loop
        self.chance = chance
        self.faults = faults
        self.partitions = range(partitions)
        self.logs: defaultdict[Place, list[Record]] = defaultdict(list)
        self.ends: Counter[Place] = Counter()
        self.up = True
        self.back: list[Callable[[], None]] = []

    def append(
        self, topic: str, partition: int, key: bytes | None, value: bytes | None, at_ms: int = 0
    ) -> None:
        """Take a record."""
        place = (topic, partition)
        self.logs[place].append(Record(self.ends[place], at_ms, key, value))
        self.ends[place] += 1

    def compact(self, topic: str) -> None:
        """Keep only the newest record of each key, but for the newest few, which are not cleaned yet."""
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
        """Answer again, first of all to what waits."""
        self.up = True
        waiting, self.back = self.back, []
        for arrive in waiting:
            arrive()

    async def answer(self) -> None:
        """The time that a request takes.

        Raises:
            RequestTimedOutError: the broker is away.
        """
        await asyncio.sleep(self.chance.uniform(0.001, 0.05))
        if not self.up:
            await asyncio.sleep(self.chance.uniform(0.1, 1.0))
            raise RequestTimedOutError


def divided(partitions: Iterable[int], members: int, chance: random.Random) -> list[frozenset[int]]:
    """The partitions, given to so many members at random."""
    owners = [chance.randrange(members) for _ in partitions]
    return [
        frozenset(partition for partition, owner in zip(partitions, owners, strict=True) if owner == number)
        for number in range(members)
    ]
