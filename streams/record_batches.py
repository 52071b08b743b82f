"""A small extension of Faust: a stream whose items are all the records that one poll gave of a partition.

Faust's cost is per item, several times that of metering a record. So `Consumer` folds what a poll fetched
from a partition of the events topic into one message: its value is the `RecordBatch`, its offset the last
record's. Everything else is Faust's: groups, flow control, acks, commits. Written against faust-streaming
0.15.3, which is pinned for that reason; `tests/streams/test_record_batches.py` checks what this relies on.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, cast
from weakref import finalize

from aiokafka import AIOKafkaConsumer
from aiokafka.consumer.fetcher import FetchResult
from aiokafka.errors import CommitFailedError, IllegalStateError
from aiokafka.structs import ConsumerRecord
from faust import App
from faust.serializers.codecs import Codec, register
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from faust.types.transports import ConsumerT, TransportT

from metering import topics
from metering.partition import Record

CODEC = "record_batch"


RECORDS_MAX = 80_000
"""Records in memory, waiting or in work, beyond which no more are fetched: about 50 MB."""


LINGER_S = 0.05
"""How soon after few records more are fetched: a fetch and a batch cost as much for one as for many."""

FEW_RECORDS = 1_000


FETCH_WAIT_MS = 50
"""How long a broker may wait with an answer that is empty. Meanwhile it is asked for nothing else: partitions
that are at their end would hold up those that are behind."""


class RecordBatch(list[Record]):
    """The records of one partition, as one poll gave them, in the order of their offsets."""


class _PassThrough(Codec):
    """The batch is made of Python values already; there are no bytes to decode."""

    def _loads(self, s: object) -> object:
        return s


register(CODEC, _PassThrough())


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """Has what was fetched of the events topic unpacked to records of ours at once, which costs half."""

    def _create_worker_consumer(self, transport: driver.Transport) -> AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS  # noqa: SLF001 - Faust has no setting for it, and pinned
        return consumer

    async def _fetch_records(
        self,
        consumer: AIOKafkaConsumer,
        active_partitions: set[TP],
        timeout: float | None = None,  # noqa: ASYNC109 - the signature is Faust's
        max_records: int | None = None,
    ) -> Mapping[TP, list[Any]]:
        # What comes while this waits is unpacked to aiokafka's records; then there is little of it.
        for tp, fetched in consumer._fetcher._records.items():  # noqa: SLF001 - no public way, and pinned
            if tp.topic == topics.EVENTS and isinstance(fetched, FetchResult) and fetched.has_more():
                fetched._partition_records._consumer_record = _unpacked  # noqa: SLF001 - as above
        return await super()._fetch_records(consumer, active_partitions, timeout, max_records)

    async def seek_here(self, partition: TP, offset: int) -> None:
        """Seek in this thread: from another one that would take away what this one is unpacking."""
        await self.call_thread(self._ensure_consumer().seek, partition, offset)

    async def commit_if_known(self, offsets: Mapping[TP, int]) -> bool:
        """Commit, and tell whether the group took it; Faust's own leaves out what is no longer assigned."""
        asked = {driver.ensure_aiokafka_TP(tp): offset for tp, offset in offsets.items()}
        try:
            await self.call_thread(self._ensure_consumer().commit, asked)
        except (CommitFailedError, IllegalStateError):
            return False
        return True


class Consumer(driver.Consumer):
    """Gives the events topic in record batches, and commits as far as the newest acked batch.

    What is in memory is bounded in records. Faust bounds the messages that wait, and pauses a partition that
    has enough of them, also if they are small, as they are while the worker keeps up; and a partition that
    was paused waits for up to a second behind the fetch of the others.
    """

    _records = 0
    _some_gone: asyncio.Event | None = None
    _lingers_until_s = 0.0

    async def still_owns(self, next_offsets: Mapping[TP, int]) -> bool:
        """Ask the group whether it still gives these partitions to this worker.

        That is done by a commit of what comes next, which the broker refuses to a member of the past. If it
        takes it, nobody has been given the partitions later than this worker when it does.
        """
        return await cast("ConsumerThread", self._thread).commit_if_known(next_offsets)

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def _getmany(
        self,
        active_partitions: set[TP] | None,
        timeout: float,  # noqa: ASYNC109 - the signature is Faust's
    ) -> Mapping[TP, list[Any]]:
        await self._wait_for_room(timeout)
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self._lingers_until_s - loop.time())
        fetched = await super()._getmany(active_partitions, timeout)
        if sum(map(len, fetched.values())) < FEW_RECORDS:
            self._lingers_until_s = loop.time() + LINGER_S
        return {
            tp: [self._folded(tp, records)] if tp.topic == topics.EVENTS and records else records
            for tp, records in fetched.items()
        }

    async def _wait_for_room(self, timeout_s: float) -> None:
        """Wait until some of many records are gone, but not for ever: what keeps them may wait for others."""
        if self._records > RECORDS_MAX:
            self._some_gone = asyncio.Event()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._some_gone.wait(), timeout_s)
            self._some_gone = None

    def _folded(self, tp: TP, records: Sequence[Record | ConsumerRecord]) -> ConsumerRecord:
        if isinstance(records[0], Record):
            batch = RecordBatch(cast("Sequence[Record]", records))
        else:
            batch = RecordBatch(_unpacked(tp, record) for record in records)
        self._records += len(batch)
        finalize(batch, self._is_gone, len(batch))
        last = batch[-1]
        return ConsumerRecord(
            tp.topic, tp.partition, last.offset, last.recorded_at_ms or 0, 0, None, batch, None, -1, -1, ()
        )

    def _is_gone(self, records: int) -> None:
        """Take note that a batch was metered or dropped, by whoever held it last."""
        self._records -= records
        if self._some_gone is not None and self._records <= RECORDS_MAX:
            self._some_gone.set()

    async def _seek(self, partition: TP, offset: int) -> None:
        await cast("ConsumerThread", self._thread).seek_here(partition, offset)

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Ignore gaps: the offsets inside a batch never appear as messages of their own."""

    def _new_offset(self, tp: TP) -> int | None:
        """The offset to commit: batches are acked in order and only once applied, so the newest ack tells."""
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


class RecordBatchApp(App):
    """A Faust application that receives the events topic in record batches."""

    async def still_owns(self, next_offsets: Mapping[TP, int]) -> bool:
        """See `Consumer.still_owns`."""
        return await cast("Consumer", self.consumer).still_owns(next_offsets)

    def _new_transport(self) -> TransportT:
        return cast("TransportT", Transport(self.conf.broker_consumer, self))


def _unpacked(_tp: object, record: Any) -> Record:  # noqa: ANN401 - any of aiokafka's kinds of record
    return Record(record.offset, record.timestamp, record.key, record.value)
