"""An extension of Faust whose stream has one item per poll and partition, with all its records.

Faust spends several times as long on an item as metering spends on a record. So `Consumer` puts what a poll
fetched from a partition of the events topic into one message: its value is the `RecordBatch`, its offset the
last one of the batch. Groups, flow control, acks and commits are Faust's. Written against faust-streaming
0.15.3, which is pinned for that reason; `tests/streams/test_record_batches.py` checks what this relies on.
"""

import asyncio
import gc
import logging
from collections.abc import Iterable, Mapping
from typing import Any, cast
from weakref import finalize

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import CommitFailedError, IllegalStateError
from aiokafka.structs import ConsumerRecord
from faust import App
from faust.app.base import BootStrategy
from faust.serializers.codecs import Codec, register
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from faust.types.transports import ConsumerT, TransportT
from mode import ServiceT

from metering import topics
from streams.fetch_buffer import EventsDamagedError, FetchBuffer, RecordBatch, keep_raw_records
from streams.preconditions import Preconditions

logger = logging.getLogger(__name__)

CODEC = "record_batch"

RECORDS_MAX = 80_000
BYTES_MAX = 64 * 1024 * 1024
"""The limits of back-pressure: with so many records, or bytes of values, in memory, no more are fetched."""

FETCH_BYTES_MAX = 32 * 1024 * 1024
"""The limit of one response of a broker, compressed, of all partitions together."""

LINGER_S = 0.05
"""The pause after a fetch of few records: a fetch and a batch cost the same for one record and for many."""

FEW_RECORDS = 1_000

FETCH_WAIT_MS = 50
"""The time that a broker may delay an empty response. Until then it is asked for nothing else, so partitions
without a backlog would delay those with one."""


class _PassThrough(Codec):
    """The codec of batches, which are Python objects already."""

    def _loads(self, s: object) -> object:
        return s


register(CODEC, _PassThrough())


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """Reads committed records only; those of the events topic come in record batches."""

    async def on_start(self) -> None:
        """Put the buffer of record batches in place; Faust calls this in the thread."""
        keep_raw_records()
        await super().on_start()
        self._ensure_consumer()._fetcher._records = FetchBuffer(_events_topic(self.app))  # noqa: SLF001 - no public way, and pinned

    def _create_worker_consumer(self, transport: driver.Transport) -> AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        # Faust has no settings for these, and it is pinned.
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS  # noqa: SLF001 - as above
        consumer._isolation_level = "read_committed"  # noqa: SLF001 - as above
        consumer._fetch_max_bytes = FETCH_BYTES_MAX  # noqa: SLF001 - as above
        return consumer

    async def _fetch_records(
        self,
        consumer: AIOKafkaConsumer,
        active_partitions: set[TP],
        timeout: float | None = None,  # noqa: ASYNC109 - the signature is Faust's
        max_records: int | None = None,
    ) -> Mapping[TP, list[Any]]:
        consumer._fetcher._records.begin_poll()  # noqa: SLF001 - see `on_start`
        return await super()._fetch_records(consumer, active_partitions, timeout, max_records)

    async def seek_here(self, partition: TP, offset: int) -> None:
        """Seek in this thread; from another one it would drop a response while this one unpacks it."""
        await self.call_thread(self._ensure_consumer().seek, partition, offset)

    async def commit_if_known(self, offsets: Mapping[TP, int]) -> bool:
        """Commit offsets; True if the group accepted them. Faust's commit skips partitions that it lost."""
        asked = {driver.ensure_aiokafka_TP(tp): offset for tp, offset in offsets.items()}
        try:
            await self.call_thread(self._ensure_consumer().commit, asked)
        except (CommitFailedError, IllegalStateError):
            return False
        return True


