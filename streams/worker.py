"""The worker: carries out the order of work for every batch, and never trusts the delivery.

Faust was seen to leave records out after a restart, and to deliver others twice. The state says which offset
comes next: what lies behind it is skipped, and for what lies ahead the worker goes back. It goes back as well
when nothing comes although the log goes on.

Batches of one partition are carried out one after the other. Those of others go on meanwhile: while the
broker stores what one batch did, the next is metered.
"""

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from time import perf_counter
from typing import Any, cast

from aiokafka.errors import KafkaError
from faust.types import TP, EventT
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_exponential_jitter

from metering import topics
from metering.partition import OffsetGapError
from metering.rules import Rules
from streams import metrics
from streams.batch_step import Held, Outgoing, Work, carry_out, claim, plan
from streams.record_batches import Producer, RecordBatch, RecordBatchApp
from streams.stall_guard import StalledError, StallGuard
from streams.state_log import StateDamagedError
from streams.state_reading import LogTruncatedError, read_held

logger = logging.getLogger(__name__)

WATCH_S = 5.0
"""How long a partition may stand while its log goes on, before the worker goes back to where it stands."""

RETRY_WAIT_MAX_S = 10.0

IN_WORK_MAX = 2
"""Batches in work at a time: one is metered while what another did is being stored. More only take memory."""


class PartitionLostError(Exception):
    """The partition was given to another worker while its batch was being published."""


class Worker:
    """Holds the states of the partitions that this process owns, and meters their batches in order."""

    def __init__(self, app: RecordBatchApp, kafka: str, rules: Rules) -> None:
        self._app = app
        self._kafka = kafka
        self._rules = rules
        self._generation: int | None = None
        self._held: dict[int, Held] = {}
        self._gone_back_to: dict[int, int] = {}
        self._stall = StallGuard(lambda: app.consumer_generation_id)
        self._places = asyncio.Semaphore(IN_WORK_MAX)
        self._turns: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._taking_over = asyncio.Lock()

    async def run(self, stream: AsyncIterable[EventT[Any]]) -> None:
        """Meter a stream of record batches until it ends.

        What can't be mended by waiting stops the program: its supervisor starts it again, nothing is acked.
        """
        async with self._stall.watching(), self._watched(), asyncio.TaskGroup() as work:
            async for event in stream:
                await self._places.acquire()
                work.create_task(self._in_turn(event))

    async def _in_turn(self, event: EventT[Any]) -> None:
        """Process a batch after those of its partition that came before; first come, first served."""
        try:
            async with self._turns[event.message.partition]:
                await self._guarded(self._process(event))
        finally:
            self._places.release()

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """No batch is in work meanwhile."""
        for _ in range(IN_WORK_MAX):
            await self._places.acquire()
        try:
            yield
        finally:
            for _ in range(IN_WORK_MAX):
                self._places.release()

    async def _guarded(self, work: Awaitable[None]) -> None:
        try:
            await work
        except PartitionLostError as lost:
            logger.info("%s", lost)
        except Exception as error:
            told = isinstance(error, LogTruncatedError | StateDamagedError | StalledError)
            logger.critical("the worker stops: %s", error, exc_info=not told)
            await self._app.crash(error)
            await asyncio.Event().wait()

    async def _process(self, event: EventT[Any]) -> None:
        message = event.message
        partition, generation = message.partition, message.generation_id or 0
        started_s = perf_counter()
        batch = cast("RecordBatch", message.value)
        held = await self._hold(partition, generation)
        try:
            work = plan(held, batch, self._rules)
        except OffsetGapError as gap:
            await self._go_back(partition, gap.expected, f"{gap}")
            return
        self._gone_back_to.pop(partition, None)
        if work is not None:
            after = await carry_out(work, partial(self._publish, generation))
            if generation != self._generation:
                raise PartitionLostError("the group was divided anew; what is held now was read back since")
            self._held[partition] = after
            _observe(partition, batch, held, work, perf_counter() - started_s)
        else:
            metrics.SKIPPED.labels(partition).inc(len(batch))
        event.ack()

    async def _hold(self, partition: int, generation: int) -> Held:
        """The state of a partition; all are read back whenever the group has been divided anew."""
        async with self._taking_over:
            self._check_generation(generation)
            if generation != self._generation:
                self._held.clear()
                self._gone_back_to.clear()
                self._generation = generation
                self._stall.forget(generation)
            if partition not in self._held:
                await self._take_over({partition, *self._assigned()} - self._held.keys(), generation)
            return self._held[partition]

    def _assigned(self) -> set[int]:
        return {tp.partition for tp in self._app.consumer.assignment() if tp.topic == topics.EVENTS}

    async def _take_over(self, partitions: set[int], generation: int) -> None:
        async for attempt in self._retrying():
            with attempt:
                taken = await read_held(self._kafka, partitions)
        await self._publish(generation, [claim(held) for held in taken.values()])
        self._held |= taken
        for partition in sorted(partitions):
            metrics.RESTORES.labels(partition).inc()
            next_offset = self._held[partition].state.next_offset
            metrics.LAG.taken_over(partition, next_offset)
            logger.info("partition %d goes on at offset %d", partition, next_offset)

    async def _publish(self, generation: int, records: Sequence[Outgoing]) -> None:
        async for attempt in self._retrying():
            with attempt:
                self._check_generation(generation)
                self._stall.check()
                await cast("Producer", self._app.producer).publish(records)

    def _check_generation(self, generation: int) -> None:
        if self._app.consumer_generation_id != generation:
            raise PartitionLostError("the group was divided anew; the batch goes to whoever owns it now")

    async def _go_back(self, partition: int, offset: int, why: str) -> None:
        """Ask for missing records once; what comes meanwhile lies ahead as well and will come again."""
        if self._gone_back_to.get(partition) == offset:
            return
        self._gone_back_to[partition] = offset
        metrics.SEEKS_BACK.labels(partition).inc()
        logger.warning("%s; going back", why)
        await self._app.consumer.seek(TP(topics.EVENTS, partition), offset)

    @asynccontextmanager
    async def _watched(self) -> AsyncIterator[None]:
        watch = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            watch.cancel()

    async def _watch(self) -> None:
        """Go back for records that do not come: behind the end of a log no later delivery shows a gap."""
        stood: dict[int, int] = {}
        while True:
            await asyncio.sleep(WATCH_S)
            if self._app.rebalancing:
                continue
            async with self._alone():
                await self._guarded(self._look_after(stood))
                stood = {partition: held.state.next_offset for partition, held in self._held.items()}

    async def _look_after(self, stood: Mapping[int, int]) -> None:
        generation = self._app.consumer_generation_id
        for partition in self._assigned():
            # Nothing was delivered of it since the group was divided: it is taken over all the same.
            await self._hold(partition, generation)
        stands = {partition: held.state.next_offset for partition, held in self._held.items()}
        standing = {number for number, offset in stands.items() if offset == stood.get(number)}
        try:
            await self._go_back_where_the_log_goes_on(standing & self._assigned(), stands)
        except (KafkaError, TimeoutError) as error:
            logger.warning("the ends of the log are not to be had (%r); asking again", error)

    async def _go_back_where_the_log_goes_on(self, standing: set[int], stands: dict[int, int]) -> None:
        tps = [TP(topics.EVENTS, partition) for partition in standing]
        ends = await asyncio.wait_for(self._app.consumer.highwaters(*tps), WATCH_S) if tps else {}
        for tp, end in ends.items():
            if stands[tp.partition] < end:
                self._gone_back_to.pop(tp.partition, None)
                why = f"partition {tp.partition} stands at {stands[tp.partition]} of {end}"
                await self._go_back(tp.partition, stands[tp.partition], why)

    def _retrying(self) -> AsyncRetrying:
        return AsyncRetrying(
            wait=wait_exponential_jitter(multiplier=0.1, max=RETRY_WAIT_MAX_S),
            retry=retry_if_exception(lambda error: isinstance(error, KafkaError) and error.retriable),
            before_sleep=_tell_retry,
            reraise=True,
        )


