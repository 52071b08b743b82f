"""What the sink sees of Kafka: `phone-ledger`, a group that revokes in good manners, and commits."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from aiokafka.errors import RequestTimedOutError
from kafka.errors import KafkaTimeoutError

from metering.topics import LEDGER
from sinks.lines import BEFORE_ALL
from sinks.source import Rebalance, Record, Start
from tests.simulation.kafka import SESSION_S, Kafka, divided
from tests.simulation.virtual_time import OUTSIDE, Process, wait

RECORDS_MAX = 4
SEEKS_BACK_MAX = 3
"""What `sinks.sink` has under this name, made small: it is to happen here."""


class Skip(NamedTuple):
    """Records that are left out of what is delivered, from `begin` to before `end`, so many `times` more."""

    begin: int
    end: int
    times: int


class SinkGroup:
    """The consumer group of the sinks. A revocation waits for an INSERT, but not longer than a session."""

    def __init__(self, kafka: Kafka) -> None:
        self.kafka = kafka
        self.generation = 0
        self.committed: dict[int, Start] = {}
        self._members: list[FakeSource] = []
        self._dividing: asyncio.Task[None] | None = None
        self._again = False

    def join(self, source: "FakeSource") -> None:
        """Divide the partitions anew, with one more."""
        self._members.append(source)
        self.divide()

    def lose(self, source: "FakeSource") -> None:
        """Notice after the session's time that a member is gone, if it still is."""
        source.silent = True
        at_s = self.kafka.loop.time() + SESSION_S
        self.kafka.loop.call_at(at_s, self._expire, source, source.lives, context=OUTSIDE)

    def found(self, source: "FakeSource") -> None:
        """A member that was frozen gives a sign of life, some time after it began to run again."""
        source.lives += 1
        source.silent = False
        if source not in self._members:
            self.kafka.faults["zombie sink woke up"] += 1
            self._members.append(source)
        self.divide()

    def divide(self) -> None:
        """Begin to give every member its partitions."""
        if self._dividing is not None and not self._dividing.done():
            self._again = True
        else:
            self._dividing = self.kafka.loop.create_task(self._divide(), context=OUTSIDE.copy())

    def knows(self, source: "FakeSource") -> bool:
        return source.generation == self.generation and source in self._members

    async def _divide(self) -> None:
        while True:
            self._again = False
            while any(source.silent for source in self._members):  # noqa: ASYNC110 - as Kafka does
                await asyncio.sleep(0.1)
            for source in list(self._members):
                await self._revoke(source)
            self.generation += 1
            members = list(self._members)
            shares = divided(self.kafka.partitions, len(members), self.kafka.chance) if members else []
            for source, share in zip(members, shares, strict=True):
                if not source.silent:
                    source.receive(share, self.generation)
            if not self._again:
                return

    async def _revoke(self, source: "FakeSource") -> None:
        until_s = self.kafka.loop.time() + SESSION_S
        while source.writing and not source.process.dead and self.kafka.loop.time() < until_s:  # noqa: ASYNC110 - as Kafka does
            await asyncio.sleep(0.1)
        if source.writing or source.silent:
            self.kafka.faults["sink's partitions taken without its knowledge"] += 1
        elif not source.process.dead:
            source.part()

    def _expire(self, source: "FakeSource", lives: int) -> None:
        if source in self._members and source.lives == lives and source.silent:
            self._members.remove(source)
            self.divide()


