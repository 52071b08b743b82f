"""The log on the broker, read as committed with librdkafka, which no service reads with."""

import time
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from typing import cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from metering import topics
from metering.content_modes import Headers
from metering.partition import MeteringResult, meter
from metering.partition_state import PartitionState
from metering.records import Record, RecordRange
from metering.rules import Rules

ANSWERS_S_MAX = 20.0
POLL_S = 1.0
BATCH = 5_000


class SilentError(OSError):
    """The broker does not deliver its records."""


class Log:
    """Reads whole partitions, and keeps the offsets of `phone-events` that have a record."""

    def __init__(self, kafka: str) -> None:
        self._kafka = kafka
        self._offsets: dict[int, array[int]] = {}

    def forget(self) -> None:
        """Read from the beginning again, as the log was replaced."""
        self._offsets.clear()

    def partitions(self, topic: str) -> list[int]:
        """The partitions of a topic."""
        consumer = self._consumer()
        try:
            return sorted(consumer.list_topics(topic, timeout=ANSWERS_S_MAX).topics[topic].partitions)
        finally:
            consumer.close()

    def records(self, topic: str, partition: int) -> list[Record]:
        """All committed records of a partition."""
        read = self._read(topic, {partition: 0})
        return [_record(message) for message in read]

    def metered(self, partition: int) -> MeteringResult:
        """Meter a partition by the rules alone, from its first record on."""
        records = self.records(topics.EVENTS, partition)
        end = records[-1].offset + 1 if records else 0
        state = PartitionState(partition, partitions=len(self.partitions(topics.EVENTS)))
        return meter(state, RecordRange(records, 0, end), Rules())

    def offsets(self) -> Mapping[int, "array[int]"]:
        """The offsets of `phone-events` with a record; only new ones are read."""
        for partition in self.partitions(topics.EVENTS):
            self._offsets.setdefault(partition, array("q"))
        begins = {number: known[-1] + 1 if known else 0 for number, known in self._offsets.items()}
        for message in self._read(topics.EVENTS, begins):
            self._offsets[message.partition() or 0].append(message.offset() or 0)
        return self._offsets

    def records_up_to(self, partition: int, offset: int) -> int:
        """The number of records up to an offset, of those that `offsets` gave last."""
        return bisect_right(self._offsets.get(partition, array("q")), offset)

    def _read(self, topic: str, begins: Mapping[int, int]) -> Iterator[Message]:
        consumer = self._consumer()
        try:
            wanted = [TopicPartition(topic, number, begin) for number, begin in begins.items()]
            # Under load, the moving end might never be reached.
            try:
                ends = {at.partition: consumer.get_watermark_offsets(at, ANSWERS_S_MAX)[1] for at in wanted}
            except KafkaException:
                raise SilentError(f"the ends of {topic} are not available") from None
            consumer.assign(wanted)
            open_ones = {at.partition for at in wanted if at.offset < ends[at.partition]}
            heard_s = time.monotonic()
            while open_ones:
                for message in consumer.consume(BATCH, POLL_S):
                    heard_s = time.monotonic()
                    error = message.error()
                    if error is None:
                        yield message
                        if (message.offset() or 0) + 1 >= ends[message.partition() or 0]:
                            open_ones.discard(message.partition() or 0)
                    elif error.code() == KafkaError._PARTITION_EOF:
                        open_ones.discard(message.partition() or 0)
                if time.monotonic() - heard_s > ANSWERS_S_MAX:
                    raise SilentError(f"{topic} is not delivered to its end")
        finally:
            consumer.close()

    def _consumer(self) -> Consumer:
        return Consumer(
            {
                "bootstrap.servers": self._kafka,
                "group.id": "phonemeter-torture",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                "log_level": 0,
            }
        )


def _record(message: Message) -> Record:
    _, recorded_at_ms = message.timestamp()
    headers = cast("Headers", tuple(message.headers() or ()))
    return Record(message.offset() or 0, recorded_at_ms, message.key(), message.value(), headers)
