"""The worker: carries out the order of work for every batch, and never trusts the delivery.

Faust was seen to leave records out after a restart, and to deliver others twice. The state says which offset
comes next: what lies behind it is skipped, and for what lies ahead the worker goes back. It goes back as well
when nothing comes although the log goes on.

Batches of one partition are carried out one after the other. Those of others go on meanwhile: while the
broker stores what one batch did, the next is metered. The state of a partition is stored every few seconds,
and when the worker is told to stop: until then its batches are not acked.
"""

import asyncio
import logging
from collections import defaultdict, deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import Any

from aiokafka.errors import IllegalStateError, KafkaError
from faust.types import TP, EventT
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_exponential_jitter

from metering import topics
from metering.partition import OffsetGapError
from metering.rules import Rules
from streams import metrics
from streams.batch_step import Held, Outgoing, Work, carry_out, checkpoint, claim, plan
from streams.deliveries import Taken, take
from streams.publishing import GivenUpError, Publisher, RefusedError
from streams.record_batches import RecordBatchApp
from streams.state_log import StateDamagedError
from streams.state_reading import LogTruncatedError, read_held

logger = logging.getLogger(__name__)

WATCH_S = 5.0
"""How long a partition may stand while its log goes on, before the worker goes back to where it stands."""

RETRY_WAIT_MAX_S = 10.0

IN_WORK_MAX = 2
"""Batches in work at a time: one is metered while what another did is being stored. More only take memory."""

STORE_S = 10.0
"""How old what the stored state does not have yet may become: after a crash it is metered again."""

STORE_RECORDS = 250_000
"""How many records that may be. The more, the more calls of an app share the cost of storing it."""

STORE_LOOK_S = 1.0

BREATH_S = 0.001
"""How long the event loop is free before a batch holds it: the next fetch has to be asked for first."""

CONFIRMED_S = 5.0
"""How long to wait for Kafka's confirmation before it is told that it does not come."""

STORE_LAST_S = 3.0
"""How long a worker that is told to stop tries to store its states; then others meter some records again."""


class PartitionLostError(Exception):
    """The partition was given to another worker while this one was at work on it."""


@dataclass(slots=True)
class Owned:
    """A partition that this process meters.

    Attributes:
        held: its state, and what of it is stored.
        stored_s: when it was stored, by the event loop's clock.
        unacked: the deliveries that the stored state does not have yet, without what they brought.
    """

    held: Held
    stored_s: float
    unacked: list[EventT[Any]] = field(default_factory=list)