def _tell_retry(attempt: RetryCallState) -> None:
    metrics.PUBLISH_RETRIES.inc()
    error = attempt.outcome.exception() if attempt.outcome else None
    logger.warning("Kafka does not answer (%r); trying again, attempt %d", error, attempt.attempt_number + 1)


def _observe(partition: int, batch: RecordBatch, held: Held, work: Work, seconds: float) -> None:
    state = work.after.state
    new = state.next_offset - held.state.next_offset
    metrics.RECORDS.labels(partition).inc(new)
    metrics.SKIPPED.labels(partition).inc(len(batch) - new)
    metrics.BATCH_RECORDS.observe(new)
    metrics.BATCH_SECONDS.observe(seconds)
    metrics.NEXT_OFFSET.labels(partition).set(state.next_offset)
    metrics.LAG.metered(partition, state.next_offset, batch[-1].recorded_at_ms or 0)
    metrics.NEWEST_RECORD_SECONDS.labels(partition).set((batch[-1].recorded_at_ms or 0) / 1_000)
    metrics.ACCOUNTS.labels(partition).set(len(state.accounts))
    kinds = Counter(entry.kind for entry in work.metered.entries)
    for kind, count in kinds.items():
        metrics.ENTRIES.labels(kind).inc(count)
    if kinds["uncovered"]:
        for entry in work.metered.entries:
            if entry.kind == "uncovered" and entry.calls > 0:
                metrics.UNCOVERED.labels(entry.reason).inc()
    for letter in work.metered.dead_letters:
        metrics.DEAD_LETTERS.labels(letter.reason).inc()
