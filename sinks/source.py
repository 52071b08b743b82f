"""`phone-ledger` as the sink needs it: records, places, commits, rebalances that wait for an INSERT."""

import logging
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import Any, Final, Literal, NamedTuple

from kafka import ConsumerRebalanceListener, TopicPartition
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata

from metering.topics import LEDGER, SINK_GROUP
from sinks.consuming import (
    CONNECT_TIMEOUT_MS,
    REQUEST_TIMEOUT_MS,
    consumer,
    metadata_of,
    partitions_of,
    position_in,
)
from sinks.lines import BEFORE_ALL, Position

log = logging.getLogger(__name__)

FETCH_BYTES_MAX: Final = 16 * 2**20
RECORDS_MAX: Final = 500
NOTED: Final = "stored"
"""What the positions in the group's commits are of."""


class Record(NamedTuple):
    """A record of `phone-ledger`."""

    partition: int
    offset: int
    value: bytes | None


class Rebalance(NamedTuple):
    """Partitions that came or went."""

    kind: Literal["assigned", "revoked"]
    partitions: frozenset[int]


class Start(NamedTuple):
    """Where the group stood: the committed `offset`, and up to where lines were `stored` then."""

    offset: int
    stored: Position


class Source(ConsumerRebalanceListener):  # type: ignore[misc]  # kafka-python ships no types
    """The group's consumer of `phone-ledger`.

    kafka-python calls the listener in its own thread. A revocation waits there for an INSERT that is under
    way, so that the partition's next owner reads what it stored; everything else is handed over as an event.
    """

    def __init__(self, bootstrap: str) -> None:
        self._writing = threading.Lock()
        self._rebalances: SimpleQueue[Rebalance] = SimpleQueue()
        self._consumer = consumer(
            bootstrap,
            group_id=SINK_GROUP,
            client_id="phonemeter-sink",
            fetch_max_bytes=FETCH_BYTES_MAX,
            max_partition_fetch_bytes=FETCH_BYTES_MAX // 4,
            max_poll_records=RECORDS_MAX,
        )
        partitions_of(self._consumer, (LEDGER,))
        self._consumer.subscribe([LEDGER], listener=self)

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Part with partitions; called in the consumer's thread."""
        with self._writing:
            self._rebalances.put(Rebalance("revoked", frozenset(at.partition for at in revoked)))

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Receive partitions; called in the consumer's thread."""
        self._rebalances.put(Rebalance("assigned", frozenset(at.partition for at in assigned)))

    def rebalances(self) -> Iterator[Rebalance]:
        """What has come and gone since this was asked last, in order."""
        while True:
            try:
                yield self._rebalances.get_nowait()
            except Empty:
                return

    @contextmanager
    def owned(self) -> Iterator[bool]:
        """For the time of an INSERT: no partition is taken away; says whether none was before."""
        with self._writing:
            yield self._rebalances.empty()

    @property
    def rebalanced(self) -> bool:
        """Whether partitions came or went since `rebalances` was asked last."""
        return not self._rebalances.empty()

    def poll(self, pause_s: float) -> list[Record]:
        """The next records, waiting for them at most `pause_s`."""
        polled: Mapping[TopicPartition, list[Any]] = self._consumer.poll(timeout_ms=int(pause_s * 1_000))
        return [
            Record(at.partition, record.offset, record.value)
            for at, records in polled.items()
            for record in records
        ]

    def idle(self, pause_s: float) -> None:
        """Stay in the group without receiving anything."""
        assigned = self._consumer.assignment()
        before = self._consumer.paused()
        self._consumer.pause(*assigned)
        try:
            # What a rebalance in between delivers is read again: its partitions are sought to their start.
            self._consumer.poll(timeout_ms=int(pause_s * 1_000))
        finally:
            still_ours = self._consumer.assignment() & assigned
            self._consumer.resume(*(still_ours - before))

    def start_of(self, partition: int) -> Start:
        """Where the group stood in a partition; its beginning if it never committed."""
        at = TopicPartition(LEDGER, partition)
        committed = self._consumer.committed(at, metadata=True, timeout_ms=REQUEST_TIMEOUT_MS)
        if committed is None or committed.offset < 0:
            return Start(self.beginning_of(partition), BEFORE_ALL)
        return Start(committed.offset, position_of(committed.metadata))

    def beginning_of(self, partition: int) -> int:
        """Offset of the first record that the topic still has."""
        at = TopicPartition(LEDGER, partition)
        beginning: int = self._consumer.beginning_offsets([at], timeout_ms=REQUEST_TIMEOUT_MS)[at]
        return beginning

    def ends_of(self, partitions: Iterable[int]) -> dict[int, int]:
        """The offset that the next record of each partition will have."""
        at = [TopicPartition(LEDGER, partition) for partition in partitions]
        ends = self._consumer.end_offsets(at, timeout_ms=REQUEST_TIMEOUT_MS) if at else {}
        return {one.partition: end for one, end in ends.items()}

    def seek(self, partition: int, offset: int) -> None:
        """Continue a partition at an offset, if it is still ours."""
        at = TopicPartition(LEDGER, partition)
        if at in self._consumer.assignment():
            self._consumer.seek(at, offset)

    def stop(self, partition: int) -> None:
        """Deliver nothing more of a partition while it is ours."""
        at = TopicPartition(LEDGER, partition)
        if at in self._consumer.assignment():
            self._consumer.pause(at)

    def lag(self, partition: int, next_offset: int) -> int | None:
        """How many records stand behind `next_offset`; None before the broker has said so."""
        at = TopicPartition(LEDGER, partition)
        end = self._consumer.highwater(at) if at in self._consumer.assignment() else None
        return None if end is None else max(0, end - next_offset)

    def commit(self, positions: Mapping[int, Start]) -> bool:
        """Note where the group stands; False if that failed, in which case lines are only read again."""
        try:
            self._consumer.commit(
                {
                    TopicPartition(LEDGER, partition): OffsetAndMetadata(
                        at.offset, metadata_of(NOTED, at.stored), -1
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

    def close(self) -> None:
        """Leave the group."""
        self._consumer.close(autocommit=False, timeout_ms=CONNECT_TIMEOUT_MS)


def position_of(metadata: str | None) -> Position:
    """The stored position in the metadata of the group's commit; commits made by other tools have none."""
    return position_in(NOTED, metadata)
