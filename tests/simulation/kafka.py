"""A broker in memory: logs, compaction, records that are on their way, and groups that divide partitions."""

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from typing import NamedTuple

from aiokafka.errors import RequestTimedOutError

from metering.partition import Record
from streams import record_batches
from tests.simulation.virtual_time import OUTSIDE, Process, VirtualTimeLoop

SESSION_S = 6.0
"""After this time without a sign of life a member's partitions are given to others."""

IN_FLIGHT_S_MAX = 5.0
"""How long what a killed process had sent may still be on its way."""

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


class Batch:
    """Records that are stored together or not at all; it is full after a few, and not always as few."""

    def __init__(self, room: int) -> None:
        self.records: list[tuple[bytes | None, bytes | None]] = []
        self._room = room

    def append(self, *, key: bytes | None, value: bytes | None, timestamp: int | None) -> object:
        """aiokafka's: None if there is no room left."""
        del timestamp
        if len(self.records) == self._room:
            return None
        self.records.append((key, value))
        return self


class _Parcel(NamedTuple):
    topic: str
    partition: int
    batch: Batch
    acknowledged: "asyncio.Future[None]"


class Producer:
    """What a worker sends with: in order per partition, in any order across them, each with its own delay.

    One batch may be given up and the next arrive: so it is with aiokafka where the broker has had nothing of
    this producer in the partition yet, and cannot tell that a number is missing.
    """

    def __init__(self, kafka: Kafka, process: Process) -> None:
        self._kafka = kafka
        self._process = process
        self._last_s: defaultdict[Place, float] = defaultdict(float)
        self._held: defaultdict[Place, list[_Parcel]] = defaultdict(list)
        self._lost_after_s = float("inf")

    publish = record_batches.Producer.publish
    _publish_to = record_batches.Producer._publish_to

    def _ensure_producer(self) -> "Producer":
        """Faust's: where aiokafka's own producer is."""
        return self

    def create_batch(self) -> Batch:
        return Batch(self._kafka.chance.choice((1, 2, 100)))

    async def send_batch(self, batch: Batch, topic: str, *, partition: int) -> "asyncio.Future[None]":
        """Give the batch away; what is returned is done when the broker has it."""
        loop, place = self._kafka.loop, (topic, partition)
        acknowledged = loop.create_future()
        arrives_s = max(self._last_s[place] + 1e-6, loop.time() + self._kafka.chance.expovariate(30.0))
        self._last_s[place] = arrives_s
        parcel = _Parcel(topic, partition, batch, acknowledged)
        loop.call_at(arrives_s, self._arrive, parcel, context=OUTSIDE)
        return acknowledged

    def process_killed(self) -> None:
        """Of what it had sent, some may still arrive for a while."""
        self._lost_after_s = self._kafka.loop.time()
        if self._kafka.chance.random() < 0.6:
            self._lost_after_s += self._kafka.chance.uniform(0.0, IN_FLIGHT_S_MAX)

    def process_thawed(self) -> None:
        """What waited in its memory goes out now."""
        held, self._held = self._held, defaultdict(list)
        for parcels in held.values():
            for parcel in parcels:
                self._kafka.faults["zombie's record arrives after its sleep"] += 1
                self._store(parcel)

    def _arrive(self, parcel: _Parcel) -> None:
        kafka, place = self._kafka, (parcel.topic, parcel.partition)
        if self._process.dead and kafka.loop.time() > self._lost_after_s:
            kafka.faults["record of a dead worker lost"] += 1
        elif self._process.frozen and (self._held[place] or kafka.chance.random() < 0.5):
            self._held[place].append(parcel)
        elif kafka.up:
            self._store(parcel)
        elif kafka.chance.random() < 0.5:
            self._fail(parcel)
        else:
            kafka.back.append(lambda: self._arrive(parcel))

    def _store(self, parcel: _Parcel) -> None:
        kafka = self._kafka
        if self._process.dead:
            kafka.faults["record of a dead worker arrives"] += 1
        for key, value in parcel.batch.records:
            kafka.append(parcel.topic, parcel.partition, key, value)
        if kafka.chance.random() < 0.01:
            kafka.faults["acknowledgement lost"] += 1
            self._fail(parcel)
        else:
            kafka.loop.call_at(
                kafka.loop.time() + kafka.chance.uniform(0.001, 0.02), _settle, parcel, context=OUTSIDE
            )

    def _fail(self, parcel: _Parcel) -> None:
        self._kafka.faults["publication failed"] += 1
        if not parcel.acknowledged.done():
            parcel.acknowledged.set_exception(RequestTimedOutError())
            # Who waited for it may be dead; that nobody looks at it is no mistake then.
            parcel.acknowledged.exception()


def _settle(parcel: _Parcel) -> None:
    if not parcel.acknowledged.done():
        parcel.acknowledged.set_result(None)


def divided(partitions: Iterable[int], members: int, chance: random.Random) -> list[frozenset[int]]:
    """The partitions, given to so many members at random."""
    owners = [chance.randrange(members) for _ in partitions]
    return [
        frozenset(partition for partition, owner in zip(partitions, owners, strict=True) if owner == number)
        for number in range(members)
    ]
