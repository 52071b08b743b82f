"""The sink's member of the consumer group of `phone-ledger`."""

import logging
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Final, NamedTuple

from kafka import TopicPartition
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata

from kafka_access.access import KafkaAccess
from metering.log_identity import NO_EPOCH, FoundRecord, Mark, PartitionView
from metering.topics import LEDGER, SINK_GROUP
from sinks.kafka_consumer import (
    CONNECT_TIMEOUT_MS,
    REQUEST_TIMEOUT_MS,
    consumer,
    decode_metadata,
    encode_metadata,
    partitions_of,
    poll,
    translate_kafka_errors,
)
from sinks.log_view import LogViewer, found_record, topic_id
from sinks.position import BEFORE_ALL, Position
from sinks.rebalances import Rebalance, RebalanceQueue

log = logging.getLogger(__name__)

FETCH_BYTES_MAX: Final = 16 * 2**20
RECORDS_MAX: Final = 500
NO_LEADER: Final = -1
NOTED: Final = "stored"
"""Kind of the positions in the group's commits."""


class SourceRecord(NamedTuple):
    """A record of `phone-ledger`."""

    partition: int
    offset: int
    value: bytes | None
    found: FoundRecord = FoundRecord(0, NO_EPOCH)


class FetchedRange(NamedTuple):
    """Records that one poll returned of a partition: from offset `begin` on, and next from `end` on.

    Offsets within the range that have no record are the log's own gaps: the broker has nothing to deliver
    there, because a transaction ended or was aborted, or compaction removed the record.
    """

    partition: int
    begin: int
    end: int
    records: list[SourceRecord]


class ResumePoint(NamedTuple):
    """The group's position: the committed `offset`, the newest entry `stored`, and the mark of the log."""

    offset: int
    stored: Position
    mark: Mark = Mark()


