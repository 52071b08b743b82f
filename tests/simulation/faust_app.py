"""What the worker sees of Faust: a stream that can't be trusted, a group, commits."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from faust.types import TP

from metering import topics
from streams.record_batches import RecordBatch
from tests.simulation.kafka import SESSION_S, Kafka, divided
from tests.simulation.librdkafka import Librdkafka
from tests.simulation.virtual_time import OUTSIDE, Process

BATCHES = (1, 2, 3, 8, 20)
SKIP_MAX = REWIND_MAX = 12

NO_GENERATION = -1
"""What Faust finds in the place of a generation once the group does not know the member any more."""


class WorkerGroup:
    """The consumer group of the workers: who owns which partitions, and how far they have come."""

    def __init__(self, kafka: Kafka) -> None:
        self.kafka = kafka
        self.generation = 0
        self.committed = dict.fromkeys(kafka.partitions, 0)
        self._members: list[FaustApp] = []

    def join(self, app: "FaustApp") -> None:
        """Divide the partitions anew, with one more."""
        self._members.append(app)
        self.divide()

    def lose(self, app: "FaustApp") -> None:
        """Notice after the session's time that a member is gone, if it still is."""
        app.silent = True
        self.kafka.loop.call_at(
            self.kafka.loop.time() + SESSION_S, self._expire, app, app.lives, context=OUTSIDE
        )

    def found(self, app: "FaustApp") -> None:
        """A member that was frozen gives a sign of life."""
        app.lives += 1
        if app not in self._members:
            if app.silent:
                self.kafka.faults["zombie worker woke up"] += 1
            self._members.append(app)
        app.silent = False
        self.divide()

    def forget(self, app: "FaustApp") -> None:
        """Refuse a member's heartbeat between a division and its callback, which then finds no generation."""
        if app in self._members:
            self._members.remove(app)
            app.forgotten()
            self.divide()

    def divide(self) -> None:
        """Give every member its partitions, once each has been heard of or its session is over."""
        if any(app.silent for app in self._members):
            return
        self.generation += 1
        shares = (
            divided(self.kafka.partitions, len(self._members), self.kafka.chance) if self._members else []
        )
        for app, share in zip(self._members, shares, strict=True):
            app.receive(share, self.generation)

    def takes_commit(self, generation: int) -> bool:
        """Only of the newest generation; without members, Kafka takes it of anybody who has none."""
        return generation == (self.generation if self._members else NO_GENERATION)

    def _expire(self, app: "FaustApp", lives: int) -> None:
        if app in self._members and app.lives == lives and app.silent:
            self._members.remove(app)
            self.divide()


@dataclass
class Message:
    """Faust's message, as far as the worker looks at it."""

    partition: int
    value: RecordBatch
    generation_id: int


class Event:
    """Faust's event."""

    def __init__(self, app: "FaustApp", message: Message) -> None:
        self.message = message
        self.value: RecordBatch | None = message.value
        self._next_offset = message.value[-1].offset + 1
        self._app = app

    def ack(self) -> None:
        """Let the batch be committed."""
        self._app.acked(self.message, self._next_offset)


