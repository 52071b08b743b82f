"""The publisher of settlements: facts of `phone-events`, in the partition of their app."""

from collections.abc import Sequence

from kafka.errors import KafkaError

from kafka_access.access import KafkaAccess
from metering.placement import partition_of
from metering.topics import EVENTS
from sinks.kafka_consumer import translate_kafka_errors
from sinks.kafka_producer import ConfirmingProducer, OutgoingRecord


class OtherPartitionError(KafkaError):  # type: ignore[misc]  # kafka-python ships no types
    """The partition of an app is not the one that its ledger came from: the topic was divided anew."""


class SettlementsPublisher:
    """A producer of `phone-events` that waits until the broker has confirmed the records.

    A record that is published again, because a confirmation was lost, is a duplicate by its event id.
    """

    def __init__(self, kafka: KafkaAccess) -> None:
        with translate_kafka_errors():
            self._producer = ConfirmingProducer(kafka, "phonemeter-settler")

    def publish(self, appid: str, partition: int, events: Sequence[bytes]) -> None:
        """Publish the parts of a settlement, in order.

        Raises:
            OtherPartitionError: the app does not belong into the partition that its ledger names.
            KafkaError: the broker did not confirm one of them in time; it may have it all the same.
        """
        key = appid.encode()
        with translate_kafka_errors():
            belongs = partition_of(key, self._producer.partition_count(EVENTS))
        if belongs != partition:
            raise OtherPartitionError(
                f"app {appid} belongs into partition {belongs} of {EVENTS} and its ledger is of "
                f"partition {partition}: the number of partitions was changed; restore it"
            )
        self._producer.publish(OutgoingRecord(EVENTS, partition, key, event) for event in events)

    def close(self) -> None:
        """Close the producer; all published records are confirmed already."""
        self._producer.close()
