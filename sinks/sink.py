"""The sink's loop: takes ledger records, holds them, writes them, commits what is stored."""

import logging
import time
from array import array
from collections import Counter
from collections.abc import Callable, Mapping
from threading import Event
from typing import cast

from kafka.errors import KafkaError
from tenacity import RetryCallState, Retrying, retry_if_exception_type
from tenacity.wait import wait_exponential_jitter

from metering.ledger import COLUMNS
from sinks.batches import Batch, Limits, due, pause_s
from sinks.consuming import SESSION_TIMEOUT_MS
from sinks.errors import PoisonError, SinkError, StoreError
from sinks.lines import BEFORE_ALL, ID_DIGITS, Lines, concatenated, decode
from sinks.metrics import Metrics
from sinks.source import Record, Source, Start
from sinks.store import Store

log = logging.getLogger(__name__)

BACKOFF_FIRST_S = 0.2
BACKOFF_MAX_S = 5.0
IDLE_S = 0.1

LEASE_S = SESSION_TIMEOUT_MS / 1_000 / 2
"""How long after a commit was sent an INSERT may begin: the broker gives a partition to another sink only
when it has not heard of its owner for a whole session, and a commit that it took is a sign of life."""

WATCH_S = 5.0
"""How long a partition may stand while its log goes on, before the sink goes back to where it stands."""

SEEKS_BACK_MAX = 10
"""So often in a row the sink asks for the same records; then it ends, and its supervisor starts it again."""

REBUILD = "stop worker and sink, and rebuild the ledger with `phonemeter replay --confirm --new-ledger`"

_RECORDED_AT = COLUMNS.index("recorded_at_ms")


def backoff() -> wait_exponential_jitter:
    """How long to wait between attempts: doubling, with jitter so that several sinks do not knock in step."""
    return wait_exponential_jitter(multiplier=BACKOFF_FIRST_S, max=BACKOFF_MAX_S, jitter=BACKOFF_FIRST_S)


class _InterruptedError(Exception):
    """What is being tried has lost its sense: partitions moved, or the sink is to stop."""


