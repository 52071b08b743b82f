"""Repair: ClickHouse's ledger rebuilt from the ledger topic, and exchanged with the old one atomically.

The sink goes on meanwhile. Before each INSERT it reads the stored position of its partition and inserts what
follows. So the new table may replace the old one only if both end at the same position. Hence the order:

1. Fill a new table, in a database of its own, up to the present end of the old one.
2. Make the old table refuse INSERTs, by a constraint that is never met, and wait until none is running. The
   sink retries, as always when ClickHouse refuses. Readers are not affected.
3. Fill the new table up to the exact end of the old one.
4. Exchange the two atomically; the constraint goes away with the old table. Then exchange the tables of
   applied migrations, so that a table of an older version is replaced by one of this version.

Entries that the old table had lost at its end are restored by a sink: one that joins the group finds that
acknowledged entries are missing and reads them again. Every sink of the group checks this at a rebalance.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from clickhouse_driver import Client
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from kafka_access.access import KafkaAccess
from metering.topics import LEDGER
from phonemeter.audit.auditor import ShowProgress
from phonemeter.audit.report import RepairReport
from phonemeter.clickhouse import refuse_cluster
from phonemeter.errors import OperationError
from phonemeter.kafka_admin import admin
from phonemeter.settings import Settings
from phonemeter.stack.kafka.progress import service_progress
from phonemeter.topic_reader import OffsetSpan, TopicReader, offset_spans, open_reader
from sinks.batches import InsertBatch, Limits
from sinks.connection import FAILURES, connect, database_of, rows, sentence
from sinks.entry_columns import concatenate, decode
from sinks.errors import ClickHouseError, PoisonError
from sinks.ledger_source import LedgerSource
from sinks.ledger_table import LedgerTable
from sinks.metrics import Metrics
from sinks.migrations import known, migrate
from sinks.position import BEFORE_ALL, Position
from sinks.retention import apply
from sinks.sink import Sink

BLOCK: Final = "phonemeter_audit_repair_is_under_way"
"""Name of the constraint, which the sink's log shows while it waits."""

ROWS_PER_INSERT: Final = 100_000
RESTORE_S_MAX: Final = 300.0
RESTORE_PAUSE_S: Final = 0.2
DDL_TIMEOUT_S: Final = 120.0


_REFUSE: Final = f"ALTER TABLE ledger ADD CONSTRAINT IF NOT EXISTS {BLOCK} CHECK 0"
_ALLOW: Final = f"ALTER TABLE ledger DROP CONSTRAINT IF EXISTS {BLOCK}"


def repair(settings: Settings, show: ShowProgress = lambda _partition, _offset, _end: None) -> RepairReport:
    """Rebuild ClickHouse's ledger from `phone-ledger`. One repair at a time.

    Raises:
        UserError: the ledger is on a cluster.
        OperationError: Kafka or ClickHouse failed, or `phone-ledger` has an unreadable record; the old table
            is unchanged then.
    """
    refuse_cluster(settings.clickhouse, "audit --repair")
    records = offset_spans(settings.kafka_access, LEDGER)
    with admin(settings.kafka_access) as client:
        acknowledged = service_progress(client).stored
    repaired = RepairReport()
    with (
        _storage_errors(),
        open_reader(settings.kafka_access) as log,
        _new_database(settings.clickhouse) as fresh,
        closing(LedgerTable(settings.clickhouse)) as old,
        closing(LedgerTable(fresh)) as new,
    ):
        fillings = {
            partition: _Filling(partition, log, new, show, settings.event_id_digits) for partition in records
        }
        for partition, filling in fillings.items():
            _refuse_cut_ledger(settings.clickhouse, log, partition, records[partition])
            filling.fill(records[partition], old.position(partition))
        ended = _exchange(settings.clickhouse, fresh, old, fillings, settings.kafka_access)
    with _storage_errors():
        apply(settings.clickhouse, settings.retention)
    repaired.lines = sum(filling.lines for filling in fillings.values())
    wanted = {
        partition: min(acknowledged.get(partition, BEFORE_ALL), filling.newest)
        for partition, filling in fillings.items()
    }
    if any(
        ended[partition] < wanted[partition] or ended[partition] > filling.newest
        for partition, filling in fillings.items()
    ):
        _restore_end(settings, wanted)
        repaired.end_restored = True
    return repaired


def _refuse_cut_ledger(url: str, log: TopicReader, partition: int, records: OffsetSpan) -> None:
    """Raise OperationError if ClickHouse has older entries than the first in the topic."""
    if records.begin in {0, records.end}:
        return
    (oldest,) = next(log.batches(LEDGER, partition, OffsetSpan(records.begin, records.begin + 1)))
    try:
        lines = decode(oldest.value, partition)
    except PoisonError:
        # Filling the new table reports it.
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
    """Remove the constraint that a killed repair may have left.

    Raises:
        OperationError: ClickHouse does not answer, or has no ledger.
    """
    with _storage_errors(), connect(url, reply_timeout_s=DDL_TIMEOUT_S) as client:
        client.execute(_ALLOW)