class FaustApp:
    """One worker's application; it is its own consumer."""

    rebalancing = False

    def __init__(
        self, group: WorkerGroup, process: Process, on_crash: Callable[[BaseException], None]
    ) -> None:
        self.process = process
        self.lives = 0
        self.silent = False
        self.consumer = self
        self.consumer_generation_id = 0
        self.librdkafka = Librdkafka(group.kafka, process)
        self._group = group
        self._kafka = group.kafka
        self._on_crash = on_crash
        self._share: frozenset[int] = frozenset()
        self._positions: dict[int, int] = {}
        self._stale: list[Event] = []

    def receive(self, share: frozenset[int], generation: int) -> None:
        """A new division of the partitions."""
        self._share, self.consumer_generation_id = share, generation
        self._positions = {partition: self._group.committed[partition] for partition in share}

    def forgotten(self) -> None:
        """The division that a refused heartbeat left without a generation."""
        self.receive(self._share, NO_GENERATION)

    async def crash(self, error: BaseException) -> None:
        """End the process."""
        self._on_crash(error)

    def assignment(self) -> set[TP]:
        return {TP(topics.EVENTS, partition) for partition in self._share}

    async def seek(self, tp: TP, offset: int) -> None:
        self._kafka.faults["worker went back"] += 1
        await asyncio.sleep(self._kafka.chance.uniform(0.0, 0.01))
        if tp.partition in self._positions:
            self._positions[tp.partition] = offset

    async def highwaters(self, *tps: TP) -> dict[TP, int]:
        await self._kafka.answer()
        return {tp: self._kafka.ends[tp] for tp in tps}

    async def still_owns(self, next_offsets: Mapping[TP, int]) -> bool:
        """Commit, which the group takes only of a member of its newest generation."""
        owns: asyncio.Future[bool] = self._kafka.loop.create_future()
        arrives_s = self._kafka.chance.uniform(0.0, 0.1)
        generation = self.consumer_generation_id
        self._kafka.loop.call_later(arrives_s, self._decide, next_offsets, generation, owns, context=OUTSIDE)
        taken = await owns
        await asyncio.sleep(self._kafka.chance.uniform(0.0, 0.1))
        return taken

    def _decide(self, next_offsets: Mapping[TP, int], generation: int, owns: "asyncio.Future[bool]") -> None:
        """What the broker says, whatever has become of the process that asked."""
        if not self._kafka.up:
            self._kafka.loop.call_later(0.1, self._decide, next_offsets, generation, owns, context=OUTSIDE)
        elif not owns.done():
            taken = self._group.takes_commit(generation) and next_offsets.keys() <= self.assignment()
            if taken:
                self._group.committed |= {tp.partition: offset for tp, offset in next_offsets.items()}
            else:
                self._kafka.faults["checkpoint of a worker of the past refused"] += 1
            owns.set_result(taken)

    def acked(self, message: Message, next_offset: int) -> None:
        """Commit a little later, if the group still knows this member then."""
        at_s = self._kafka.loop.time() + self._kafka.chance.expovariate(2.0)
        self._kafka.loop.call_at(at_s, self._commit, message, next_offset, context=OUTSIDE)

    def _commit(self, message: Message, next_offset: int) -> None:
        if self.process.dead or self.process.frozen or not self._kafka.up:
            self._kafka.faults["commit of offsets lost"] += 1
        elif self._group.takes_commit(message.generation_id):
            self._group.committed[message.partition] = next_offset

    async def stream(self) -> AsyncIterator[Any]:
        """The deliveries of one worker's life."""
        chance = self._kafka.chance
        while True:
            await asyncio.sleep(chance.expovariate(20.0))
            if self._stale and chance.random() < 0.2:
                self._kafka.faults["stale delivery"] += 1
                yield self._stale.pop()
            waiting = [p for p, at in self._positions.items() if at < self._kafka.ends[topics.EVENTS, p]]
            if not waiting or not self._kafka.up:
                await asyncio.sleep(0.4)
                continue
            event = self._fetched(chance.choice(waiting))
            if chance.random() < 0.05:
                self._stale.append(Event(self, replace(event.message)))
            yield event

    def _fetched(self, partition: int) -> Event:
        log = self._kafka.logs[topics.EVENTS, partition]
        start = self._delivered_from(self._positions[partition], len(log))
        batch = RecordBatch(log[start : start + self._kafka.chance.choice(BATCHES)])
        self._positions[partition] = batch[-1].offset + 1
        return Event(self, Message(partition, batch, self.consumer_generation_id))

    def _delivered_from(self, position: int, end: int) -> int:
        """Where the next delivery really starts: mostly where it should."""
        fault = self._kafka.chance.random()
        if fault < 0.04:
            self._kafka.faults["delivery skips forward"] += 1
            return min(end - 1, position + self._kafka.chance.randint(1, SKIP_MAX))
        if fault < 0.08:
            self._kafka.faults["delivery rewinds"] += 1
            return max(0, position - self._kafka.chance.randint(1, REWIND_MAX))
        return position