class Consumer(driver.Consumer):
    """Delivers the events topic in record batches, and commits up to the newest acked batch.

    Back-pressure here is by records and bytes in memory. Faust's is by messages, and would pause partitions
    with many small batches, as they come while the worker keeps up; a partition that was paused then waits
    up to a second for the fetch of the others.
    """

    _records = _bytes = 0
    _room: asyncio.Event | None = None
    _next_fetch_s = 0.0

    async def still_owns(self, next_offsets: Mapping[TP, int]) -> bool:
        """Ask the group whether these partitions are still assigned to this worker.

        This commits their next offsets, which the broker refuses from a member of an older generation. If it
        accepts them, no later owner exists at that moment.
        """
        return await cast("ConsumerThread", self._thread).commit_if_known(next_offsets)

    def held_up(self, tp: TP) -> int:
        """The number of records behind an open transaction, as of the last fetch."""
        consumer = cast("ConsumerThread", self._thread)._ensure_consumer()  # noqa: SLF001 - ours
        end, stable = consumer.highwater(tp), consumer.last_stable_offset(tp)
        return 0 if end is None or stable is None else max(0, end - stable)

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def _getmany(
        self,
        active_partitions: set[TP] | None,
        timeout: float,  # noqa: ASYNC109 - the signature is Faust's
    ) -> Mapping[TP, list[Any]]:
        if not await self._wait_for_room(timeout):
            return {}
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self._next_fetch_s - loop.time())
        try:
            fetched = await super()._getmany(active_partitions, timeout)
        except EventsDamagedError as error:
            logger.critical("the worker stops: %s", error)
            await self.app.crash(error)
            return {}
        # Popped, because Faust keeps these lists until its next calls are done.
        topic = _events_topic(self.app)
        batches = {tp: found.pop() for tp, found in fetched.items() if tp.topic == topic and found}
        if sum(map(len, batches.values())) < FEW_RECORDS:
            self._next_fetch_s = loop.time() + LINGER_S
        return {**fetched, **{tp: [self._message(tp, batch)] for tp, batch in batches.items()}}

    async def _wait_for_room(self, timeout_s: float) -> bool:
        """Wait until there is room for more records, up to the time-out after which Faust has other work."""
        if self._has_room():
            return True
        self._room = asyncio.Event()
        try:
            await asyncio.wait_for(self._room.wait(), timeout_s)
        except TimeoutError:
            # Batches in reference cycles are not in use, but automatic collections are rare.
            gc.collect()
        self._room = None
        return self._has_room()

    def _has_room(self) -> bool:
        return self._records <= RECORDS_MAX and self._bytes <= BYTES_MAX

    def _message(self, tp: TP, batch: RecordBatch) -> ConsumerRecord:
        self._records += len(batch)
        self._bytes += batch.bytes
        finalize(batch, self._release, len(batch), batch.bytes)
        newest_ms = batch[-1].recorded_at_ms or 0 if batch else 0
        return ConsumerRecord(
            tp.topic, tp.partition, batch.end - 1, newest_ms, 0, None, batch, None, -1, -1, ()
        )

    def _release(self, records: int, size: int) -> None:
        """Subtract a batch that was metered or dropped."""
        self._records -= records
        self._bytes -= size
        if self._room is not None and self._has_room():
            self._room.set()

    async def _seek(self, partition: TP, offset: int) -> None:
        await cast("ConsumerThread", self._thread).seek_here(partition, offset)

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Ignore gaps: only the last offset of a batch is that of a message."""

    def _new_offset(self, tp: TP) -> int | None:
        """The offset to commit: batches are acked in order, so it follows the newest acked one."""
        acked = self._acked[tp]
        if not acked:
            return None
        next_offset = int(max(acked)) + 1
        acked.clear()
        self._acked_index[tp].clear()
        return next_offset


class Transport(driver.Transport):
    """Faust's aiokafka transport with the consumer above."""

    Consumer = cast("type[ConsumerT]", Consumer)


class HealthFirstBoot(BootStrategy):
    """Starts the web server with the health pages first, and clients of Kafka after the preconditions."""

    def server(self) -> Iterable[ServiceT]:
        """The services of a worker, in the order in which they start."""
        app = cast("RecordBatchApp", self.app)
        return self._chain(
            self.sensors(),
            self.web_server(),
            [app.preconditions] if app.preconditions else [],
            self.kafka_producer(),
            self.kafka_consumer(),
            self.agents(),
            self.kafka_conductor(),
            self.tables(),
        )


class RecordBatchApp(App):
    """A Faust application that receives the events topic in record batches.

    It checks its preconditions, if any, before it joins its group.
    """

    BootStrategy = HealthFirstBoot
    preconditions: Preconditions | None = None
    events_topic = topics.EVENTS

    async def still_owns(self, next_offsets: Mapping[TP, int]) -> bool:
        """Ask the group, as `Consumer.still_owns` does."""
        return await cast("Consumer", self.consumer).still_owns(next_offsets)

    def _new_transport(self) -> TransportT:
        return cast("TransportT", Transport(self.conf.broker_consumer, self))

    def _create_directories(self) -> None:
        """Create none: the state is in Kafka, and a worker may run where nothing can be written."""


def _events_topic(app: object) -> str:
    """The name of the events topic on the brokers."""
    return cast("RecordBatchApp", app).events_topic
