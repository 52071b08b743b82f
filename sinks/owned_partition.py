"""One partition of `phone-ledger` that this sink owns, with its state."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

from kafka.errors import KafkaError

from metering.log_identity import Mark
from metering.topics import LEDGER
from sinks.backoff import backoff_s
from sinks.batches import REBUILD, InsertBatch
from sinks.entry_columns import ID_DIGITS, EntryColumns, decode
from sinks.errors import PoisonError, SinkError
from sinks.ledger_source import FetchedRange, LedgerSource, ResumePoint, SourceRecord
from sinks.ledger_table import COMPARED_COLUMNS, LedgerTable
from sinks.metrics import Metrics
from sinks.position import BEFORE_ALL
from sinks.retries import Retries
from sinks.starting_point import StartingPoint

log = logging.getLogger(__name__)

SEEKS_BACK_MAX: Final = 10
"""Number of times in a row that the same records are asked for; then the sink ends, and its supervisor
starts it again."""


class State(Enum):
    """State of an owned partition. Only in `VERIFYING` and `READING` does Kafka deliver its records.

    `restart` leads from any state back to `WAITING`.

    Attributes:
        WAITING: assigned or restarted; `begin` makes it `READING`, or `VERIFYING` if the log is read again.
        VERIFYING: read from the log's beginning; `READING` once it has the newest stored entry.
        READING: read normally.
        STOPPED: the next record cannot be stored, or was deleted.
        DIVERGED: the log may be another one; restarted as soon as no entries are held.
    """

    WAITING = "waiting"
    VERIFYING = "verifying"
    READING = "reading"
    STOPPED = "stopped"
    DIVERGED = "diverged"


class PartitionContext(NamedTuple):
    """Collaborators of the owned partitions of one sink."""

    source: LedgerSource
    table: LedgerTable
    metrics: Metrics
    retries: Retries
    now_s: Callable[[], float]
    id_digits: int = ID_DIGITS


@dataclass
class _SeeksBack:
    """The number of times in a row that a partition's records had to be asked for again."""

    number: int
    times: int = 0

    def end(self) -> None:
        """Note that records were delivered."""
        self.times = 0

    def count(self, why: str) -> float:
        """Count one more; returns the seconds to wait after it.

        Raises:
            SinkError: this was tried often enough.
        """
        self.times += 1
        if self.times > SEEKS_BACK_MAX:
            raise SinkError(
                f"Partition {self.number} of {LEDGER} {why}, {self.times} times in a row: Kafka does not "
                f"deliver what it has; the sink ends, so that its supervisor starts it again."
            )
        log.warning("Partition %d %s; reading again.", self.number, why)
        return backoff_s(self.times) if self.times > 1 else 0.0


