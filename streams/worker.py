"""The worker: carries out the order of work for every batch, and never trusts the delivery.

Faust was seen to leave records out after a restart, and to deliver others twice. The state says which offset
comes next: what lies behind it is skipped, and for what lies ahead the worker goes back.
"""

import asyncio
import logging
from collections.abc import AsyncIterable, Sequence
from dataclasses import dataclass
from time import monotonic, perf_counter
from typing import Any, cast

from aiokafka.errors import KafkaError
from faust.types import TP, EventT
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_exponential_jitter

from metering import topics
from metering.partition import OffsetGapError
from metering.rules import Rules
from streams import metrics
from streams.batch_step import Held, Outgoing, Work, carry_out, claim, plan
from streams.record_batches import RecordBatch, RecordBatchApp
from streams.state_log import StateDamagedError
from streams.state_reading import LogTruncatedError, read_held

logger = logging.getLogger(__name__)

SEEK_AGAIN_AFTER_S = 5.0
"""How long to wait for the records that were gone back for, before going back once more."""

RETRY_WAIT_MAX_S = 10.0

BEAT_S = 0.5
STALL_MAX_S = 4.0
"""A process that stood still for longer may have lost its partitions without having heard of it: the group's
session time-out is 6 s."""


class PartitionLostError(Exception):
    """The partition was given to another worker while its batch was being published."""


class StalledError(Exception):
    """The process stood still for so long that its partitions may be another worker's by now."""


@dataclass(slots=True)
class _SeekBack:
    offset: int
    at_s: float


class Worker:
    """Holds the states of the partitions that this process owns, and meters their batches one by one."""

    def __init__(self, app: RecordBatchApp, kafka: str, rules: Rules) -> None:
        self._app = app
        self._kafka = kafka
        self._rules = rules
        self._generation: int | None = None
        self._held: dict[int, Held] = {}
        self._seeks: dict[int, _SeekBack] = {}
        self._beat_s = monotonic()
        self._stalled_s = 0.0

    async def beat(self) -> None:
        """Show that the process runs, every `BEAT_S`; go back once more for records that have not come."""
        self._notice_stall()
        for partition, seek in list(self._seeks.items()):
            if monotonic() - seek.at_s > SEEK_AGAIN_AFTER_S:
                await self._seek(partition, seek.offset)

    async def run(self, stream: AsyncIterable[EventT[Any]]) -> None:
        """Meter a stream of record batches until it ends.

        What can't be mended by waiting stops the program: its supervisor starts it again, nothing is acked.
        """
        async for event in stream:
            try:
                await self._process(event)
            except PartitionLostError as lost:
                logger.info("%s", lost)
            except Exception as error:
                told = isinstance(error, LogTruncatedError | StateDamagedError | StalledError)
                logger.critical("the worker stops: %s", error, exc_info=not told)
                await self._app.crash(error)
                await asyncio.Event().wait()

    async def _process(self, event: EventT[Any]) -> None:
        message = event.message
        started_s = perf_counter()
        batch = cast("RecordBatch", message.value)
        held = await self._hold(message.partition, message.generation_id or 0)
        try:
            work = plan(held, batch, self._rules)
        except OffsetGapError as gap:
            await self._go_back(message.partition, gap)
            return
        self._seeks.pop(message.partition, None)
        if work is not None:
            self._held[message.partition] = await carry_out(work, self._publish)
            _observe(message.partition, batch, held, work, perf_counter() - started_s)
        else:
            metrics.SKIPPED.labels(message.partition).inc(len(batch))
        event.ack()

    async def _hold(self, partition: int, generation: int) -> Held:
        """The state of a partition; all are read back whenever the group has been divided anew."""
        if generation != self._generation:
            self._held.clear()
            self._seeks.clear()
            self._generation = generation
            self._stalled_s = 0.0
        if partition not in self._held:
            await self._restore({partition, *self._assigned()})
        return self._held[partition]

    def _assigned(self) -> set[int]:
        return {tp.partition for tp in self._app.consumer.assignment() if tp.topic == topics.EVENTS}

    async def _restore(self, partitions: set[int]) -> None:
        async for attempt in self._retrying():
            with attempt:
                taken = await read_held(self._kafka, partitions)
        await self._publish([claim(held) for held in taken.values()])
        self._held |= taken
        for partition in sorted(partitions):
            metrics.RESTORES.labels(partition).inc()
            next_offset = self._held[partition].state.next_offset
            logger.info("partition %d goes on at offset %d", partition, next_offset)

    async def _publish(self, records: Sequence[Outgoing]) -> None:
        async for attempt in self._retrying():
            with attempt:
                self._check_ownership()
                await self._send(records)

    async def _send(self, records: Sequence[Outgoing]) -> None:
        producer = self._app.producer
        sent = [
            await producer.send(record.topic, record.key, record.value, record.partition, None, None)
            for record in records
        ]
        await asyncio.gather(*sent)

    def _check_ownership(self) -> None:
        if self._app.consumer_generation_id != self._generation:
            raise PartitionLostError("the group was divided anew; the batch goes to whoever owns it now")
        self._notice_stall()
        if self._stalled_s:
            raise StalledError(
                f"the process stood still for {self._stalled_s:.1f} s; it may have been replaced"
            )

    def _notice_stall(self) -> None:
        """Take note of a pause between two beats that was too long, until the group is divided anew."""
        now_s = monotonic()
        if now_s - self._beat_s > STALL_MAX_S:
            self._stalled_s = now_s - self._beat_s
        self._beat_s = now_s

    async def _go_back(self, partition: int, gap: OffsetGapError) -> None:
        """Ask for the missing records once; what comes meanwhile is ahead as well and will come again."""
        seek = self._seeks.get(partition)
        if seek is not None and seek.offset == gap.expected:
            return
        metrics.SEEKS_BACK.labels(partition).inc()
        logger.warning("%s; going back", gap)
        await self._seek(partition, gap.expected)

    async def _seek(self, partition: int, offset: int) -> None:
        self._seeks[partition] = _SeekBack(offset, monotonic())
        await self._app.consumer.seek(TP(topics.EVENTS, partition), offset)

    def _retrying(self) -> AsyncRetrying:
        return AsyncRetrying(
            wait=wait_exponential_jitter(initial=0.1, max=RETRY_WAIT_MAX_S),
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
    metrics.NEWEST_RECORD_SECONDS.labels(partition).set((batch[-1].recorded_at_ms or 0) / 1_000)
    metrics.ACCOUNTS.labels(partition).set(len(state.accounts))
    for entry in work.metered.entries:
        metrics.ENTRIES.labels(entry.kind).inc(1)
    for letter in work.metered.dead_letters:
        metrics.DEAD_LETTERS.labels(letter.reason).inc()
