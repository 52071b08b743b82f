"""The tail of `phone-ledger`: fills the memory from ClickHouse, then reads on from where that ends."""

import logging
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Final, Protocol

import msgspec
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    LogTruncationError,
    NotCoordinatorError,
    OffsetOutOfRangeError,
)
from kafka.structs import OffsetAndMetadata

from kafka_access.access import KafkaAccess
from metering.ledger import COLUMNS, Entry
from metering.topics import LEDGER, SINK_GROUP
from sinks.admin_client import KafkaAdmin, admin_client
from sinks.balances.errors import UnsettledLogError
from sinks.balances.memory import BalanceMemory
from sinks.balances.snapshot import fill
from sinks.batches import REBUILD
from sinks.kafka_consumer import (
    CommitMetadata,
    consumer,
    decode_metadata,
    partitions_of,
    poll,
    translate_kafka_errors,
)
from sinks.ledger_source import NOTED, ResumePoint
from sinks.log_view import LogViewer, topic_id
from sinks.position import BEFORE_ALL
from sinks.starting_point import StartingPoint

log = logging.getLogger(__name__)

FETCH_BYTES_MAX: Final = 4 * 2**20
RECORDS_MAX: Final = 20
"""Records of one poll: readers see what they say once all of them are added up."""

CLIENT: Final = "phonemeter-balances"


class _LedgerRows(msgspec.Struct):
    """A ledger record, its rows as entries."""

    partition: int
    columns: tuple[str, ...]
    rows: list[Entry]


_decoder: Final = msgspec.json.Decoder(_LedgerRows)


class Awaited(Protocol):
    """The events that are waited for, and who is told of them."""

    @property
    def event_ids(self) -> Mapping[str, object]:
        """The ids of the events."""

    def seen(self, event_id: str, partition: int, offset: int, /) -> None:
        """Take that one was added up."""


