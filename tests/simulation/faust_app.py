"""The simulated Faust application: unreliable deliveries, a consumer group, commits."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from faust.types import TP

from metering import topics
from metering.log_identity import FoundRecord, PartitionView, fingerprint
from streams.fetch_buffer import RecordBatch
from tests.simulation.kafka import SESSION_S, Kafka, random_assignment
from tests.simulation.librdkafka import Librdkafka
from tests.simulation.virtual_time import OUTSIDE, Process

BATCHES = (1, 2, 3, 8, 20)
SKIP_MAX = REWIND_MAX = 12

NO_GENERATION = -1
"""Faust's generation once the group has removed the member."""


class WorkerGroup:
    """The consumer group of the workers: assignments and committed offsets."""

    def __init__(self, kafka: Kafka) -> None:
        self.kafka = kafka
        self.generation = 0
        self.committed = dict.fromkeys(kafka.partitions, 0)
        self._members: list[FaustApp] = []

    def join(self, app: "FaustApp") -> None:
        """Rebalance with one more member."""
        self._members.append(app)
        self.rebalance()

    def expect_expiry(self, app: "FaustApp") -> None:
        """Remove a silent member when its session has expired."""
        app.silent = True
        self.kafka.loop.call_at(
            self.kafka.loop.time() + SESSION_S, self._expire, app, app.lives, context=OUTSIDE
        )

    def heartbeat_of(self, app: "FaustApp") -> None:
        """Take a heartbeat of a member that was frozen."""
        app.lives += 1
        if app not in self._members:
            if app.silent:
                self.kafka.faults["zombie worker woke up"] += 1
            self._members.append(app)
        app.silent = False
        self.rebalance()

    def forget(self, app: "FaustApp") -> None:
        """Refuse a heartbeat between a rebalance and its callback, which then finds no generation."""
        if app in self._members:
            self._members.remove(app)
            app.lose_generation()
            self.rebalance()

    def rebalance(self) -> None:
        """Assign partitions to all members, once none is silent or its session has expired."""
        if any(app.silent for app in self._members):
            return
        self.generation += 1
        shares = (
            random_assignment(self.kafka.partitions, len(self._members), self.kafka.chance)
            if self._members
            else []
        )
        for app, share in zip(self._members, shares, strict=True):
            app.receive(share, self.generation)

    def accepts_commit(self, generation: int) -> bool:
        """True for the newest generation; without members, Kafka accepts commits without a generation."""
        return generation == (self.generation if self._members else NO_GENERATION)

    def _expire(self, app: "FaustApp", lives: int) -> None:
        if app in self._members and app.lives == lives and app.silent:
            self._members.remove(app)
            self.rebalance()


@dataclass
class Message:
    """Faust's message, as far as the worker uses it."""

    partition: int
    value: RecordBatch
    generation_id: int


class Event:
    """Faust's event."""

    def __init__(self, app: "FaustApp", message: Message) -> None:
        self.message = message
        self.value: RecordBatch | None = message.value
        self._next_offset = message.value.end
        self._app = app

    def ack(self) -> None:
        """Commit the batch."""
        self._app.acked(self.message, self._next_offset)


