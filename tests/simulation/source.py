"""The simulated source of the sink: unreliable deliveries of `phone-ledger`, a consumer group, commits."""

import asyncio
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from operator import attrgetter
from typing import NamedTuple

from aiokafka.errors import RequestTimedOutError
from kafka.errors import KafkaTimeoutError

from metering.log_identity import FoundRecord, Mark, PartitionView, fingerprint
from metering.records import Record as LogRecord
from metering.topics import LEDGER
from sinks.ledger_source import FetchedRange, ResumePoint, SourceRecord
from sinks.position import BEFORE_ALL
from sinks.rebalances import Rebalance
from tests.simulation.kafka import SESSION_S, Kafka, random_assignment
from tests.simulation.virtual_time import OUTSIDE, Process, wait

RECORDS_MAX = 4
SEEKS_BACK_MAX = 3
"""The limit of the same name in `sinks.owned_partition`, small enough to be reached here."""


class Skip(NamedTuple):
    """Records from `begin` to before `end` that deliveries leave out, so many `times` more."""

    begin: int
    end: int
    times: int


def _found(record: LogRecord) -> FoundRecord:
    return FoundRecord(fingerprint(record.key, record.value, record.recorded_at_ms))


def _of_ledger(partitions: Iterable[int]) -> tuple[tuple[str, int], ...]:
    return tuple((LEDGER, partition) for partition in partitions)


class SinkGroup:
    """The consumer group of the sinks. A revocation waits for an INSERT, at most for a session time-out."""

    def __init__(self, kafka: Kafka) -> None:
        self.kafka = kafka
        self.generation = 0
        self.committed: dict[int, ResumePoint] = {}
        self._members: list[FakeSource] = []
        self._rebalancing: asyncio.Task[None] | None = None
        self._again = False

    def join(self, source: "FakeSource") -> None:
        """Rebalance with one more member."""
        self._members.append(source)
        self.rebalance()

    def expect_expiry(self, source: "FakeSource") -> None:
        """Remove a silent member when its session has expired."""
        source.silent = True
        at_s = self.kafka.loop.time() + SESSION_S
        self.kafka.loop.call_at(at_s, self._expire, source, source.lives, context=OUTSIDE)

    def heartbeat_of(self, source: "FakeSource") -> None:
        """Take a heartbeat of a member that was frozen."""
        source.lives += 1
        source.silent = False
        if source not in self._members:
            self.kafka.faults["zombie sink woke up"] += 1
            self._members.append(source)
        self.rebalance()

    def rebalance(self) -> None:
        """Begin a rebalance, or another one after the current one."""
        if self._rebalancing is not None and not self._rebalancing.done():
            self._again = True
        else:
            self._rebalancing = self.kafka.loop.create_task(self._rebalance(), context=OUTSIDE.copy())

    def knows(self, source: "FakeSource") -> bool:
        return source.generation == self.generation and source in self._members

    async def _rebalance(self) -> None:
        while True:
            self._again = False
            while any(source.silent for source in self._members):  # noqa: ASYNC110 - as Kafka does
                await asyncio.sleep(0.1)
            for source in list(self._members):
                await self._revoke(source)
            self.generation += 1
            members = list(self._members)
            shares = (
                random_assignment(self.kafka.partitions, len(members), self.kafka.chance) if members else []
            )
            for source, share in zip(members, shares, strict=True):
                if not source.silent:
                    source.receive(share, self.generation)
            if not self._again:
                return

    async def _revoke(self, source: "FakeSource") -> None:
        until_s = self.kafka.loop.time() + SESSION_S
        while source.is_writing and not source.process.dead and self.kafka.loop.time() < until_s:  # noqa: ASYNC110 - as Kafka does
            await asyncio.sleep(0.1)
        if source.is_writing or source.silent:
            self.kafka.faults["sink's partitions reassigned without its knowledge"] += 1
        elif not source.process.dead:
            source.revoke()

    def _expire(self, source: "FakeSource", lives: int) -> None:
        if source in self._members and source.lives == lives and source.silent:
            self._members.remove(source)
            self.rebalance()