class OwnedPartition:
    """One owned partition.

    Attributes:
        number: number of the partition, in `phone-ledger` as in `phone-events`.
        batch: entries that are held; empty while the partition waits.
        committed: the group's position.
        mark: identity of the log, as far as it was read.
        watched_offset: next offset when the partition was last watched; None before.
        begins_at_s: time before which `begin` is not to be called.
    """

    def __init__(self, number: int, context: PartitionContext) -> None:
        self.number = number
        self._source, self._table, self._metrics = context.source, context.table, context.metrics
        self._retries, self._now_s, self._id_digits = context.retries, context.now_s, context.id_digits
        self.restart()

    def restart(self) -> None:
        """Forget everything, as if the partition had just been assigned."""
        self.state = State.WAITING
        self.batch = InsertBatch(self.number, BEFORE_ALL, 0)
        self.committed = ResumePoint(0, BEFORE_ALL)
        self.mark = Mark()
        self.watched_offset: int | None = None
        self.begins_at_s = float("-inf")
        self._failures = 0
        self._seeks_back = _SeeksBack(self.number)
        self._source.pause(self.number)
        self._table.mark_unsettled(self.number)
        self._metrics.restart_partition(self.number)

    def restart_after_loss(self) -> None:
        """Restart, as ClickHouse lost entries that it had acknowledged: they are read and stored again."""
        self._table.forget_tokens()
        self.restart()

    @property
    def has_begun(self) -> bool:
        """True once `begin` has succeeded."""
        return self.state is not State.WAITING

    @property
    def is_read(self) -> bool:
        """True while records of the partition are delivered and taken."""
        return self.state in {State.VERIFYING, State.READING}

    @property
    def resume_point(self) -> ResumePoint:
        """Position to commit while nothing is held."""
        return ResumePoint(self.batch.next_offset, self.batch.stored, self.mark)

    def begin(self) -> None:
        """Find the partition's position in the log and in ClickHouse, and read on from there.

        A failure of Kafka, as of a partition without leader, postpones this.
        """
        try:
            self._begin()
        except KafkaError as error:
            self._postpone(error)

    def records_of(self, fetched: FetchedRange) -> Sequence[SourceRecord]:
        """Select the records to take from a fetch: none unless the partition is read.

        The fetch has to follow what was taken; gaps within it are the log's own.

        Raises:
            SinkError: records were left out again and again.
        """
        if not self.is_read:
            return ()
        if fetched.begin > self.batch.next_offset:
            self.seek_back(f"jumped from record {self.batch.next_offset} to {fetched.begin}")
            return ()
        return fetched.records

    def take(self, record: SourceRecord) -> None:
        """Hold the new entries of a record; stop if they cannot be stored."""
        if not self.is_read:
            return
        try:
            entries = decode(record.value, self.number, self._id_digits)
            self._refuse_another_log(record.offset, entries)
            if record.offset < self.batch.next_offset:
                return
            self.batch.advance_to(record.offset)
            duplicates = self.batch.add(entries, len(record.value or b""), self._now_s())
        except PoisonError as error:
            self.stop(f"record {record.offset}: {error}")
            return
        self.mark = Mark(
            self.mark.topic_id, record.offset, record.found.fingerprint, record.found.leader_epoch
        )
        self._seeks_back.end()
        self._metrics.duplicate_rows.inc(duplicates)

    def pass_over(self, fetched: FetchedRange) -> None:
        """Move on behind a fetch, also where it ends in offsets without a record."""
        if self.is_read and fetched.begin <= self.batch.next_offset:
            self.batch.advance_to(fetched.end)

    def fetch_again(self) -> None:
        """Have the records delivered again that were not taken."""
        if self.is_read:
            self._source.seek(self.number, self.batch.next_offset)

    def seek_back(self, why: str) -> None:
        """Ask again for records that Kafka has and did not deliver.

        Raises:
            SinkError: this was tried often enough.
        """
        if self.stop_if_deleted():
            return
        self._metrics.seeks_back.inc()
        pause_s = self._seeks_back.count(why)
        self._source.seek(self.number, self.batch.next_offset)
        if pause_s:
            self._retries.wait(pause_s)

    def stop_if_deleted(self) -> bool:
        """Stop if the next records were deleted; returns whether they were."""
        beginning, expected = self._source.first_offset(self.number), self.batch.next_offset
        if beginning <= expected:
            return False
        deleted = f"records {expected} to {beginning - 1} were deleted before they were stored"
        self.stop(f"its beginning: {deleted}; {REBUILD}")
        return True

    def stop(self, reason: str) -> None:
        """Take nothing more, so that nothing is stored after a record that is not."""
        self.state = State.STOPPED
        self._source.pause(self.number)
        self._metrics.mark_stopped(self.number, reason)
        log.error(
            "Partition %d of phone-ledger is stopped at %s. Nothing after it is stored until that is "
            "repaired and the sink started again; the other partitions go on.",
            self.number,
            reason,
        )

    def mark_diverged(self) -> None:
        """Take nothing more, and restart once nothing is held, because the log may be another one.

        This includes a stopped partition, which the other log may not stop.
        """
        if self.has_begun:
            self.state = State.DIVERGED
            self._source.pause(self.number)

    def _begin(self) -> None:
        # In this order: the partition's last owner may still store and commit between the two.
        committed = self._source.resume_point(self.number)
        stored = self._retries.call(self._table.position, self.number)
        self._metrics.mark_clickhouse_up()
        start = StartingPoint.of(committed, stored, self._source.view(self.number, committed.mark))
        for reason in start.rewinds:
            self._metrics.rewinds.inc()
            log.error("Partition %d of %s is read again from its beginning: %s.", self.number, LEDGER, reason)
        self._source.resume(self.number, start.offset)
        self.batch = InsertBatch(self.number, stored, start.offset)
        self.committed = ResumePoint(start.offset, committed.stored, start.mark)
        self.mark = start.mark
        self.state = State.VERIFYING if start.verify else State.READING
        self._metrics.mark_readable(self.number)
        newest = "none" if stored == BEFORE_ALL else stored
        log.info(
            "Partition %d begins at record %d; newest entry in ClickHouse: %s.",
            self.number,
            start.offset,
            newest,
        )

    def _postpone(self, error: KafkaError) -> None:
        self._failures += 1
        pause_s = backoff_s(self._failures)
        self.begins_at_s = self._now_s() + pause_s
        self._metrics.mark_unreadable(self.number, f"{error}")
        sentence = "Partition %d of %s cannot begin (%s); trying again in %.1f s."
        log.warning(sentence, self.number, LEDGER, error, pause_s)

    def _refuse_another_log(self, offset: int, entries: EntryColumns) -> None:
        if not len(entries):
            return
        verifying, newest = self.state is State.VERIFYING, self.batch.stored
        self.batch.refuse_another_log(offset, entries, verifying=verifying)
        if verifying and entries.last >= newest:
            stored = self._retries.call(self._table.entry_at, self.number, newest)
            if entries.values_at(newest, COMPARED_COLUMNS) != stored:
                raise PoisonError(
                    f"it has another entry {newest} than the one that is stored: phone-ledger and ClickHouse "
                    f"are of different logs; {REBUILD}"
                )
            self.state = State.READING
