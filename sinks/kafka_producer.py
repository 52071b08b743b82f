"""A Kafka producer whose records are confirmed when it returns."""

from collections.abc import Iterable
from typing import Final, NamedTuple

from kafka import KafkaProducer

from kafka_access.access import KafkaAccess
from kafka_access.kafka_python import kafka_python_options
from sinks.kafka_consumer import CONNECT_TIMEOUT_MS, require_kafka, translate_kafka_errors

DELIVERY_TIMEOUT_MS: Final = 10_000
"""Longest wait for the broker to confirm records."""


class OutgoingRecord(NamedTuple):
    """A record to be published."""

    topic: str
    partition: int
    key: bytes
    value: bytes | None


class ConfirmingProducer:
    """A producer that waits until the broker has confirmed the records."""

    def __init__(self, kafka: KafkaAccess, client_id: str) -> None:
        require_kafka(kafka)
        self._kafka = kafka
        self._producer = KafkaProducer(
            **kafka_python_options(kafka),
            client_id=client_id,
            acks="all",
            # kafka-python 3.0.12 may wait for ever for the id of an idempotent producer after a broker was
            # killed; readers know a duplicate record as one.
            enable_idempotence=False,
            max_in_flight_requests_per_connection=1,
            linger_ms=0,
            max_block_ms=DELIVERY_TIMEOUT_MS,
            request_timeout_ms=DELIVERY_TIMEOUT_MS // 2,
            delivery_timeout_ms=DELIVERY_TIMEOUT_MS,
            allow_auto_create_topics=False,
        )

    def partition_count(self, topic: str) -> int:
        """The number of partitions of a topic."""
        return len(self._producer.partitions_for(self._kafka.topic(topic)))

    def publish(self, records: Iterable[OutgoingRecord]) -> None:
        """Publish records, in order per partition.

        Raises:
            KafkaError: the broker did not confirm one of them in time; it may have it all the same.
        """
        with translate_kafka_errors():
            sent = [
                self._producer.send(
                    self._kafka.topic(one.topic), partition=one.partition, key=one.key, value=one.value
                )
                for one in records
            ]
            self._producer.flush(timeout=DELIVERY_TIMEOUT_MS / 1_000)
            for future in sent:
                future.get(timeout=DELIVERY_TIMEOUT_MS / 1_000)

    def close(self) -> None:
        """Close the producer; all published records are confirmed already."""
        self._producer.close(timeout=CONNECT_TIMEOUT_MS / 1_000)