class FakeSource:
    """Stands in for `sinks.ledger_source.Source`."""

    def __init__(self, group: SinkGroup, process: Process) -> None:
        self.process = process
        self.lives = 0
        self.silent = False
        self.is_writing = False
        self.generation = 0
        self._group = group
        self._kafka = group.kafka
        self._events: list[Rebalance] = []
        self._share: frozenset[int] = frozenset()
        self._positions: dict[int, int] = {}
        self._paused: set[int] = set()
        self._skips: dict[int, Skip] = {}
        self._stuck: set[int] = set()

    def receive(self, share: frozenset[int], generation: int) -> None:
        """Take a new assignment."""
        self._share, self.generation = share, generation
        self._positions = {p: self._group.committed.get(p, ResumePoint(0, BEFORE_ALL)).offset for p in share}
        self._paused.clear()
        self._skips.clear()
        self._stuck.clear()
        self._events.append(Rebalance("assigned", _of_ledger(share)))

    def revoke(self) -> None:
        """Give up all partitions, as they are revoked."""
        self._events.append(Rebalance("revoked", _of_ledger(self._share)))
        self._share = frozenset()

    def rebalances(self) -> Iterator[Rebalance]:
        while self._events:
            yield self._events.pop(0)

    @property
    def has_rebalanced(self) -> bool:
        return bool(self._events)

    @contextmanager
    def writing(self) -> Iterator[bool]:
        self.is_writing = True
        try:
            yield not self._events
        finally:
            self.is_writing = False

    def poll(self, pause_s: float) -> list[FetchedRange]:
        return wait(self._poll(pause_s))

    async def _poll(self, pause_s: float) -> list[FetchedRange]:
        await asyncio.sleep(self._kafka.chance.uniform(0.001, 0.03))
        found = self._fetched() if self._kafka.up else []
        if not any(one.records for one in found) and pause_s > 0:
            await asyncio.sleep(pause_s)
        return found

    def _fetched(self) -> list[FetchedRange]:
        return [self._fetched_of(partition) for partition in sorted(self._share - self._paused)]

    def _stands_still(self, partition: int) -> bool:
        """True if nothing is delivered of a partition until the next seek."""
        if self._kafka.chance.random() < 0.002:
            self._kafka.faults["sink's delivery stands still"] += 1
            self._stuck.add(partition)
        return partition in self._stuck

    def _fetched_of(self, partition: int) -> FetchedRange:
        chance = self._kafka.chance
        if chance.random() < 0.02:
            self._kafka.faults["offsets without a ledger record"] += 1
            self._kafka.leave_out(LEDGER, partition, chance.randint(1, 3))
        log, end = self._kafka.logs[LEDGER, partition], self._kafka.ends[LEDGER, partition]
        asked = self._positions[partition]
        if self._stands_still(partition):
            return FetchedRange(partition, asked, asked, [])
        if self._skipped(partition, asked, end):
            asked = self._skips[partition].end
        elif 0 < asked < end and chance.random() < 0.05:
            self._kafka.faults["sink's delivery rewinds"] += 1
            asked = max(0, asked - chance.randint(1, 3))
        left = log[bisect_left(log, asked, key=attrgetter("offset")) :]
        records = left[: chance.randint(1, RECORDS_MAX)]
        reached = records[-1].offset + 1 if len(records) < len(left) else max(asked, end)
        self._positions[partition] = reached
        return FetchedRange(
            partition,
            asked,
            reached,
            [SourceRecord(partition, record.offset, record.value, _found(record)) for record in records],
        )

    def _skipped(self, partition: int, position: int, end: int) -> bool:
        """True if records are left out here: some skips happen once, some several times."""
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

    def resume_point(self, partition: int) -> ResumePoint:
        self._ask()
        return self._group.committed.get(partition, ResumePoint(0, BEFORE_ALL))

    def view(self, partition: int, mark: Mark) -> PartitionView:
        self._ask()
        end = self._kafka.ends[LEDGER, partition]
        log = self._kafka.logs[LEDGER, partition]
        found = next((_found(record) for record in log if record.offset == mark.offset), None)
        return PartitionView("", 0, end, found)

    def topic_id(self) -> str:
        return ""

    def first_offset(self, _partition: int) -> int:
        self._ask()
        return 0

    def end_offsets(self, partitions: Iterable[int]) -> dict[int, int]:
        asked = list(partitions)
        if asked:
            self._ask()
        return {partition: self._kafka.ends[LEDGER, partition] for partition in asked}

    def leaderless(self, _partitions: Iterable[int]) -> set[int]:
        """No partitions: the broker leads all."""
        return set()

    def seek(self, partition: int, offset: int) -> None:
        if partition in self._share:
            self._positions[partition] = offset
            self._stuck.discard(partition)

    def resume(self, partition: int, offset: int) -> None:
        self._paused.discard(partition)
        self.seek(partition, offset)

    def pause(self, partition: int) -> None:
        self._paused.add(partition)

    def lag(self, partition: int, next_offset: int) -> int | None:
        return max(0, self._kafka.ends[LEDGER, partition] - next_offset)

    def commit(self, positions: Mapping[int, ResumePoint]) -> bool:
        return wait(self._commit(positions))

    async def _commit(self, positions: Mapping[int, ResumePoint]) -> bool:
        try:
            await self._kafka.answer()
        except RequestTimedOutError:
            return False
        if not self._group.knows(self):
            self._kafka.faults["sink's commit refused"] += 1
            return False
        self._group.committed.update(positions)
        if self._kafka.chance.random() < 0.03:
            self._kafka.faults["reply to sink's commit lost"] += 1
            return False
        return True

    def _ask(self) -> None:
        try:
            wait(self._kafka.answer())
        except RequestTimedOutError as error:
            raise KafkaTimeoutError("the broker is away") from error
