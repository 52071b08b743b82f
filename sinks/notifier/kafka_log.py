"""Access to `phone-alerts` and `phone-deliveries`: one consumer group for both, and a producer."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from kafka import TopicPartition
from kafka.structs import OffsetAndMetadata

from kafka_access.access import KafkaAccess
from metering.log_identity import FoundRecord, Mark, difference
from metering.topics import ALERTS, DELIVERIES, NOTIFIER_GROUP
from sinks.kafka_consumer import (
    CONNECT_TIMEOUT_MS,
    REQUEST_TIMEOUT_MS,
    CommitMetadata,
    consumer,
    decode_metadata,
    encode_metadata,
    partitions_of,
    poll,
    translate_kafka_errors,
)
from sinks.kafka_producer import ConfirmingProducer, OutgoingRecord
from sinks.log_view import LogViewer, found_record, topic_id
from sinks.notifier.records import DeliveryOutput
from sinks.position import BEFORE_ALL, Position
from sinks.rebalances import Rebalance, RebalanceQueue

FETCH_BYTES_MAX: Final = 8 * 2**20
RECORDS_MAX: Final = 2_000
NOTED: Final = "asked"
"""The word in the group's commits before the position of the newest alert with recorded requests."""

log = logging.getLogger(__name__)


class FetchedRecord(NamedTuple):
    """A record of one of the two topics: `time_ms` is its publication, `found` its identity."""

    topic: str
    partition: int
    offset: int
    time_ms: int
    key: bytes | None
    value: bytes | None
    found: FoundRecord = FoundRecord(0)


class AlertsStart(NamedTuple):
    """The position up to which the alerts of a partition are done, and the id of their topic."""

    position: Position
    topic_id: str


class AlertsCommit(NamedTuple):
    """The newest record of a partition of the alerts that is done, its alert's position, the topic's id."""

    record: FetchedRecord
    position: Position
    topic_id: str


class AlertsSource:
    """The group's consumer. A member gets the same partition numbers of both topics."""

    def __init__(self, kafka: KafkaAccess) -> None:
        self._kafka = kafka
        self._alerts, self._deliveries = kafka.topic(ALERTS), kafka.topic(DELIVERIES)
        self._viewer = LogViewer(kafka, ALERTS, "phonemeter-notifier-looking")
        with translate_kafka_errors():
            self._consumer = consumer(
                kafka,
                group_id=kafka.group(NOTIFIER_GROUP),
                client_id="phonemeter-notifier",
                fetch_max_bytes=FETCH_BYTES_MAX,
                max_partition_fetch_bytes=FETCH_BYTES_MAX,
                max_poll_records=RECORDS_MAX,
            )
            both = (self._alerts, self._deliveries)
            self.partitions: int = max(map(len, partitions_of(self._consumer, both)))
            self._rebalances = RebalanceQueue(self._consumer, kafka)
            self._consumer.subscribe(both, listener=self._rebalances)

    def rebalances(self) -> Iterator[Rebalance]:
        """Remove the pending rebalances and return them in order."""
        return self._rebalances.take()

    def poll(self, pause_s: float) -> list[FetchedRecord]:
        """Fetch the next records, waiting for them at most `pause_s`."""
        return [
            FetchedRecord(
                self._kafka.known(at.topic),
                at.partition,
                record.offset,
                record.timestamp,
                record.key,
                record.value,
                found_record(record),
            )
            for at, records in poll(self._consumer, pause_s).items()
            for record in records
        ]

    def begin_deliveries(self, partition: int) -> None:
        """Read the deliveries of a partition from their beginning, if it is still ours."""
        at = TopicPartition(self._deliveries, partition)
        with translate_kafka_errors():
            if at in self._consumer.assignment():
                self._consumer.seek_to_beginning(at)
                self._consumer.resume(at)

    def begin_alerts(self, partition: int) -> AlertsStart:
        """Continue the alerts of a partition at the group's committed offset.

        If the log is not the one that was read, it is read from its beginning. If its topic was recreated,
        all of its alerts are new; if only its end was lost, alerts up to the committed position are done.

        Raises:
            KafkaError: the broker does not show the commit or the partition now.
        """
        at = TopicPartition(self._alerts, partition)
        with translate_kafka_errors():
            committed = self._consumer.committed(at, metadata=True, timeout_ms=REQUEST_TIMEOUT_MS)
        offset, noted = 0, CommitMetadata()
        if committed is not None and committed.offset >= 0:
            offset, noted = committed.offset, decode_metadata(NOTED, committed.metadata)
        view = self._viewer.view(partition, noted.mark)
        position = noted.position
        differs = difference(noted.mark, offset, view)
        if differs:
            cut = not noted.mark.topic_id and view.begin > offset
            same = noted.mark.topic_id == view.topic_id or cut
            offset, position = view.begin, position if same else BEFORE_ALL
            if committed is not None:
                log.error(
                    "Partition %d of %s is not the log that was read before: %s; it is read from its "
                    "beginning.",
                    partition,
                    ALERTS,
                    differs,
                )
        self.seek_alerts(partition, offset)
        return AlertsStart(position, view.topic_id)

    def seek_alerts(self, partition: int, offset: int) -> None:
        """Continue the alerts of a partition at an offset, if it is still ours."""
        at = TopicPartition(self._alerts, partition)
        with translate_kafka_errors():
            if at in self._consumer.assignment():
                self._consumer.seek(at, offset)
                self._consumer.resume(at)

    def alerts_topic_id(self) -> str:
        """The id of the topic of the alerts as the consumer last heard of it; empty if it has not."""
        return topic_id(self._consumer, self._alerts)

    def lags(self) -> dict[tuple[str, int], int]:
        """Number of unread records of each assigned partition, if it is known yet."""
        with translate_kafka_errors():
            delivered = self._consumer.assignment() - self._consumer.paused()
            return {
                (self._kafka.known(at.topic), at.partition): max(0, end - position)
                for at in delivered
                if (end := self._consumer.highwater(at)) is not None
                and (position := self._consumer.position(at, timeout_ms=0)) is not None
            }

    def commit(self, commits: Iterable[AlertsCommit]) -> None:
        """Commit the offsets of alerts, each with its position and the mark of its log."""
        with translate_kafka_errors():
            self._consumer.commit(
                {
                    TopicPartition(self._alerts, record.partition): OffsetAndMetadata(
                        record.offset + 1,
                        encode_metadata(
                            NOTED,
                            position,
                            Mark(
                                of_topic, record.offset, record.found.fingerprint, record.found.leader_epoch
                            ),
                        ),
                        record.found.leader_epoch,
                    )
                    for record, position, of_topic in commits
                },
                timeout_ms=CONNECT_TIMEOUT_MS,
            )

    def close(self) -> None:
        """Leave the group."""
        self._viewer.close()
        self._consumer.close(autocommit=False, timeout_ms=CONNECT_TIMEOUT_MS)


class DeliveriesPublisher:
    """A producer of `phone-deliveries` that waits until the broker has confirmed the records."""

    def __init__(self, kafka: KafkaAccess) -> None:
        self._producer = ConfirmingProducer(kafka, "phonemeter-notifier")

    def publish(self, records: Sequence[DeliveryOutput]) -> None:
        """Publish records, in order per partition.

        Raises:
            KafkaError: the broker did not confirm one of them in time; it may have it all the same.
        """
        self._producer.publish(
            OutgoingRecord(DELIVERIES, one.partition, one.key, one.value) for one in records
        )

    def close(self) -> None:
        """Close the producer; all published records are confirmed already."""
        self._producer.close()