class LedgerTail:
    """A reader of all partitions, in the caller's thread. It is in no consumer group.

    Attributes:
        memory: what it fills.
        next_offsets: by partition, the next record.
        stopped: by partition, why it is not read any further.
    """

    def __init__(self, kafka: KafkaAccess, clickhouse: str, apps_max: int, wall_ms: int) -> None:
        """Fill a memory, and begin behind it.

        Raises:
            KafkaError: Kafka does not answer.
            ClickHouseError: ClickHouse does not answer.
            UnsettledLogError: both do not fit together now.
        """
        self._topic = kafka.topic(LEDGER)
        self.stopped: dict[int, str] = {}
        self.next_offsets: dict[int, int] = {}
        with translate_kafka_errors():
            self._consumer = _consumer(kafka)
        try:
            (partitions,) = partitions_of(self._consumer, (self._topic,))
            self._topic_id = topic_id(self._consumer, self._topic)
            self.memory = BalanceMemory(len(partitions), apps_max)
            # In this order: the sink commits what it has stored.
            committed = _committed(kafka)
            fill(self.memory, clickhouse, wall_ms)
            self._begin(kafka, committed)
        except BaseException:
            self.close()
            raise

    def turn(self, pause_s: float, awaited: Awaited) -> int:
        """Add up the next records, waiting for them at most `pause_s`; returns the number of entries.

        Raises:
            KafkaError: Kafka does not answer.
            UnsettledLogError: the log is not the one any more that was read.
        """
        try:
            with translate_kafka_errors():
                begins = self._positions()
                polled = poll(self._consumer, pause_s)
        except (OffsetOutOfRangeError, LogTruncationError) as error:
            raise UnsettledLogError(f"{LEDGER} has lost records, or is another log ({error})") from None
        known = topic_id(self._consumer, self._topic)
        if known and self._topic_id and known != self._topic_id:
            raise UnsettledLogError(f"{LEDGER} was created anew")
        taken = 0
        with translate_kafka_errors():
            for at, begin in begins.items():
                taken += self._advance(at, begin, polled.get(at, ()), awaited)
        return taken

    def close(self) -> None:
        """Disconnect."""
        self._consumer.close(autocommit=False, timeout_ms=0)

    def _begin(self, kafka: KafkaAccess, committed: Mapping[int, ResumePoint]) -> None:
        self._consumer.assign([TopicPartition(self._topic, one) for one in self.memory.positions])
        with closing(LogViewer(kafka, LEDGER, f"{CLIENT}-looking")) as viewer:
            for partition, stored in self.memory.positions.items():
                point = committed.get(partition, ResumePoint(0, BEFORE_ALL))
                start = StartingPoint.of(point, stored, viewer.view(partition, point.mark))
                if start.verify or start.rewinds:
                    why = start.rewinds[0] if start.rewinds else "the sink has not said yet how far it is"
                    raise UnsettledLogError(f"partition {partition} of {LEDGER}: {why}")
                self._consumer.seek(TopicPartition(self._topic, partition), start.offset)
                self.next_offsets[partition] = start.offset

    def _positions(self) -> dict[TopicPartition, int]:
        delivered = self._consumer.assignment() - self._consumer.paused()
        found = {at: self._consumer.position(at, timeout_ms=0) for at in delivered}
        return {at: offset for at, offset in found.items() if offset is not None}

    def _advance(self, at: TopicPartition, begin: int, records: Sequence[object], awaited: Awaited) -> int:
        """Add up what was fetched of a partition, if that follows what was; otherwise ask again."""
        if begin > self.next_offsets[at.partition]:
            self._consumer.seek(at, self.next_offsets[at.partition])
            return 0
        taken = self._take(at.partition, records, awaited)
        if at.partition not in self.stopped:
            # Also where a fetch ends in offsets without a record.
            self.next_offsets[at.partition] = self._consumer.position(at, timeout_ms=0) or begin
        return taken

    def _take(self, partition: int, records: Sequence[object], awaited: Awaited) -> int:
        taken = 0
        for record in records:
            offset, value = record.offset, record.value  # type: ignore[attr-defined]  # kafka-python has no types
            try:
                rows = _decoder.decode(value or b"")
                if rows.columns != COLUMNS or rows.partition != partition:
                    raise msgspec.ValidationError("its columns or its partition are others")
            except ValueError as error:
                self._stop(partition, offset, error)
                break
            taken += self.memory.take(partition, rows.rows, awaited.event_ids, awaited.seen)
            self.next_offsets[partition] = offset + 1
        return taken

    def _stop(self, partition: int, offset: int, error: ValueError) -> None:
        self._consumer.pause(TopicPartition(self._topic, partition))
        self.stopped[partition] = (
            f"Partition {partition} of {LEDGER} is not read on from record {offset}: it is no ledger record "
            f"({error}). {REBUILD[0].upper()}{REBUILD[1:]}, and start the gateway again."
        )
        log.error("%s", self.stopped[partition])


def _consumer(kafka: KafkaAccess) -> KafkaConsumer:
    return consumer(
        kafka,
        client_id=CLIENT,
        fetch_max_bytes=FETCH_BYTES_MAX,
        max_partition_fetch_bytes=FETCH_BYTES_MAX // 4,
        max_poll_records=RECORDS_MAX,
    )


def group_offsets(client: KafkaAdmin, group: str) -> Mapping[TopicPartition, OffsetAndMetadata]:
    """The committed offsets of a consumer group; empty before its first consumer."""
    try:
        return client.group_offsets(group)
    except (CoordinatorLoadInProgressError, CoordinatorNotAvailableError, NotCoordinatorError):
        # Kafka assigns a coordinator when the first consumer joins.
        return {}


def _committed(kafka: KafkaAccess) -> dict[int, ResumePoint]:
    """The positions of the sink's group, by partition."""
    found: dict[int, ResumePoint] = {}
    with admin_client(kafka) as client:
        offsets = group_offsets(client, SINK_GROUP)
    for at, done in offsets.items():
        noted: CommitMetadata = decode_metadata(NOTED, done.metadata)
        if at.topic == LEDGER and done.offset >= 0:
            found[at.partition] = ResumePoint(done.offset, *noted)
    return found