class Worker:
    """Holds the states of the partitions that this process owns, and meters their batches in order."""

    def __init__(self, app: RecordBatchApp, kafka: str, rules: Rules, publisher: Publisher) -> None:
        self._app = app
        self._kafka = kafka
        self._rules = rules
        self._publisher = publisher
        self._generation: int | None = None
        self._owned: dict[int, Owned] = {}
        self._reached: dict[int, int] = {}
        self._gone_back_to: dict[int, int] = {}
        self._places = asyncio.Semaphore(IN_WORK_MAX)
        self._turns: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._waiting: defaultdict[int, deque[EventT[Any]]] = defaultdict(deque)
        self._working_off: set[int] = set()
        self._finishing = False
        self._taking_over = asyncio.Lock()

    async def run(self, stream: AsyncIterable[EventT[Any]]) -> None:
        """Meter a stream of record batches until it ends.

        What can't be mended by waiting stops the program: its supervisor starts it again, nothing is acked.
        """
        async with self._beside(), asyncio.TaskGroup() as work:
            async for event in stream:
                partition = event.message.partition
                self._waiting[partition].append(event)
                if partition not in self._working_off:
                    self._working_off.add(partition)
                    work.create_task(self._work_off(partition))

    async def finish(self) -> None:
        """Store all states before the worker stops, so that the next one has nothing to meter again."""
        self._finishing = True
        try:
            await asyncio.wait_for(self._store_what_is_old(0.0), STORE_LAST_S)
        except TimeoutError:
            logger.warning("not all states were stored in time: some records will be metered again")

    async def _work_off(self, partition: int) -> None:
        """Meter what waits of a partition, until nothing does or the worker is told to stop."""
        waiting = self._waiting[partition]
        while waiting and not self._finishing:
            async with self._places, self._turns[partition]:
                await asyncio.sleep(BREATH_S)
                await self._guarded(self._meter(partition, take(waiting)))
        self._working_off.discard(partition)

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
            told = isinstance(error, LogTruncatedError | StateDamagedError | RefusedError)
            logger.critical("the worker stops: %s", error, exc_info=not told)
            # Nothing more is metered. To wait here for being cancelled could be for ever: a consumer of
            # aiokafka swallows a cancellation while it stops, and one may have been stopped on the way here.
            self._finishing = True
            await self._app.crash(error)

    async def _meter(self, partition: int, taken: Taken) -> None:
        started_s = perf_counter()
        generation, batch = taken.generation, taken.records
        owned = await self._own(partition, generation)
        held = owned.held
        store = held.unstored_records + len(batch) > STORE_RECORDS or _age_s(owned) > STORE_S
        try:
            work = plan(held, batch, self._rules, store=store)
        except OffsetGapError as gap:
            await self._go_back(partition, gap.expected, f"{gap}")
            return
        self._gone_back_to.pop(partition, None)
        if work is not None:
            await self._carry_out(owned, work, generation)
            metrics.observe_batch(partition, batch, held, work, perf_counter() - started_s)
        else:
            metrics.SKIPPED.labels(partition).inc(len(batch))
        owned.unacked.extend(taken.events)
        self._ack(owned)

    async def _carry_out(self, owned: Owned, work: Work, generation: int) -> None:
        try:
            if work.header is not None:
                await self._confirm(generation, owned)
            after = await carry_out(work, partial(self._publish, generation))
        except BaseException:
            self._disown(owned)
            raise
        if generation != self._generation:
            raise PartitionLostError("the group was divided anew; what is held now was read back since")
        owned.held = after
        if work.header is not None:
            owned.stored_s = _now_s()

    def _disown(self, owned: Owned) -> None:
        """Forget a state that went on to what the ledger may not have; it is read back when needed."""
        partition = owned.held.state.partition
        if self._owned.get(partition) is owned:
            self._remember_reached()
            del self._owned[partition]

    def _remember_reached(self) -> None:
        """Whatever was metered here was in the log."""
        self._reached |= {at: max(to, self._reached.get(at, 0)) for at, to in self._stands().items()}

    def _ack(self, owned: Owned) -> None:
        if owned.held.unstored_records == 0:
            for event in owned.unacked:
                event.ack()
            owned.unacked.clear()

    async def _store_what_is_old(self, age_s: float) -> None:
        for partition, owned in list(self._owned.items()):
            if owned.held.unstored_records and _age_s(owned) >= age_s:
                async with self._places, self._turns[partition]:
                    await self._guarded(self._store(partition))

    async def _store(self, partition: int) -> None:
        owned, generation = self._owned.get(partition), self._generation
        work = checkpoint(owned.held) if owned is not None else None
        if owned is not None and work is not None and generation is not None:
            await self._carry_out(owned, work, generation)
            self._ack(owned)

    async def _own(self, partition: int, generation: int) -> Owned:
        """What is owned of a partition; all is read back whenever the group has been divided anew."""
        async with self._taking_over:
            self._check_generation(generation)
            if generation != self._generation:
                self._remember_reached()
                self._owned.clear()
                self._gone_back_to.clear()
                self._publisher.give_up()
                self._generation = generation
            if partition not in self._owned:
                await self._take_over({partition, *self._assigned()} - self._owned.keys(), generation)
            return self._owned[partition]

    def _assigned(self) -> set[int]:
        return {tp.partition for tp in self._app.consumer.assignment() if tp.topic == topics.EVENTS}

    async def _take_over(self, partitions: set[int], generation: int) -> None:
        async for attempt in self._retrying():
            with attempt:
                taken = await read_held(self._kafka, partitions, self._reached, generation)
        await self._publish(generation, [claim(held) for held in taken.values()])
        for partition, held in sorted(taken.items()):
            self._owned[partition] = Owned(held, _now_s())
            metrics.RESTORES.labels(partition).inc()
            next_offset = held.state.next_offset
            metrics.LAG.taken_over(partition, next_offset)
            logger.info("partition %d goes on at offset %d", partition, next_offset)

    async def _publish(self, generation: int, records: Sequence[Outgoing]) -> None:
        self._check_generation(generation)
        outcome = self._publisher.publish(records)
        await self._answered(outcome, generation, "confirm what was published")
        try:
            outcome.result()
        except GivenUpError:
            raise PartitionLostError("the group was divided anew while the batch was published") from None

    async def _confirm(self, generation: int, owned: Owned) -> None:
        """Store only as whom the group still knows: whoever comes later finds all that was stored before.

        A process that stood still may have been replaced without knowing it. Nothing that it publishes harms,
        as its lines are those of its successor, but two checkpoints would write over what that one builds on.
        """
        self._check_generation(generation)
        tp = TP(topics.EVENTS, owned.held.state.partition)
        asked = asyncio.ensure_future(self._app.still_owns({tp: owned.held.stored_offset}))
        try:
            await self._answered(asked, generation, "say whose the partition is")
        finally:
            asked.cancel()
        self._check_generation(generation)
        if not asked.result():
            raise PartitionLostError("the group was divided anew, and this worker did not hear of it")

    async def _answered(self, outcome: asyncio.Future[Any], generation: int, what: str) -> None:
        """Wait for Kafka as long as the worker owns what this is about."""
        while not (await asyncio.wait({outcome}, timeout=CONFIRMED_S))[0]:
            metrics.KAFKA_WAITS.inc()
            logger.warning("Kafka does not %s; waiting on", what)
            self._check_generation(generation)

    def _check_generation(self, generation: int) -> None:
        # A heartbeat that is refused between a division and its callback leaves none: -1.
        if self._app.consumer_generation_id != generation or generation < 1:
            raise PartitionLostError("the group was divided anew; the batch goes to whoever owns it now")

    async def _go_back(self, partition: int, offset: int, why: str) -> None:
        """Ask for missing records once; what comes meanwhile lies ahead as well and will come again."""
        if self._gone_back_to.get(partition) == offset:
            return
        self._gone_back_to[partition] = offset
        metrics.SEEKS_BACK.labels(partition).inc()
        logger.warning("%s; going back", why)
        try:
            await self._app.consumer.seek(TP(topics.EVENTS, partition), offset)
        except IllegalStateError:
            raise PartitionLostError("the partition was taken away before the worker could go back") from None

    @asynccontextmanager
    async def _beside(self) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self._watch()), asyncio.create_task(self._store_regularly())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()

    async def _store_regularly(self) -> None:
        """Store also what no further batch comes after."""
        while True:
            await asyncio.sleep(STORE_LOOK_S)
            await self._store_what_is_old(STORE_S)

    async def _watch(self) -> None:
        """Go back for records that do not come: behind the end of a log no later delivery shows a gap."""
        stood: dict[int, int] = {}
        while True:
            await asyncio.sleep(WATCH_S)
            if self._app.rebalancing:
                continue
            async with self._alone():
                await self._guarded(self._look_after(stood))
                stood = self._stands()

    async def _look_after(self, stood: Mapping[int, int]) -> None:
        generation = self._app.consumer_generation_id
        for partition in self._assigned():
            # Nothing was delivered of it since the group was divided: it is taken over all the same.
            await self._own(partition, generation)
        stands = self._stands()
        standing = {number for number, offset in stands.items() if offset == stood.get(number)}
        try:
            await self._go_back_where_the_log_goes_on(standing & self._assigned(), stands)
        except (KafkaError, TimeoutError) as error:
            logger.warning("the ends of the log are not to be had (%r); asking again", error)

    def _stands(self) -> dict[int, int]:
        return {partition: owned.held.state.next_offset for partition, owned in self._owned.items()}

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


def _now_s() -> float:
    return asyncio.get_running_loop().time()


def _age_s(owned: Owned) -> float:
    """Since when the state was stored; a state that is stored whole has no age, but the next batch has."""
    return _now_s() - owned.stored_s


def _tell_retry(attempt: RetryCallState) -> None:
    metrics.KAFKA_WAITS.inc()
    error = attempt.outcome.exception() if attempt.outcome else None
    logger.warning("Kafka does not answer (%r); trying again, attempt %d", error, attempt.attempt_number + 1)
