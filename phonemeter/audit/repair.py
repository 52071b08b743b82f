"""Repair: ClickHouse's ledger built anew from the ledger topic, and put in the place of the old one at once.

The sink goes on meanwhile. Before each INSERT it asks how far its partition is stored, and inserts what comes
next. So it may find the new table where the old one was, if only the new one ends exactly where the old one
ended. Hence the order:

1. Fill the new table, in a database of its own, up to where the old one stands now.
2. Let the old table refuse INSERTs, by a constraint that nothing meets; wait until none is under way. The
   sink tries again and again, as it does whenever ClickHouse refuses. Readers notice nothing.
3. Fill up to where the old table has ended, exactly.
4. Exchange the two: one atomic step. The constraint goes away with the old table. Then exchange the notes of
   which migrations they have had, so that a table of an older version makes place for one of this.

A line that the old table had lost at its end is not put back by this but by a sink: one that joins the group
finds what was acknowledged and is not there, and reads it again, as after a disk was replaced. All sinks of
the group look again when it joins.
"""

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from clickhouse_driver import Client
from kafka import TopicPartition
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from metering.topics import LEDGER
from phonemeter.audit.auditor import Show
from phonemeter.audit.log import Log, reading, spans
from phonemeter.audit.report import Repaired
from phonemeter.errors import OperationError
from phonemeter.replay.reading import Span
from phonemeter.settings import Settings
from phonemeter.stack.kafka.progress import how_far
from phonemeter.stack.kafka.topics import admin
from sinks.batches import Batch, Limits
from sinks.connection import FAILURES, connect, database_of, rows, sentence
from sinks.errors import PoisonError, StoreError
from sinks.lines import BEFORE_ALL, Position, concatenated, decode
from sinks.metrics import Metrics
from sinks.migrations import known, migrate
from sinks.sink import Sink
from sinks.source import Source
from sinks.store import Store

BLOCK: Final = "phonemeter_audit_repair_is_under_way"
"""Name of the constraint: the sink's log shows it while it waits."""

ROWS_PER_INSERT: Final = 100_000
LOOK_AGAIN_S_MAX: Final = 300.0
LOOK_AGAIN_PAUSE_S: Final = 0.2
DDL_TIMEOUT_S: Final = 120.0


_REFUSE: Final = f"ALTER TABLE ledger ADD CONSTRAINT IF NOT EXISTS {BLOCK} CHECK 0"
_ALLOW: Final = f"ALTER TABLE ledger DROP CONSTRAINT IF EXISTS {BLOCK}"


def repair(settings: Settings, show: Show = lambda _partition, _offset, _end: None) -> Repaired:
    """Build ClickHouse's ledger anew from `phone-ledger`. One at a time.

    Raises:
        OperationError: Kafka or ClickHouse does not do its part, or `phone-ledger` has a record that is none;
            the old table is then as it was.
    """
    records = spans(settings.kafka, LEDGER)
    with admin(settings.kafka) as client:
        acknowledged = how_far(client).stored
    repaired = Repaired()
    with (
        _one_sentence(),
        reading(settings.kafka) as log,
        _fresh(settings.clickhouse) as fresh,
        closing(Store(settings.clickhouse)) as old,
        closing(Store(fresh)) as new,
    ):
        fillings = {
            partition: _Filling(partition, log, new, show, settings.event_id_digits) for partition in records
        }
        for partition, filling in fillings.items():
            _refuse_cut_ledger(settings.clickhouse, log, partition, records[partition])
            filling.fill(records[partition], old.position(partition))
        ended = _exchange(settings.clickhouse, fresh, old, fillings, settings.kafka)
    repaired.lines = sum(filling.lines for filling in fillings.values())
    wanted = {
        partition: min(acknowledged.get(partition, BEFORE_ALL), filling.newest)
        for partition, filling in fillings.items()
    }
    if any(
        ended[partition] < wanted[partition] or ended[partition] > filling.newest
        for partition, filling in fillings.items()
    ):
        _look_again(settings, wanted)
        repaired.looked_again = True
    return repaired


def _refuse_cut_ledger(url: str, log: Log, partition: int, records: Span) -> None:
    """Raise OperationError if ClickHouse has lines from before the first that the topic still has."""
    if records.begin in {0, records.end}:
        return
    (oldest,) = next(log.batches(LEDGER, partition, Span(records.begin, records.begin + 1)))
    try:
        lines = decode(oldest.value, partition)
    except PoisonError:
        # The filling meets it again, and says so.
        return
    first = lines.first if len(lines) else BEFORE_ALL
    with connect(url) as client:
        ((older,),) = rows(
            client,
            f"SELECT count() FROM ledger WHERE source_partition = {partition:d} "  # noqa: S608 - numbers
            f"AND (source_offset, line) < ({first.offset:d}, {first.line:d})",
        )
    if older:
        raise OperationError(
            f"{LEDGER} partition {partition} begins at {first}, and ClickHouse has {older} lines from before "
            f"that: a repair would lose them. Nothing was changed."
        )


def allow_inserts(url: str) -> None:
    """Take away what a repair that was killed may have left in the way of the sink.

    Raises:
        OperationError: ClickHouse does not answer, or has no ledger.
    """
    with _one_sentence(), connect(url, reply_timeout_s=DDL_TIMEOUT_S) as client:
        client.execute(_ALLOW)


