"""`phone-alerts` and `phone-deliveries` as the notifier needs them: one group for both, and a producer."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from queue import Empty, SimpleQueue
from typing import Any, Final, Literal, NamedTuple

from kafka import ConsumerRebalanceListener, KafkaProducer, TopicPartition
from kafka.structs import OffsetAndMetadata

from metering.topics import ALERTS, DELIVERIES, NOTIFIER_GROUP
from sinks.consuming import (
    CONNECT_TIMEOUT_MS,
    REQUEST_TIMEOUT_MS,
    consumer,
    metadata_of,
    partitions_of,
    position_in,
)
from sinks.lines import BEFORE_ALL, Position

FETCH_BYTES_MAX: Final = 8 * 2**20
RECORDS_MAX: Final = 2_000
NOTED: Final = "asked"
"""What the positions in the group's commits are of: the newest alert of which it is known where it goes."""
DELIVERY_TIMEOUT_MS: Final = 10_000
"""How long the broker may take to confirm what is published."""


class Record(NamedTuple):
    """A record of one of the two topics. `time_ms` is when it was published."""

    topic: str
    partition: int
    offset: int
    time_ms: int
    key: bytes | None
    value: bytes | None


class Outgoing(NamedTuple):
    """A record to publish on `phone-deliveries`."""

    partition: int
    key: bytes
    value: bytes | None


class Rebalance(NamedTuple):
    """Partitions, by topic, that came or went."""

    kind: Literal["assigned", "revoked"]
    partitions: tuple[tuple[str, int], ...]


class Source(ConsumerRebalanceListener):  # type: ignore[misc]  # kafka-python ships no types
    """The group's consumer. A member gets the same partition numbers of both topics."""

    def __init__(self, bootstrap: str) -> None:
        self._rebalances: SimpleQueue[Rebalance] = SimpleQueue()
        self._consumer = consumer(
            bootstrap,
            group_id=NOTIFIER_GROUP,
            client_id="phonemeter-notifier",
            fetch_max_bytes=FETCH_BYTES_MAX,
            max_partition_fetch_bytes=FETCH_BYTES_MAX,
            max_poll_records=RECORDS_MAX,
        )
        self.partitions: int = max(map(len, partitions_of(self._consumer, (ALERTS, DELIVERIES))))
        self._next: dict[tuple[str, int], int] = {}
        self._consumer.subscribe([ALERTS, DELIVERIES], listener=self)

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Part with partitions; called in the consumer's thread."""
        self._rebalances.put(Rebalance("revoked", tuple((at.topic, at.partition) for at in revoked)))

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Receive partitions; called in the consumer's thread."""
        self._rebalances.put(Rebalance("assigned", tuple((at.topic, at.partition) for at in assigned)))

    def rebalances(self) -> Iterator[Rebalance]:
        """What has come and gone since this was asked last, in order."""
        while True:
            try:
                yield self._rebalances.get_nowait()
            except Empty:
                return

    def poll(self, pause_s: float) -> list[Record]:
        """The next records, waiting for them at most `pause_s`."""
        polled: Mapping[TopicPartition, list[Any]] = self._consumer.poll(timeout_ms=int(pause_s * 1_000))
        found = [
            Record(at.topic, at.partition, record.offset, record.timestamp, record.key, record.value)
            for at, records in polled.items()
            for record in records
        ]
        for record in found:
            self._next[record.topic, record.partition] = record.offset + 1
        return found

    def begin_deliveries(self, partition: int) -> None:
        """Read all that is known of the deliveries of a partition, if it is still ours."""
        at = TopicPartition(DELIVERIES, partition)
        if at in self._consumer.assignment():
            self._consumer.seek_to_beginning(at)
            self._next[DELIVERIES, partition] = 0

    def begin_alerts(self, partition: int) -> Position:
        """Continue the alerts of a partition where the group stood; up to which alert it had come."""
        at = TopicPartition(ALERTS, partition)
        committed = self._consumer.committed(at, metadata=True, timeout_ms=REQUEST_TIMEOUT_MS)
        offset, position = 0, BEFORE_ALL
        if committed is not None and committed.offset >= 0:
            end: int = self._consumer.end_offsets([at], timeout_ms=REQUEST_TIMEOUT_MS)[at]
            if committed.offset <= end:
                # Otherwise the topic was made anew, and the alerts on it are others.
                offset, position = committed.offset, position_in(NOTED, committed.metadata)
        self.seek_alerts(partition, offset)
        return position

    def seek_alerts(self, partition: int, offset: int) -> None:
        """Continue the alerts of a partition at an offset, if it is still ours."""
        at = TopicPartition(ALERTS, partition)
        if at in self._consumer.assignment():
            self._consumer.seek(at, offset)
            self._next[ALERTS, partition] = offset

    def lags(self) -> dict[tuple[str, int], int]:
        """How many records of each assigned partition were not read yet, as far as the broker has said."""
        ends = {(at.topic, at.partition): self._consumer.highwater(at) for at in self._consumer.assignment()}
        return {
            place: max(0, end - self._next.get(place, 0)) for place, end in ends.items() if end is not None
        }

    def commit(self, positions: Mapping[int, tuple[int, Position]]) -> None:
        """Note for each partition of the alerts which offset is next, and up to which alert all are asked."""
        self._consumer.commit(
            {
                TopicPartition(ALERTS, partition): OffsetAndMetadata(offset, metadata_of(NOTED, position), -1)
                for partition, (offset, position) in positions.items()
            },
            timeout_ms=CONNECT_TIMEOUT_MS,
        )

    def close(self) -> None:
        """Leave the group."""
        self._consumer.close(autocommit=False, timeout_ms=CONNECT_TIMEOUT_MS)


class Publisher:
    """Publishes records of `phone-deliveries` and waits until the broker has them."""

    def __init__(self, bootstrap: str) -> None:
        self._producer = KafkaProducer(
            bootstrap_servers=bootstrap.split(","),
            client_id="phonemeter-notifier",
            acks="all",
            # kafka-python 3.0.12 may wait for ever for an idempotent producer's number after a broker was
            # killed; a record that is there twice means the same here.
            enable_idempotence=False,
            max_in_flight_requests_per_connection=1,
            linger_ms=0,
            max_block_ms=DELIVERY_TIMEOUT_MS,
            request_timeout_ms=DELIVERY_TIMEOUT_MS // 2,
            delivery_timeout_ms=DELIVERY_TIMEOUT_MS,
            allow_auto_create_topics=False,
        )

    def partitions(self) -> int:
        """How many partitions the topic has."""
        return len(self._producer.partitions_for(DELIVERIES) or ())

    def publish(self, records: Sequence[Outgoing]) -> None:
        """Publish records, in order per partition.

        Raises:
            KafkaError: the broker did not confirm one of them in time; it may have it all the same.
        """
        sent = [
            self._producer.send(DELIVERIES, partition=one.partition, key=one.key, value=one.value)
            for one in records
        ]
        self._producer.flush(timeout=DELIVERY_TIMEOUT_MS / 1_000)
        for future in sent:
            future.get(timeout=DELIVERY_TIMEOUT_MS / 1_000)

    def close(self) -> None:
        """End, without waiting for what nobody waits for."""
        self._producer.close(timeout=CONNECT_TIMEOUT_MS / 1_000)
