"""A topic read from one place to another, a batch at a time, outside of any consumer group.

By one consumer, which goes to and fro. An audit, which reads everything at once, has its own (audit/log.py).
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from phonemeter.errors import OperationError
from phonemeter.stack.kafka.topics import admin

POLL_MS: Final = 500
POLL_RECORDS_MAX: Final = 5_000
FETCH_BYTES_MAX: Final = 8 * 2**20
"""With the limit above, what is held in memory however large the topic is."""

SILENCE_S_MAX: Final = 30.0
"""How long a partition that has more records may deliver none before that is told."""

REQUEST_TIMEOUT_MS: Final = 15_000


class Span(NamedTuple):
    """The offsets that a partition holds: from `begin` to before `end`."""

    begin: int
    end: int


def silence(kafka: str, topic: str, partition: int) -> OperationError:
    """What is said of a partition that has been silent for too long."""
    return OperationError(
        f"Kafka at {kafka} has not delivered the records of {topic} partition {partition} "
        f"for {SILENCE_S_MAX:g} s; see its log, and try again."
    )


class TopicReader:
    """Reads topics of one Kafka. Made by `reading`."""

    def __init__(self, consumer: KafkaConsumer, kafka: str) -> None:
        self._consumer = consumer
        self._kafka = kafka

    def spans(self, topic: str) -> dict[int, Span]:
        """What each partition of a topic holds now.

        Raises:
            OperationError: there is no such topic.
        """
        partitions = self._consumer.partitions_for_topic(topic)
        if not partitions:
            raise OperationError(f"Kafka at {self._kafka} has no topic {topic}; phonemeter up creates it.")
        at = [TopicPartition(topic, partition) for partition in sorted(partitions)]
        begins = self._consumer.beginning_offsets(at)
        ends = self._consumer.end_offsets(at)
        return {one.partition: Span(begins[one], ends[one]) for one in at}

    def spans_since(self, topic: str, time_ms: int) -> dict[int, Span]:
        """What each partition holds from the first record on whose Kafka time is `time_ms` or later."""
        spans = self.spans(topic)
        wanted = {TopicPartition(topic, partition): time_ms for partition in spans}
        found = self._consumer.offsets_for_times(wanted)
        begins: dict[int, int] = {
            at.partition: first.offset for at, first in found.items() if first is not None
        }
        return {
            partition: Span(begins.get(partition, span.end), span.end) for partition, span in spans.items()
        }

    def batches(self, topic: str, partition: int, span: Span) -> Iterator[list[Any]]:
        """The records of a span, as kafka-python gives them.

        Raises:
            OperationError: Kafka does not deliver them.
        """
        at = TopicPartition(topic, partition)
        self._consumer.assign([at])
        self._consumer.seek(at, span.begin)
        heard_s = time.monotonic()
        while self._consumer.position(at) < span.end:
            records = self._consumer.poll(timeout_ms=POLL_MS).get(at, [])
            if records:
                heard_s = time.monotonic()
                yield [record for record in records if record.offset < span.end]
            elif time.monotonic() - heard_s > SILENCE_S_MAX:
                raise silence(self._kafka, topic, partition)


@contextmanager
def reading(kafka: str) -> Iterator[TopicReader]:
    """A reader on a Kafka, closed at the end.

    Raises:
        OperationError: Kafka does not answer, or stops answering.
    """
    with admin(kafka):
        # Whether anybody answers: a consumer's own attempts would leave sockets open and take long.
        pass
    try:
        consumer = KafkaConsumer(
            bootstrap_servers=kafka.split(","),
            client_id="phonemeter-reader",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            allow_auto_create_topics=False,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
            fetch_max_bytes=FETCH_BYTES_MAX,
            max_partition_fetch_bytes=FETCH_BYTES_MAX,
            max_poll_records=POLL_RECORDS_MAX,
        )
        try:
            yield TopicReader(consumer, kafka)
        finally:
            consumer.close()
    except KafkaError as error:
        raise OperationError(f"Kafka at {kafka} stopped answering ({error}); try again.") from error