class Sink:
    """Moves `phone-ledger` into ClickHouse until `stop` is set. Everything runs in the caller's thread."""

    def __init__(
        self,
        source: Source,
        store: Store,
        limits: Limits,
        metrics: Metrics,
        stop: Event,
        now_s: Callable[[], float] = time.monotonic,
        *,
        id_digits: int = ID_DIGITS,
    ) -> None:
        self._source = source
        self._store = store
        self._limits = limits
        self._metrics = metrics
        self._stop = stop
        self._now_s = now_s
        self._id_digits = id_digits
        self._batches: dict[int, Batch] = {}
        self._stopped: set[int] = set()
        self._waiting: set[int] = set()
        self._committed: dict[int, int] = {}
        self._leased_at_s = float("-inf")
        self._seeks_back: Counter[int] = Counter()
        self._to_be_read_again: set[int] = set()
        self._to_be_joined: set[int] = set()
        self._stood: dict[int, int] = {}
        self._looked_at_s = now_s()

    def run(self) -> None:
        """Work until told to stop, then write and commit what is held.

        Raises:
            SinkError: Kafka keeps back records that it has; a new start may get them.
        """
        while not self._stop.is_set():
            try:
                self.turn()
            except _InterruptedError:
                continue
            except KafkaError as error:
                log.warning("Kafka: %s; trying again.", error)
                self._stop.wait(BACKOFF_FIRST_S)
        self._drain()

    def turn(self) -> None:
        """Do one round: what rebalanced, what arrived, what is due, what is to be committed."""
        self._rebalance()
        self._begin_waiting()
        arrived = self._source.poll(min(pause_s(self._batches.values(), self._limits, self._now_s()), 0.5))
        self._rebalance()
        self._to_be_read_again.clear()
        try:
            for record in arrived:
                self._take(record)
                self._write_due()
            self._write_due()
        except (_InterruptedError, KafkaError):
            self._give_back()
            raise
        self._commit()
        self._look_after()
        self._report()

    def _rebalance(self) -> None:
        for event in self._source.rebalances():
            self._leased_at_s = float("-inf")
            if event.kind == "assigned":
                self._metrics.rebalances.inc()
            for partition in event.partitions:
                batch = self._batches.pop(partition, None)
                if batch is not None and len(batch):
                    log.info(
                        "Partition %d moves; %d lines that were held are left to its next owner.",
                        partition,
                        len(batch),
                    )
                self._stopped.discard(partition)
                self._committed.pop(partition, None)
                self._seeks_back.pop(partition, None)
                self._stood.pop(partition, None)
                self._to_be_joined.discard(partition)
                if event.kind == "assigned":
                    self._waiting.add(partition)
                    self._store.doubt(partition)
                else:
                    self._waiting.discard(partition)
                    self._metrics.forget_partition(partition)

    def _begin_waiting(self) -> None:
        """Find out where each newly assigned partition stands, and begin there."""
        if self._waiting:
            newest_ms = self._retrying()(self._store.newest_recorded_at_ms)
            if newest_ms is not None:
                self._metrics.saw_line(newest_ms)
        for partition in sorted(self._waiting):
            # In this order: the partition's last owner may still store and commit between the two.
            at = self._source.start_of(partition)
            stored = self._retrying()(self._store.position, partition)
            self._metrics.clickhouse_up.set(1)
            offset = at.offset
            if stored < at.stored:
                self._metrics.rewinds.inc()
                log.error(
                    "Partition %d: ClickHouse has lines up to %s, but acknowledged %s; reading all again.",
                    partition,
                    stored,
                    at.stored,
                )
            if stored < at.stored or stored == BEFORE_ALL:
                offset = self._source.beginning_of(partition)
            if stored != BEFORE_ALL and (stored < at.stored or at.stored == BEFORE_ALL):
                self._to_be_joined.add(partition)
            self._source.seek(partition, offset)
            self._batches[partition] = Batch(partition, stored, offset)
            self._committed[partition] = offset
            self._waiting.discard(partition)
            self._metrics.stopped.labels(partition).set(0)
            log.info("Partition %d begins at record %d; stored up to %s.", partition, offset, stored)

    def _take(self, record: Record) -> None:
        batch = self._batches.get(record.partition)
        if batch is None or record.partition in self._stopped | self._to_be_read_again:
            return
        if record.offset > batch.next_offset:
            self._go_back_for(batch, f"jumped from record {batch.next_offset} to {record.offset}")
            return
        try:
            lines = decode(record.value, record.partition, self._id_digits)
            self._refuse_strangers(batch, record.offset, lines)
            if record.offset < batch.next_offset:
                return
            duplicates = batch.take(lines, len(record.value or b""), self._now_s())
        except PoisonError as error:
            self._stop_partition(record.partition, f"record {record.offset}: {error}")
            return
        self._seeks_back.pop(record.partition, None)
        self._metrics.duplicate_rows.inc(duplicates)

    def _refuse_strangers(self, batch: Batch, offset: int, lines: Lines) -> None:
        """Make sure that this is the log that was read so far: what was taken once has no lines that are new.

        Nor has the beginning of a log that is read again because nobody knows how far it was read.
        """
        if not len(lines):
            return
        again = offset < batch.next_offset and lines.last > batch.last
        apart = batch.partition in self._to_be_joined and lines.first > batch.last
        if again or apart:
            raise PoisonError(
                f"lines begin at {lines.first} where those up to {batch.last} were expected again: the topic "
                f"was made anew, or its head deleted; {REBUILD}"
            )
        self._to_be_joined.discard(batch.partition)

    def _give_back(self) -> None:
        """Have the records delivered again that were not taken."""
        for batch in self._batches.values():
            self._source.seek(batch.partition, batch.next_offset)

    def _go_back_for(self, batch: Batch, why: str) -> None:
        """Ask for the records again that a partition stands before: its log has no honest gaps.

        Raises:
            SinkError: this was tried often enough.
        """
        partition, expected = batch.partition, batch.next_offset
        self._to_be_read_again.add(partition)
        beginning = self._source.beginning_of(partition)
        if beginning > expected:
            deleted = f"records {expected} to {beginning - 1} were deleted before they were stored"
            self._stop_partition(partition, f"its beginning: {deleted}; {REBUILD}")
            return
        self._seeks_back[partition] += 1
        self._metrics.seeks_back.inc()
        times = self._seeks_back[partition]
        if times > SEEKS_BACK_MAX:
            raise SinkError(
                f"Partition {partition} of phone-ledger {why}, {times} times in a row: Kafka does not "
                f"deliver what it has; the sink ends, so that its supervisor starts it again."
            )
        log.warning("Partition %d %s; reading again.", partition, why)
        self._source.seek(partition, expected)
        if times > 1:
            self._idle(min(BACKOFF_FIRST_S * 2**times, BACKOFF_MAX_S))

    def _look_after(self) -> None:
        """Go back where a partition stands although its log goes on: a skip to its end shows no gap.

        Raises:
            SinkError: the log is shorter than it was.
        """
        if self._now_s() < self._looked_at_s + WATCH_S:
            return
        self._looked_at_s = self._now_s()
        stands = {
            batch.partition: batch.next_offset
            for batch in self._batches.values()
            if batch.partition not in self._stopped
        }
        standing = {number: offset for number, offset in stands.items() if self._stood.get(number) == offset}
        self._stood = stands
        for partition, end in self._source.ends_of(standing).items():
            offset = standing[partition]
            if end < offset:
                raise SinkError(
                    f"Partition {partition} of phone-ledger was read up to record {offset} and now ends at "
                    f"{end}: the topic was made anew; the sink ends, and looks again when it is started."
                )
            if end > offset:
                self._go_back_for(self._batches[partition], f"stands at record {offset} of {end}")

    def _stop_partition(self, partition: int, reason: str) -> None:
        self._stopped.add(partition)
        self._source.stop(partition)
        self._metrics.stopped.labels(partition).set(1)
        log.error(
            "Partition %d of phone-ledger is stopped at %s. Nothing after it is stored until that is "
            "repaired and the sink started again; the other partitions go on.",
            partition,
            reason,
        )

    def _write_due(self) -> None:
        for batch in due(self._batches.values(), self._limits, self._now_s()):
            self._retrying()(self._write, batch)

    def _write(self, batch: Batch) -> None:
        """Store what a batch holds. Where the partition stands is read first, every time.

        So it does not matter why a line might be there already: a reply that was lost, a sink that was
        killed, or one that was asleep and does not know yet that its partition moved.
        """
        self._renew_lease()
        with self._source.owned() as still_ours:
            if not still_ours:
                raise _InterruptedError
            stored = self._store.position(batch.partition)
            self._metrics.clickhouse_up.set(1)
            if stored < batch.stored:
                self._begin_again(batch)
                raise _InterruptedError
            arrived = batch.drop_through(stored)
            if arrived:
                self._metrics.duplicate_rows.inc(arrived)
                log.warning(
                    "Partition %d: %d lines were stored already, up to %s.", batch.partition, arrived, stored
                )
            if len(batch):
                self._insert(batch)

    def _insert(self, batch: Batch) -> None:
        columns = concatenated(batch.pieces)
        began_s = self._now_s()
        if began_s >= self._leased_at_s + LEASE_S:
            raise _InterruptedError
        self._store.insert(batch.partition, columns, batch.stored)
        reached = self._store.position(batch.partition)
        if reached <= batch.stored:
            self._store.forget_tokens()
            raise StoreError(f"an INSERT of partition {batch.partition} was acknowledged but is not there")
        count = batch.drop_through(reached)
        self._metrics.insert_seconds.observe(self._now_s() - began_s)
        self._metrics.inserts.inc()
        self._metrics.rows_inserted.inc(count)
        self._metrics.batch_rows.observe(count)
        arrivals = cast("array[int]", columns[_RECORDED_AT])
        self._metrics.stored(batch.partition, min(arrivals), max(arrivals))

    def _begin_again(self, batch: Batch) -> None:
        """Begin the partition as if just assigned: ClickHouse lost what it had acknowledged."""
        self._store.forget_tokens()
        del self._batches[batch.partition]
        self._waiting.add(batch.partition)

    def _commit(self) -> None:
        """Commit where partitions stand that hold nothing back; a batch in the making waits for its turn."""
        ready = {
            batch.partition: Start(batch.next_offset, batch.stored)
            for batch in self._batches.values()
            if not len(batch) and batch.next_offset != self._committed.get(batch.partition)
        }
        if ready and not self._source.rebalanced:
            self._commit_at(ready)

    def _renew_lease(self) -> None:
        """Have the broker confirm that the partitions are still ours, unless it has just done so.

        A sink that was suspended wakes up believing so, while another one has taken over; its commit fails.
        """
        if self._now_s() < self._leased_at_s + LEASE_S / 2:
            return
        places = {
            batch.partition: Start(self._committed[batch.partition], batch.stored)
            for batch in self._batches.values()
        }
        if not self._commit_at(places):
            self._stop.wait(IDLE_S)
            raise _InterruptedError

    def _commit_at(self, places: Mapping[int, Start]) -> bool:
        asked_s = self._now_s()
        if not self._source.commit(places):
            return False
        self._leased_at_s = asked_s
        self._committed.update({partition: at.offset for partition, at in places.items()})
        return True

    def _report(self) -> None:
        self._metrics.assigned_partitions.set(len(self._batches))
        for batch in self._batches.values():
            lag = self._source.lag(batch.partition, self._committed.get(batch.partition, batch.next_offset))
            if lag is not None:
                self._metrics.lags(batch.partition, lag)

    def _drain(self) -> None:
        """Write and commit what is held, with one attempt: what fails is read again at the next start."""
        try:
            self._rebalance()
            for batch in self._batches.values():
                if len(batch):
                    self._write(batch)
            self._commit()
        except (_InterruptedError, StoreError, KafkaError) as error:
            log.warning("Not everything held could be stored before the end (%s); it is read again.", error)

    def _retrying(self) -> Retrying:
        return Retrying(
            retry=retry_if_exception_type(StoreError),
            wait=backoff(),
            sleep=self._idle,
            before_sleep=self._tell_failure,
            reraise=True,
        )

    def _tell_failure(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        pause = state.next_action.sleep if state.next_action else 0.0
        self._metrics.insert_errors.inc()
        self._metrics.clickhouse_up.set(0)
        log.warning(
            "ClickHouse: %s; attempt %d failed, the next one in %.1f s.", error, state.attempt_number, pause
        )

    def _idle(self, seconds: float) -> None:
        """Wait without leaving the group; raises when what is waited for has lost its sense."""
        until_s = self._now_s() + seconds
        while (left_s := until_s - self._now_s()) > 0:
            if self._stop.is_set() or self._source.rebalanced:
                raise _InterruptedError
            self._source.idle(min(left_s, IDLE_S))
