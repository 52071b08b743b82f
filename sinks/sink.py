"""The sink's loop: reads ledger records, holds their entries, stores them, and commits what is stored."""

import logging
import time
from array import array
from collections.abc import Callable, Mapping
from threading import Event
from typing import Final, cast

from kafka.errors import KafkaError, LogTruncationError, OffsetOutOfRangeError

from metering.ledger import COLUMNS
from metering.topics import LEDGER
from sinks.backoff import backoff_s
from sinks.batches import InsertBatch, Limits, due, pause_s
from sinks.entry_columns import ID_DIGITS, concatenate
from sinks.errors import ClickHouseError
from sinks.kafka_consumer import DamagedError
from sinks.lease import Lease
from sinks.ledger_source import FetchedRange, LedgerSource, ResumePoint
from sinks.ledger_table import LedgerTable
from sinks.metrics import Metrics
from sinks.owned_partition import PartitionContext
from sinks.owned_partitions import OwnedPartitions
from sinks.retries import IDLE_S, InterruptedWorkError, Retries

log = logging.getLogger(__name__)

_RECORDED_AT: Final = COLUMNS.index("recorded_at_ms")


class Sink:
    """Copier of `phone-ledger` to ClickHouse, in the caller's thread, until `stop` is set."""

    def __init__(
        self,
        source: LedgerSource,
        table: LedgerTable,
        limits: Limits,
        metrics: Metrics,
        stop: Event,
        now_s: Callable[[], float] = time.monotonic,
        *,
        id_digits: int = ID_DIGITS,
    ) -> None:
        self._source = source
        self._table = table
        self._limits = limits
        self._metrics = metrics
        self._stop = stop
        self._now_s = now_s
        self._retries = Retries(source, metrics, stop, now_s)
        self._partitions = OwnedPartitions(
            PartitionContext(source, table, metrics, self._retries, now_s, id_digits)
        )
        self._lease = Lease(source, now_s)

    def run(self) -> None:
        """Work until `stop` is set, then store and commit what is held.

        Raises:
            SinkError: Kafka does not deliver records that it has; a restart may cure that.
        """
        failures = 0
        while not self._stop.is_set():
            try:
                self.turn()
                failures = 0
                self._metrics.health.record_turn()
            except InterruptedWorkError:
                continue
            except KafkaError as error:
                self._report_failure(error, failures)
                failures += 1
        self._drain()

    def turn(self) -> None:
        """Make one turn: rebalance, read, store what is due, commit."""
        self._rebalance()
        self._partitions.begin_waiting()
        fetched = self._fetched()
        self._rebalance()
        try:
            for one in fetched:
                self._take(one)
            self._write_due()
        except (InterruptedWorkError, KafkaError):
            self._partitions.fetch_again()
            raise
        self._commit()
        self._partitions.watch()
        self._report()

    @property
    def _batches(self) -> list[InsertBatch]:
        return [partition.batch for partition in self._partitions.begun]

    @property
    def _stopped(self) -> list[int]:
        return self._partitions.stopped

    def _rebalance(self) -> None:
        if self._partitions.rebalance():
            self._lease.end()

    def _fetched(self) -> list[FetchedRange]:
        pause = min(pause_s(self._batches, self._limits, self._now_s()), 0.5)
        try:
            return self._source.poll(pause)
        except OffsetOutOfRangeError as error:
            self._partitions.out_of_range(at.partition for at in error.args[0])
        except LogTruncationError as error:
            self._partitions.mark_diverged(at.partition for at in error.divergent_offsets)
        except DamagedError as damaged:
            self._partitions.damaged(damaged)
        return []

    def _take(self, fetched: FetchedRange) -> None:
        partition = self._partitions.get(fetched.partition)
        if partition is None:
            return
        for record in partition.records_of(fetched):
            partition.take(record)
            self._write_due()
        partition.pass_over(fetched)

    def _report_failure(self, error: KafkaError, failures_before: int) -> None:
        pause_s = backoff_s(failures_before)
        self._metrics.kafka_errors.inc()
        self._metrics.health.record_failure(f"Kafka: {error}")
        log.warning("Kafka: %s; trying again in %.1f s.", error, pause_s)
        self._stop.wait(pause_s)

    def _write_due(self) -> None:
        for batch in due(self._batches, self._limits, self._now_s()):
            self._retries.call(self._write, batch)

    def _write(self, batch: InsertBatch) -> None:
        """Store the entries of a batch that are not stored yet.

        The stored position is read every time. So it does not matter why an entry may be there already: a
        reply was lost, a sink was killed, or this one is a zombie.
        """
        self._renew_lease()
        with self._source.writing() as still_owned:
            if not still_owned:
                raise InterruptedWorkError
            stored = self._table.position(batch.partition)
            self._metrics.mark_clickhouse_up()
            if stored < batch.stored:
                self._partitions[batch.partition].restart_after_loss()
                raise InterruptedWorkError
            duplicates = batch.drop_stored(stored)
            if duplicates:
                self._metrics.duplicate_rows.inc(duplicates)
                sentence = "Partition %d: %d entries were stored already, up to %s."
                log.warning(sentence, batch.partition, duplicates, stored)
            if len(batch):
                self._insert(batch)

    def _insert(self, batch: InsertBatch) -> None:
        columns = concatenate(batch.pieces)
        if not self._lease.holds:
            raise InterruptedWorkError
        began_s = self._now_s()
        self._table.insert(batch.partition, columns, batch.stored)
        stored = self._table.position(batch.partition)
        if stored <= batch.stored:
            self._table.forget_tokens()
            raise ClickHouseError(
                f"an INSERT of partition {batch.partition} was acknowledged but is not there"
            )
        count = batch.drop_stored(stored)
        arrivals = cast("array[int]", columns[_RECORDED_AT])
        self._metrics.observe_insert(
            batch.partition, count, self._now_s() - began_s, oldest_ms=min(arrivals), newest_ms=max(arrivals)
        )

    def _commit(self) -> None:
        """Commit the positions of the partitions that hold no entries."""
        ready = {
            partition.number: partition.resume_point
            for partition in self._partitions.begun
            if not len(partition.batch) and partition.batch.next_offset != partition.committed.offset
        }
        if ready and not self._source.has_rebalanced:
            self._commit_at(ready)

    def _renew_lease(self) -> None:
        """Commit, unless that was done just now, so that a zombie learns that it lost its partitions."""
        if not self._lease.is_due:
            return
        positions = {
            partition.number: partition.committed._replace(stored=partition.batch.stored)
            for partition in self._partitions.begun
        }
        if not self._commit_at(positions):
            self._stop.wait(IDLE_S)
            raise InterruptedWorkError

    def _commit_at(self, positions: Mapping[int, ResumePoint]) -> bool:
        if not self._lease.commit(positions):
            return False
        for number, position in positions.items():
            self._partitions[number].committed = position
        return True

    def _report(self) -> None:
        begun = self._partitions.begun
        self._metrics.assigned_partitions.set(len(begun))
        for partition in begun:
            offset = partition.committed.offset
            lag = self._source.lag(partition.number, offset)
            if lag is not None:
                self._metrics.set_lag(partition.number, offset, lag)

    def _drain(self) -> None:
        """Store and commit what is held, in one attempt: what fails is read again at the next start."""
        try:
            self._rebalance()
            for batch in self._batches:
                if len(batch):
                    self._write(batch)
            self._commit()
        except (InterruptedWorkError, ClickHouseError, KafkaError) as error:
            log.warning("Not everything held could be stored before the end (%s); it is read again.", error)
        if self._stopped:
            log.warning("Partitions %s of %s are stopped; the next start tries again.", self._stopped, LEDGER)
