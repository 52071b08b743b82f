"""Views of a topic's partitions, to compare the log with the one that was read before."""

import time
from typing import Any, Final

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaTimeoutError

from kafka_access.access import KafkaAccess
from metering.log_identity import NO_OFFSET, FoundRecord, Mark, PartitionView, fingerprint
from sinks.kafka_consumer import CONNECT_TIMEOUT_MS, consumer, translate_kafka_errors

VIEW_MS_MAX: Final = 2_000
"""Time that the broker may take to deliver one record; the sink waits meanwhile."""
FETCH_BYTES_MAX: Final = 2**20


class LogViewer:
    """Viewer of one topic, with a consumer of its own that is in no group and is opened when first needed."""

    def __init__(self, kafka: KafkaAccess, topic: str, client_id: str) -> None:
        self._kafka = kafka
        self._topic = kafka.topic(topic)
        self._client_id = client_id
        self._consumer: KafkaConsumer | None = None

    def view(self, partition: int, mark: Mark) -> PartitionView:
        """Ask the broker for a partition's begin, its end, and the record at the offset of a mark.

        Raises:
            KafkaError: the broker does not answer.
        """
        at = TopicPartition(self._topic, partition)
        with translate_kafka_errors():
            reader = self._opened()
            reader.assign([at])
            begin: int = reader.beginning_offsets([at], timeout_ms=VIEW_MS_MAX)[at]
            end: int = reader.end_offsets([at], timeout_ms=VIEW_MS_MAX)[at]
            there = mark.offset != NO_OFFSET and begin <= mark.offset < end
            found = _record_at(reader, at, mark.offset) if there else None
            return PartitionView(topic_id(reader, self._topic), begin, end, found)

    def close(self) -> None:
        """Close the consumer, if there is one."""
        reader, self._consumer = self._consumer, None
        if reader is not None:
            reader.close(autocommit=False, timeout_ms=CONNECT_TIMEOUT_MS)

    def _opened(self) -> KafkaConsumer:
        if self._consumer is None:
            self._consumer = consumer(
                self._kafka, client_id=self._client_id, max_partition_fetch_bytes=FETCH_BYTES_MAX
            )
        # Refreshes the metadata, which may be older than the topic.
        self._consumer.topics()
        return self._consumer


def topic_id(reader: KafkaConsumer, topic: str) -> str:
    """Id of a topic in the consumer's metadata; empty if it is not known."""
    known = reader._client.cluster.topic_id(topic)  # noqa: SLF001 - there is no public way
    return str(known or "")


def found_record(record: Any) -> FoundRecord:  # noqa: ANN401 - kafka-python ships no types
    """Fingerprint and leader epoch of a record."""
    return FoundRecord(fingerprint(record.key, record.value, record.timestamp), record.leader_epoch)


def _record_at(reader: KafkaConsumer, at: TopicPartition, offset: int) -> FoundRecord | None:
    reader.seek(at, offset)
    until_s = time.monotonic() + VIEW_MS_MAX / 1_000
    while reader.position(at) <= offset:
        records = reader.poll(timeout_ms=100, max_records=1).get(at, ())
        if records:
            return found_record(records[0]) if records[0].offset == offset else None
        if time.monotonic() > until_s:
            raise KafkaTimeoutError(
                f"record {offset} of {at.topic} partition {at.partition} is not delivered"
            )
    return None