class FaustApp:
    """One worker's application, which is also its consumer."""

    events_topic = topics.EVENTS

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
        """Take a new assignment."""
        self._share, self.consumer_generation_id = share, generation
        self._positions = {partition: self._group.committed[partition] for partition in share}

    def lose_generation(self) -> None:
        """Take the assignment without a generation, as after a refused heartbeat."""
        self.receive(self._share, NO_GENERATION)

    async def crash(self, error: BaseException) -> None:
        """End the process."""
        self._on_crash(error)

    def assignment(self) -> set[TP]:
        return {TP(topics.EVENTS, partition) for partition in self._share}

    async def seek(self, tp: TP, offset: int) -> None:
        ahead = offset > self._positions.get(tp.partition, offset)
        self._kafka.faults["worker sent past what it knows" if ahead else "worker went back"] += 1
        await asyncio.sleep(self._kafka.chance.uniform(0.0, 0.01))
        if tp.partition in self._positions:
            self._positions[tp.partition] = offset

    async def highwaters(self, *tps: TP) -> dict[TP, int]:
        await self._kafka.answer()
        return {tp: self._kafka.stable_end(tp) for tp in tps}

    async def look(self, offsets: Mapping[int, int]) -> dict[int, PartitionView]:
        """Return views as `streams.log_view` does of a real broker."""
        await self._kafka.answer()
        return {partition: self._view(partition, offset) for partition, offset in offsets.items()}

    def _view(self, partition: int, offset: int) -> PartitionView:
        place = (topics.EVENTS, partition)
        there = [record for record in self._kafka.logs[place] if record.offset == offset]
        epoch = self._kafka.leader_epoch_of(place, offset)
        found = [FoundRecord(fingerprint(r.key, r.value, r.recorded_at_ms), epoch) for r in there]
        return PartitionView("events", 0, self._kafka.ends[place], found[0] if found else None)

    async def still_owns(self, next_offsets: Mapping[TP, int]) -> bool:
        """Commit offsets, which the group accepts only from a member of its newest generation."""
        owns: asyncio.Future[bool] = self._kafka.loop.create_future()
        arrives_s = self._kafka.chance.uniform(0.0, 0.1)
        generation = self.consumer_generation_id
        self._kafka.loop.call_later(arrives_s, self._decide, next_offsets, generation, owns, context=OUTSIDE)
        taken = await owns
        await asyncio.sleep(self._kafka.chance.uniform(0.0, 0.1))
        return taken

    def _decide(self, next_offsets: Mapping[TP, int], generation: int, owns: "asyncio.Future[bool]") -> None:
        """Decide as the broker, whatever state the process is in."""
        if not self._kafka.up:
            self._kafka.loop.call_later(0.1, self._decide, next_offsets, generation, owns, context=OUTSIDE)
        elif not owns.done():
            taken = self._group.accepts_commit(generation) and next_offsets.keys() <= self.assignment()
            if taken:
                self._group.committed |= {tp.partition: offset for tp, offset in next_offsets.items()}
            else:
                self._kafka.faults["checkpoint of a zombie worker refused"] += 1
            owns.set_result(taken)

    def acked(self, message: Message, next_offset: int) -> None:
        """Commit a little later, if this is still a member then."""
        at_s = self._kafka.loop.time() + self._kafka.chance.expovariate(2.0)
        self._kafka.loop.call_at(at_s, self._commit, message, next_offset, context=OUTSIDE)

    def _commit(self, message: Message, next_offset: int) -> None:
        if self.process.dead or self.process.frozen or not self._kafka.up:
            self._kafka.faults["commit of offsets lost"] += 1
        elif self._group.accepts_commit(message.generation_id):
            self._group.committed[message.partition] = next_offset

    async def stream(self) -> AsyncIterator[Any]:
        """The deliveries to one worker."""
        chance = self._kafka.chance
        while True:
            await asyncio.sleep(chance.expovariate(20.0))
            if self._stale and chance.random() < 0.2:
                self._kafka.faults["stale delivery"] += 1
                yield self._stale.pop()
            waiting = [p for p, at in self._positions.items() if at < self._end(p)]
            if not waiting or not self._kafka.up:
                await asyncio.sleep(0.4)
                continue
            event = self._fetched(chance.choice(waiting))
            if chance.random() < 0.05:
                self._stale.append(Event(self, replace(event.message)))
            yield event

    def _end(self, partition: int) -> int:
        return self._kafka.stable_end((topics.EVENTS, partition))

    def _fetched(self, partition: int) -> Event:
        """A batch of some records; with the last ones also the offsets behind them without records."""
        stable_end = self._end(partition)
        begin = self._delivered_from(self._positions[partition], stable_end)
        log = self._kafka.logs[topics.EVENTS, partition]
        found = [record for record in log if begin <= record.offset < stable_end]
        records = found[: self._kafka.chance.choice(BATCHES)]
        end = stable_end if len(records) == len(found) else records[-1].offset + 1
        self._positions[partition] = end
        return Event(self, Message(partition, RecordBatch(records, begin, end), self.consumer_generation_id))

    def _delivered_from(self, position: int, end: int) -> int:
        """The offset at which the next delivery begins; mostly the right one."""
        fault = self._kafka.chance.random()
        if fault < 0.04:
            self._kafka.faults["delivery skips forward"] += 1
            return min(end - 1, position + self._kafka.chance.randint(1, SKIP_MAX))
        if fault < 0.08:
            self._kafka.faults["delivery rewinds"] += 1
            return max(0, position - self._kafka.chance.randint(1, REWIND_MAX))
        return position
