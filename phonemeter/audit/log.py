"""Reading topics from Kafka for an audit: one partition in order, up to a place that is fixed beforehand.

By a consumer for each, so that several can be read side by side, and of the library that is quicker at it.
"""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import aiokafka
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord
from kafka import TopicPartition
from kafka.admin import OffsetSpec

from phonemeter.errors import OperationError
from phonemeter.replay.reading import REQUEST_TIMEOUT_MS, SILENCE_S_MAX, Span, silence
from phonemeter.stack.kafka.topics import admin

FETCH_BYTES: Final = 4 * 1024 * 1024
RECORDS_MAX: Final = 20_000
FETCH_WAIT_MS: Final = 500


def spans(kafka: str, topic: str) -> dict[int, Span]:
    """What each partition of a topic holds now.

    Raises:
        OperationError: there is no such topic, or Kafka does not answer.
    """
    with admin(kafka) as client:
        described = client.describe_topics([topic])[0]
        if described["error_code"] != 0:
            raise OperationError(f"Kafka at {kafka} has no topic {topic}; phonemeter up creates it.")
        at = [TopicPartition(topic, one["partition_index"]) for one in described["partitions"]]
        begins = client.list_partition_offsets(dict.fromkeys(at, OffsetSpec.EARLIEST))
        ends = client.list_partition_offsets(dict.fromkeys(at, OffsetSpec.LATEST))
    return {one.partition: Span(begins[one].offset, ends[one].offset) for one in sorted(at)}


class Log:
    """The topics of one Kafka, for reading. Made by `reading`; blocking, for one thread."""

    def __init__(self, kafka: str, runner: asyncio.Runner) -> None:
        self._kafka = kafka
        self._runner = runner
        self._open: set[AIOKafkaConsumer] = set()

    def close(self) -> None:
        """Stop what is still being read."""
        while self._open:
            self._runner.run(self._open.pop().stop())

    def batches(self, topic: str, partition: int, span: Span) -> Iterator[list[ConsumerRecord]]:
        """The records of a span in order. Several may be read side by side; close those not read to the end.

        Raises:
            OperationError: Kafka does not deliver them.
        """
        if span.begin >= span.end:
            return
        at = aiokafka.TopicPartition(topic, partition)
        consumer = self._runner.run(_started(self._kafka, at, span.begin))
        self._open.add(consumer)
        try:
            heard_s = time.monotonic()
            next_offset = span.begin
            while next_offset < span.end:
                got = self._runner.run(_fetch(consumer, at))
                if got:
                    heard_s = time.monotonic()
                    next_offset = got[-1].offset + 1
                    yield [record for record in got if record.offset < span.end]
                elif time.monotonic() - heard_s > SILENCE_S_MAX:
                    raise silence(self._kafka, topic, partition)
        finally:
            if consumer in self._open:
                self._open.remove(consumer)
                self._runner.run(consumer.stop())


@contextmanager
def reading(kafka: str) -> Iterator[Log]:
    """A log to read, closed at the end.

    Raises:
        OperationError: Kafka stops answering.
    """
    with asyncio.Runner() as runner:
        log = Log(kafka, runner)
        try:
            yield log
        except KafkaError as error:
            raise OperationError(f"Kafka at {kafka} stopped answering ({error}); try again.") from error
        finally:
            log.close()


async def _started(kafka: str, at: aiokafka.TopicPartition, offset: int) -> AIOKafkaConsumer:
    # The consumer binds to the loop that runs when it is made.
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka,
        client_id="phonemeter-audit",
        enable_auto_commit=False,
        auto_offset_reset="none",
        max_partition_fetch_bytes=FETCH_BYTES,
        request_timeout_ms=REQUEST_TIMEOUT_MS,
    )
    await consumer.start()
    consumer.assign([at])
    consumer.seek(at, offset)
    return consumer


async def _fetch(consumer: AIOKafkaConsumer, at: aiokafka.TopicPartition) -> list[ConsumerRecord]:
    got = await consumer.getmany(at, timeout_ms=FETCH_WAIT_MS, max_records=RECORDS_MAX)
    records: list[ConsumerRecord] = got.get(at, [])
    return records