class _Filling:
    """The filling of one partition of the new table.

    `lines` entries are inserted; `newest` is the newest entry of the topic so far.
    """

    def __init__(
        self, partition: int, log: TopicReader, store: LedgerTable, show: ShowProgress, id_digits: int
    ) -> None:
        self.lines = 0
        self.newest = BEFORE_ALL
        self._partition = partition
        self._log = log
        self._store = store
        self._show = show
        self._id_digits = id_digits
        self._batch = InsertBatch(partition, BEFORE_ALL, 0)
        self._next_offset = 0

    def fill(self, records: OffsetSpan, target: Position) -> None:
        """Store the entries of the topic up to `target`, from the end of the last filling on."""
        self._next_offset = max(self._next_offset, records.begin)
        for batch in self._log.batches(LEDGER, self._partition, OffsetSpan(self._next_offset, records.end)):
            for record in batch:
                self._take(record, target)
            self._show(self._partition, batch[-1].offset + 1, records.end)
        self._write()

    def _take(self, record: Any, target: Position) -> None:  # noqa: ANN401 - aiokafka's types are not complete
        try:
            lines = decode(record.value, self._partition, self._id_digits)
            last = lines.last if len(lines) else BEFORE_ALL
            self.newest = max(self.newest, last)
            self._batch.add(lines.through(target), len(record.value), 0.0)
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
            self._store.insert(self._partition, concatenate(batch.pieces), batch.stored)
            self.lines += batch.drop_stored(batch.last)


@contextmanager
def _storage_errors() -> Iterator[None]:
    try:
        yield
    except (ClickHouseError, *FAILURES) as error:
        raise OperationError(f"ClickHouse did not do its part of the repair: {sentence(error)}") from error


@contextmanager
def _new_database(url: str) -> Iterator[str]:
    """The URL of a new database with an empty ledger, dropped at the end."""
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
    url: str, fresh: str, old: LedgerTable, fillings: Mapping[int, _Filling], kafka: KafkaAccess
) -> dict[int, Position]:
    """Exchange the tables; returns the end of the old one per partition."""
    with connect(url, reply_timeout_s=DDL_TIMEOUT_S) as client, _refusing_inserts(client):
        ended = {}
        # The topic has at least what the old table has, because that was published before.
        records = offset_spans(kafka, LEDGER)
        for partition, filling in fillings.items():
            old.mark_unsettled(partition)
            ended[partition] = old.position(partition)
            filling.fill(records[partition], ended[partition])
        for step in known():
            # An older database may lack other tables that its list of migrations will contain from now on.
            client.execute(step.sql)
        for table in ("ledger", "schema_migrations"):
            client.execute(f"EXCHANGE TABLES {table} AND `{database_of(fresh)}`.{table}")
    return ended


@contextmanager
def _refusing_inserts(client: Client) -> Iterator[None]:
    """Make INSERTs into the ledger fail in the block; afterwards they work, whichever table it is."""
    try:
        client.execute(_REFUSE)
        yield
    finally:
        # If the connection failed, the next statement makes a new one.
        client.disconnect()
        client.execute(_ALLOW)


def _restore_end(settings: Settings, wanted: Mapping[int, Position]) -> None:
    """Join the sinks' group until everything that they had acknowledged is stored."""
    stop = threading.Event()
    source = LedgerSource(settings.kafka_access)
    limits = Limits(
        rows=settings.sink_batch_rows,
        bytes=settings.sink_batch_bytes,
        total_bytes=settings.sink_buffer_bytes,
        age_s=settings.sink_flush_ms / 1_000,
    )
    with (
        closing(source),
        closing(LedgerTable(settings.clickhouse)) as store,
        closing(LedgerTable(settings.clickhouse)) as watching,
        _running_sink(Sink(source, store, limits, Metrics(), stop, id_digits=settings.event_id_digits), stop),
    ):

        def is_to_be_waited_for() -> bool:
            return not source.joined.is_set() or any(
                watching.position(partition) < position for partition, position in wanted.items()
            )

        with _storage_errors():
            still_missing = Retrying(
                stop=stop_after_delay(RESTORE_S_MAX),
                wait=wait_fixed(RESTORE_PAUSE_S),
                retry=retry_if_result(bool),
                retry_error_callback=lambda _state: True,
            )(is_to_be_waited_for)
    if still_missing:
        raise OperationError(
            f"The end of the ledger has not been stored again within {RESTORE_S_MAX:.0f} s; see the "
            f"sink's log, and audit again."
        )


@contextmanager
def _running_sink(sink: Sink, stop: threading.Event) -> Iterator[None]:
    thread = threading.Thread(target=sink.run, name="phonemeter-repair-sink", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