class LedgerSource:
    """The consumer group's member that reads `phone-ledger`."""

    def __init__(self, kafka: KafkaAccess) -> None:
        self._topic = kafka.topic(LEDGER)
        self._viewer = LogViewer(kafka, LEDGER, "phonemeter-sink-looking")
        with translate_kafka_errors():
            self._consumer = consumer(
                kafka,
                group_id=kafka.group(SINK_GROUP),
                client_id="phonemeter-sink",
                fetch_max_bytes=FETCH_BYTES_MAX,
                max_partition_fetch_bytes=FETCH_BYTES_MAX // 4,
                max_poll_records=RECORDS_MAX,
            )
            partitions_of(self._consumer, (self._topic,))
            self._rebalances = RebalanceQueue(self._consumer, kafka)
            self._consumer.subscribe([self._topic], listener=self._rebalances)

    def rebalances(self) -> Iterator[Rebalance]:
        """Remove the pending rebalances and return them in order."""
        return self._rebalances.take()

    def writing(self) -> AbstractContextManager[bool]:
        """Hold back revocations while an INSERT runs; yields whether none is pending."""
        return self._rebalances.writing()

    @property
    def has_rebalanced(self) -> bool:
        """True if a rebalance is pending."""
        return self._rebalances.pending

    @property
    def joined(self) -> threading.Event:
        """Set once the group has assigned partitions to this member, even if none."""
        return self._rebalances.joined

    def poll(self, pause_s: float) -> list[FetchedRange]:
        """Fetch the next records of each partition, waiting for them at most `pause_s`.

        Raises:
            OffsetOutOfRangeError: the next offset of a partition is not within its log.
            LogTruncationError: the record that was read last of a partition is not in its log any more.
        """
        begins = self._positions()
        polled = poll(self._consumer, pause_s)
        ends = self._positions()
        return [
            FetchedRange(
                at.partition,
                begin,
                ends[at],
                [
                    SourceRecord(at.partition, record.offset, record.value, found_record(record))
                    for record in polled.get(at, ())
                ],
            )
            for at, begin in begins.items()
            if at in ends
        ]

    def idle(self, pause_s: float) -> None:
        """Stay in the group without receiving records."""
        with translate_kafka_errors():
            assigned = self._consumer.assignment()
            before = self._consumer.paused()
            self._consumer.pause(*assigned)
            try:
                poll(self._consumer, pause_s)
            finally:
                still_owned = self._consumer.assignment() & assigned
                self._consumer.resume(*(still_owned - before))

    def resume_point(self, partition: int) -> ResumePoint:
        """Read the group's position in a partition: its beginning if there is no commit."""
        at = TopicPartition(self._topic, partition)
        with translate_kafka_errors():
            committed = self._consumer.committed(at, metadata=True, timeout_ms=REQUEST_TIMEOUT_MS)
        if committed is None or committed.offset < 0:
            return ResumePoint(self.first_offset(partition), BEFORE_ALL)
        return ResumePoint(committed.offset, *decode_metadata(NOTED, committed.metadata))

    def view(self, partition: int, mark: Mark) -> PartitionView:
        """Ask the broker for a partition's begin, its end, and the record at the offset of a mark."""
        return self._viewer.view(partition, mark)

    def topic_id(self) -> str:
        """Id of the topic as of some seconds ago; empty if it is not known."""
        return topic_id(self._consumer, self._topic)

    def first_offset(self, partition: int) -> int:
        """Ask for the offset of the first record that a partition still has."""
        at = TopicPartition(self._topic, partition)
        with translate_kafka_errors():
            beginning: int = self._consumer.beginning_offsets([at], timeout_ms=REQUEST_TIMEOUT_MS)[at]
        return beginning

    def leaderless(self, partitions: Iterable[int]) -> set[int]:
        """Select the partitions that had no leader some seconds ago: they cannot be read."""
        cluster = self._consumer._client.cluster  # noqa: SLF001 - there is no public way
        leaders = {one: cluster.leader_for_partition(TopicPartition(self._topic, one)) for one in partitions}
        return {partition for partition, leader in leaders.items() if leader in {None, NO_LEADER}}

    def end_offsets(self, partitions: Iterable[int]) -> dict[int, int]:
        """Ask for the offset that the next record of each partition will have."""
        at = [TopicPartition(self._topic, partition) for partition in partitions]
        with translate_kafka_errors():
            ends = self._consumer.end_offsets(at, timeout_ms=REQUEST_TIMEOUT_MS) if at else {}
        return {one.partition: end for one, end in ends.items()}

    def seek(self, partition: int, offset: int) -> None:
        """Continue a partition at an offset, if it is still owned."""
        at = TopicPartition(self._topic, partition)
        if at in self._consumer.assignment():
            self._consumer.seek(at, offset)

    def resume(self, partition: int, offset: int) -> None:
        """Deliver a partition from an offset on, if it is still owned."""
        at = TopicPartition(self._topic, partition)
        if at in self._consumer.assignment():
            self._consumer.seek(at, offset)
            self._consumer.resume(at)

    def pause(self, partition: int) -> None:
        """Deliver nothing more of a partition, if it is still owned."""
        at = TopicPartition(self._topic, partition)
        if at in self._consumer.assignment():
            self._consumer.pause(at)

    def lag(self, partition: int, next_offset: int) -> int | None:
        """Number of records from `next_offset` to the end; None before the end is known."""
        at = TopicPartition(self._topic, partition)
        end = self._consumer.highwater(at) if at in self._consumer.assignment() else None
        return None if end is None else max(0, end - next_offset)

    def commit(self, positions: Mapping[int, ResumePoint]) -> bool:
        """Commit; returns whether that succeeded. If not, entries are read again and recognised."""
        try:
            with translate_kafka_errors():
                self._consumer.commit(
                    {
                        TopicPartition(self._topic, partition): OffsetAndMetadata(
                            at.offset, encode_metadata(NOTED, at.stored, at.mark), at.mark.leader_epoch
                        )
                        for partition, at in positions.items()
                    },
                    timeout_ms=CONNECT_TIMEOUT_MS,
                )
        except KafkaError as error:
            log.warning(
                "Kafka did not take the commit (%s); what it covers is recognised if read again.", error
            )
            return False
        return True

    def _positions(self) -> dict[TopicPartition, int]:
        """Offset of the next record to ask for, of each partition that is delivered."""
        with translate_kafka_errors():
            delivered = self._consumer.assignment() - self._consumer.paused()
            positions = {at: self._consumer.position(at, timeout_ms=0) for at in delivered}
        return {at: position for at, position in positions.items() if position is not None}

    def close(self) -> None:
        """Leave the group."""
        self._viewer.close()
        self._consumer.close(autocommit=False, timeout_ms=CONNECT_TIMEOUT_MS)


def position_of(metadata: str | None) -> Position:
    """The stored position in the metadata of the group's commit; commits made by other tools have none."""
    return decode_metadata(NOTED, metadata).position
