"""The partitions of `phone-ledger` that a sink owns."""

import logging
from collections.abc import Iterable
from typing import Final

from sinks.kafka_consumer import DamagedError
from sinks.owned_partition import OwnedPartition, PartitionContext, State

log = logging.getLogger(__name__)

WATCH_S: Final = 5.0
"""Time that a partition may stall while its log grows before its records are asked for again; also the pause
between two checks that ClickHouse still has what it acknowledged."""


class OwnedPartitions:
    """The owned partitions of one sink."""

    def __init__(self, context: PartitionContext) -> None:
        self._context = context
        self._source, self._table, self._metrics = context.source, context.table, context.metrics
        self._retries, self._now_s = context.retries, context.now_s
        self._owned: dict[int, OwnedPartition] = {}
        self._watched_at_s = context.now_s()

    def __getitem__(self, number: int) -> OwnedPartition:
        return self._owned[number]

    def get(self, number: int) -> OwnedPartition | None:
        """Look up a partition; None if it is not owned."""
        return self._owned.get(number)

    @property
    def begun(self) -> list[OwnedPartition]:
        """Partitions that are past `begin`."""
        return [partition for partition in self._owned.values() if partition.has_begun]

    @property
    def stopped(self) -> list[int]:
        """Numbers of the partitions that are stopped."""
        return [number for number, partition in self._owned.items() if partition.state is State.STOPPED]

    def rebalance(self) -> bool:
        """Drop the partitions that were revoked, add those that were assigned; returns if there were any."""
        moved = False
        for event in self._source.rebalances():
            moved = True
            if event.kind == "assigned":
                self._metrics.rebalances.inc()
            for _, number in event.partitions:
                self._drop(number)
                if event.kind == "assigned":
                    self._owned[number] = OwnedPartition(number, self._context)
                else:
                    self._metrics.forget_partition(number)
        return moved

    def begin_waiting(self) -> None:
        """Restart the partitions that have diverged and hold nothing; begin those that wait."""
        for partition in self._owned.values():
            if partition.state is State.DIVERGED and not len(partition.batch):
                partition.restart()
        now_s = self._now_s()
        due = [
            partition
            for _, partition in sorted(self._owned.items())
            if not partition.has_begun and partition.begins_at_s <= now_s
        ]
        if due:
            newest_ms = self._retries.call(self._table.newest_recorded_at_ms)
            if newest_ms is not None:
                self._metrics.saw_entry(newest_ms)
        for partition in due:
            partition.begin()

    def fetch_again(self) -> None:
        """Have the records delivered again that were not taken."""
        for partition in self._owned.values():
            partition.fetch_again()

    def mark_diverged(self, numbers: Iterable[int]) -> None:
        """Restart partitions that may be in another log, as soon as nothing of them is held."""
        for number in numbers:
            if number in self._owned:
                self._owned[number].mark_diverged()

    def out_of_range(self, numbers: Iterable[int]) -> None:
        """Stop partitions whose next records were deleted; restart those that are behind their log's end."""
        for number in numbers:
            partition = self._owned.get(number)
            if partition is not None and partition.is_read and not partition.stop_if_deleted():
                partition.mark_diverged()

    def damaged(self, damaged: DamagedError) -> None:
        """Stop a partition whose next record can't be read any more."""
        partition = self._owned.get(damaged.partition)
        if partition is not None and partition.is_read:
            partition.stop(f"record {damaged.offset}: {damaged}")

    def watch(self) -> None:
        """Find partitions that stall while their log grows, lost stored entries, or have another log.

        Raises:
            SinkError: Kafka did not deliver records that it has, again and again.
        """
        if self._now_s() < self._watched_at_s + WATCH_S:
            return
        self._watched_at_s = self._now_s()
        self._watch_topic()
        self._watch_progress()
        self._watch_stored()

    def _watch_topic(self) -> None:
        topic_id = self._source.topic_id()
        for partition in self._owned.values():
            if topic_id and partition.mark.topic_id and topic_id != partition.mark.topic_id:
                partition.mark_diverged()

    def _watch_progress(self) -> None:
        read = {number: partition for number, partition in self._owned.items() if partition.is_read}
        leaderless = self._source.leaderless(read)
        stalled = {}
        for number, partition in read.items():
            offset = partition.batch.next_offset
            if number in leaderless:
                self._metrics.mark_unreadable(number, "no broker leads it")
            else:
                self._metrics.mark_readable(number)
                if partition.watched_offset == offset:
                    stalled[number] = partition
            partition.watched_offset = offset
        for number, end in self._source.end_offsets(stalled).items():
            partition = stalled[number]
            offset = partition.batch.next_offset
            if end < offset:
                partition.mark_diverged()
            elif end > offset:
                partition.seek_back(f"stands at record {offset} of {end}")

    def _watch_stored(self) -> None:
        """Restart partitions of which ClickHouse lost entries; without traffic, no INSERT would notice."""
        for partition in self.begun:
            position = self._table.position
            if not len(partition.batch) and (
                self._retries.call(position, partition.number) < partition.batch.stored
            ):
                partition.restart_after_loss()
        self._metrics.clickhouse_up.set(1)

    def _drop(self, number: int) -> None:
        partition = self._owned.pop(number, None)
        if partition is not None and len(partition.batch):
            log.info(
                "Partition %d moves; %d entries that were held are left to its next owner.",
                number,
                len(partition.batch),
            )