class FakeSource:
    """Stands in for `sinks.source.Source`."""

    def __init__(self, group: SinkGroup, process: Process) -> None:
        self.process = process
        self.lives = 0
        self.silent = False
        self.writing = False
        self.generation = 0
        self._group = group
        self._kafka = group.kafka
        self._events: list[Rebalance] = []
        self._share: frozenset[int] = frozenset()
        self._positions: dict[int, int] = {}
        self._paused: set[int] = set()
        self._skips: dict[int, Skip] = {}

    def receive(self, share: frozenset[int], generation: int) -> None:
        """A new division of the partitions."""
        self._share, self.generation = share, generation
        self._positions = {p: self._group.committed.get(p, Start(0, BEFORE_ALL)).offset for p in share}
        self._paused.clear()
        self._skips.clear()
        self._events.append(Rebalance("assigned", share))

    def part(self) -> None:
        """Hear that all partitions are revoked."""
        self._events.append(Rebalance("revoked", self._share))
        self._share = frozenset()

    def rebalances(self) -> Iterator[Rebalance]:
        while self._events:
            yield self._events.pop(0)

    @property
    def rebalanced(self) -> bool:
        return bool(self._events)

    @contextmanager
    def owned(self) -> Iterator[bool]:
        self.writing = True
        try:
            yield not self._events
        finally:
            self.writing = False

    def poll(self, pause_s: float) -> list[Record]:
        return wait(self._poll(pause_s))

    async def _poll(self, pause_s: float) -> list[Record]:
        await asyncio.sleep(self._kafka.chance.uniform(0.001, 0.03))
        found = self._fetched() if self._kafka.up else []
        if not found and pause_s > 0:
            await asyncio.sleep(pause_s)
        return found

    def _fetched(self) -> list[Record]:
        chance = self._kafka.chance
        found = []
        for partition in sorted(self._share - self._paused):
            log = self._kafka.logs[LEDGER, partition]
            position = self._positions[partition]
            if self._skipped(partition, position, len(log)):
                position = self._skips[partition].end
                self._positions[partition] = position
            elif 0 < position < len(log) and chance.random() < 0.05:
                self._kafka.faults["sink's delivery rewinds"] += 1
                position = max(0, position - chance.randint(1, 3))
            records = log[position : position + chance.randint(1, RECORDS_MAX)]
            if records:
                self._positions[partition] = records[-1].offset + 1
                found += [Record(partition, record.offset, record.value) for record in records]
        return found

    def _skipped(self, partition: int, position: int, end: int) -> bool:
        """Whether records are left out here: some skips are made once, some again and again."""
        chance, skip = self._kafka.chance, self._skips.get(partition)
        if skip is not None and skip.begin == position and skip.times > 0:
            self._skips[partition] = skip._replace(times=skip.times - 1)
            self._kafka.faults["sink's delivery skips the same again"] += 1
            return True
        if position < end and chance.random() < 0.05:
            times = chance.choice((0, 0, 0, 1, SEEKS_BACK_MAX))
            self._skips[partition] = Skip(position, min(end, position + chance.randint(1, 3)), times)
            self._kafka.faults["sink's delivery skips forward"] += 1
            return True
        return False

    def idle(self, pause_s: float) -> None:
        wait(asyncio.sleep(pause_s))

    def start_of(self, partition: int) -> Start:
        self._ask()
        return self._group.committed.get(partition, Start(0, BEFORE_ALL))

    def beginning_of(self, _partition: int) -> int:
        self._ask()
        return 0

    def ends_of(self, partitions: Iterable[int]) -> dict[int, int]:
        asked = list(partitions)
        if asked:
            self._ask()
        return {partition: self._kafka.ends[LEDGER, partition] for partition in asked}

    def seek(self, partition: int, offset: int) -> None:
        if partition in self._share:
            self._positions[partition] = offset

    def stop(self, partition: int) -> None:
        self._paused.add(partition)

    def lag(self, partition: int, next_offset: int) -> int | None:
        return max(0, self._kafka.ends[LEDGER, partition] - next_offset)

    def commit(self, positions: Mapping[int, Start]) -> bool:
        return wait(self._commit(positions))

    async def _commit(self, positions: Mapping[int, Start]) -> bool:
        try:
            await self._kafka.answer()
        except RequestTimedOutError:
            return False
        if not self._group.knows(self):
            self._kafka.faults["sink's commit refused"] += 1
            return False
        self._group.committed.update(positions)
        if self._kafka.chance.random() < 0.03:
            self._kafka.faults["sink's commit unheard of"] += 1
            return False
        return True

    def _ask(self) -> None:
        try:
            wait(self._kafka.answer())
        except RequestTimedOutError as error:
            raise KafkaTimeoutError("the broker is away") from error
