"""The worker: meters delivered batches in order, and never relies on deliveries being complete.

Faust was seen to leave records out after a restart, and to deliver others twice. The state knows the next
offset: records before it are skipped, and for a batch that begins after it the worker goes back. It also goes
back when a partition stalls although the log goes on.

Batches of one partition are metered one after the other. While the broker stores the output of one, a batch
of another partition is metered.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from faust.types import EventT

from kafka_access.access import KafkaAccess
from metering.partition import OffsetGapError
from metering.rules import Terms
from streams import metrics
from streams.batch_step import plan_batch
from streams.checkpointer import Checkpointer
from streams.crash_guard import CrashGuard
from streams.in_flight import InFlight
from streams.log_watch import LogWatch, Viewer
from streams.membership import Membership
from streams.merged_batches import MergedBatch, take_batch
from streams.ownership import Ownership
from streams.publisher import Publisher
from streams.record_batches import RecordBatchApp
from streams.stall_watch import StallWatch

YIELD_S = 0.001
"""The time that the event loop is free before each batch, so that the next fetch is sent first."""


@dataclass(slots=True)
class _Queue:
    """The delivered events of a partition that wait to be metered, and whether a task meters them."""

    partition: int
    events: deque[EventT[Any]] = field(default_factory=deque)
    draining: bool = False


class Worker:
    """Meters the batches of the partitions that this process owns."""

    def __init__(
        self, app: RecordBatchApp, kafka: KafkaAccess, terms: Terms, publisher: Publisher, viewer: Viewer
    ) -> None:
        membership = Membership(app, publisher)
        self._rules = terms.rules
        self._log = LogWatch(viewer)
        self._guard = CrashGuard(app)
        self._in_flight = InFlight()
        self._ownership = Ownership(app, kafka, terms, membership, self._log)
        self._checkpointer = Checkpointer(self._ownership, membership, self._in_flight, self._guard)
        self._stall_watch = StallWatch(app, self._ownership, self._log, self._in_flight, self._guard)
        self._queues: dict[int, _Queue] = {}

    async def run(self, stream: AsyncIterable[EventT[Any]]) -> None:
        """Meter a stream of record batches until it ends."""
        async with self._background(), asyncio.TaskGroup() as tasks:
            async for event in stream:
                partition = event.message.partition
                queue = self._queues.setdefault(partition, _Queue(partition))
                queue.events.append(event)
                if not queue.draining:
                    queue.draining = True
                    tasks.create_task(self._drain(queue))

    async def finish(self) -> None:
        """Meter nothing more, and store all states."""
        self._guard.stopping = True
        await self._checkpointer.finish()

    async def _drain(self, queue: _Queue) -> None:
        while queue.events and not self._guard.stopping:
            async with self._in_flight.slot(queue.partition):
                await asyncio.sleep(YIELD_S)
                await self._guard.run(self._meter(queue.partition, take_batch(queue.events)))
        queue.draining = False

    async def _meter(self, partition: int, batch: MergedBatch) -> None:
        started_s = perf_counter()
        owned = await self._ownership.own(partition, batch.generation)
        before, records = owned.progress, batch.records
        store = self._checkpointer.is_due(owned, len(records))
        try:
            plan = plan_batch(before, records, self._rules, store=store)
        except OffsetGapError as gap:
            await self._ownership.seek_back(owned, gap.expected, f"{gap}")
            return
        owned.seek_offset = None
        if plan is not None:
            self._log.add(plan.after)
            await self._checkpointer.carry_out(owned, plan)
            metrics.observe_batch(partition, records, before, plan, perf_counter() - started_s)
        else:
            metrics.SKIPPED.labels(partition).inc(len(records))
            await self._ownership.seek_forward(owned, records.end)
        owned.unacked.extend(batch.events)
        owned.ack()

    @asynccontextmanager
    async def _background(self) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self._stall_watch.run()), asyncio.create_task(self._checkpointer.run())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