class _Filling:
    """One partition of the new table.

    Attributes:
        lines: how many it was filled with.
        newest: the newest line that the topic is known to have.
    """

    def __init__(self, partition: int, log: Log, store: Store, show: Show, id_digits: int) -> None:
        self.lines = 0
        self.newest = BEFORE_ALL
        self._partition = partition
        self._log = log
        self._store = store
        self._show = show
        self._id_digits = id_digits
        self._batch = Batch(partition, BEFORE_ALL, 0)
        self._next_offset = 0

    def fill(self, records: Span, target: Position) -> None:
        """Store the lines of the topic up to `target`, from where the last filling ended."""
        self._next_offset = max(self._next_offset, records.begin)
        for batch in self._log.batches(LEDGER, self._partition, Span(self._next_offset, records.end)):
            for record in batch:
                self._take(record, target)
            self._show(self._partition, batch[-1].offset + 1, records.end)
        self._write()

    def _take(self, record: Any, target: Position) -> None:  # noqa: ANN401 - aiokafka's types are not complete
        try:
            lines = decode(record.value, self._partition, self._id_digits)
            last = lines.last if len(lines) else BEFORE_ALL
            self.newest = max(self.newest, last)
            self._batch.take(lines.through(target), len(record.value), 0.0)
        except PoisonError as error:
            raise OperationError(
                f"{LEDGER} partition {self._partition} record {record.offset} cannot be stored: {error}. "
                f"Nothing was changed."
            ) from error
        if last <= target and self._next_offset == record.offset:
            self._next_offset = record.offset + 1
        if len(self._batch) >= ROWS_PER_INSERT:
            self._write()

    def _write(self) -> None:
        batch = self._batch
        if len(batch):
            self._store.insert(self._partition, concatenated(batch.pieces), batch.stored)
            self.lines += batch.drop_through(batch.last)


@contextmanager
def _one_sentence() -> Iterator[None]:
    try:
        yield
    except (StoreError, *FAILURES) as error:
        raise OperationError(f"ClickHouse did not do its part of the repair: {sentence(error)}") from error


@contextmanager
def _fresh(url: str) -> Iterator[str]:
    """A database of its own with an empty ledger, gone at the end; its URL."""
    place = urlsplit(url)
    fresh = urlunsplit(place._replace(path=f"{place.path}_repair"))
    name = database_of(fresh)
    with connect(url, database="default", reply_timeout_s=DDL_TIMEOUT_S) as client:
        client.execute(f"DROP DATABASE IF EXISTS `{name}` SYNC")
        migrate(fresh)
        try:
            yield fresh
        finally:
            client.disconnect()
            client.execute(f"DROP DATABASE IF EXISTS `{name}` SYNC")


def _exchange(
    url: str, fresh: str, old: Store, fillings: Mapping[int, _Filling], kafka: str
) -> dict[int, Position]:
    """Put the new table in the place of the old one; how far that had come, per partition."""
    with connect(url, reply_timeout_s=DDL_TIMEOUT_S) as client, _refusing_inserts(client):
        ended = {}
        # What the old table has was published before: asked now, the topic has all of it.
        records = spans(kafka, LEDGER)
        for partition, filling in fillings.items():
            old.doubt(partition)
            ended[partition] = old.position(partition)
            filling.fill(records[partition], ended[partition])
        for step in known():
            # An older database may lack other tables than the ledger that its notes will name from now on.
            client.execute(step.sql)
        for table in ("ledger", "schema_migrations"):
            client.execute(f"EXCHANGE TABLES {table} AND `{database_of(fresh)}`.{table}")
    return ended


@contextmanager
def _refusing_inserts(client: Client) -> Iterator[None]:
    """While the block runs, INSERTs into the ledger fail; afterwards they do not, whichever table it is."""
    try:
        client.execute(_REFUSE)
        yield
    finally:
        # The connection may be what failed; the next statement makes a new one.
        client.disconnect()
        client.execute(_ALLOW)


class _JoiningSource(Source):
    """A source that says when the group has been divided anew, which makes all its sinks look again."""

    def __init__(self, bootstrap: str) -> None:
        self.joined = threading.Event()
        super().__init__(bootstrap)

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Receive partitions; called in the consumer's thread."""
        super().on_partitions_assigned(assigned)
        self.joined.set()


def _look_again(settings: Settings, wanted: Mapping[int, Position]) -> None:
    """Join the sinks as one of them until all that they had acknowledged is stored."""
    stop = threading.Event()
    source = _JoiningSource(settings.kafka)
    limits = Limits(
        rows=settings.sink_batch_rows,
        bytes=settings.sink_batch_bytes,
        total_bytes=settings.sink_buffer_bytes,
        age_s=settings.sink_flush_ms / 1_000,
    )
    with (
        closing(source),
        closing(Store(settings.clickhouse)) as store,
        closing(Store(settings.clickhouse)) as watching,
        _working(Sink(source, store, limits, Metrics(), stop, id_digits=settings.event_id_digits), stop),
    ):

        def is_to_be_waited_for() -> bool:
            return not source.joined.is_set() or any(
                watching.position(partition) < position for partition, position in wanted.items()
            )

        with _one_sentence():
            still_missing = Retrying(
                stop=stop_after_delay(LOOK_AGAIN_S_MAX),
                wait=wait_fixed(LOOK_AGAIN_PAUSE_S),
                retry=retry_if_result(bool),
                retry_error_callback=lambda _state: True,
            )(is_to_be_waited_for)
    if still_missing:
        raise OperationError(
            f"The end of the ledger has not been stored again within {LOOK_AGAIN_S_MAX:.0f} s; see the "
            f"sink's log, and audit again."
        )


@contextmanager
def _working(sink: Sink, stop: threading.Event) -> Iterator[None]:
    thread = threading.Thread(target=sink.run, name="phonemeter-repair-sink", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
