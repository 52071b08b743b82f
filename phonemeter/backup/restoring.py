"""A restore: a backup put into an empty Kafka and an empty business database.

Every record gets the partition, the offset and the time that it had, as ledger, state and ClickHouse name
events by them. A restore that was broken off goes on from where it is.

The state's newest checkpoint is restored, without the identity of the old log, so a worker goes on from
there. ClickHouse is filled by the sink, from the ledger.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import msgspec

from metering.ledger import decode_rows
from metering.records import Record
from metering.topics import (
    LEDGER,
    RESTORE_GROUP,
)
from phonemeter.backup.backup_reader import BackupReader
from phonemeter.backup.block_file import FilePart, read_blocks, read_records, verify_file
from phonemeter.backup.closed_kafka import ORDER
from phonemeter.backup.directory import BackupDirectory
from phonemeter.backup.log_writer import LogWriter, is_written
from phonemeter.backup.manifest import Manifest, PartitionPart
from phonemeter.backup.restore_target import RestoreTarget
from phonemeter.business.database import BusinessDatabase
from phonemeter.business.transfer import TableRows, import_rows, refuse_filled
from phonemeter.clickhouse import NoLedgerError, ledger_client, refuse_cluster
from phonemeter.errors import OperationError, UserError
from phonemeter.replay.rebuild import put_ledger_aside
from phonemeter.settings import Settings, named
from phonemeter.topic_reader import open_reader
from sinks.position import BEFORE_ALL, Position

ShowRestore = Callable[[str, int, int], None]
"""Called with the part that is read or written, what is done of it, and all of it."""

_NEWEST: Final = "SELECT source_partition, max((source_offset, line)) FROM ledger GROUP BY source_partition"

_decode_rows: Final = msgspec.msgpack.Decoder(TableRows).decode


@dataclass(frozen=True, slots=True)
class RestoreReport:
    """The result of a restore: records written by topic, whether business rows were, and the time it took.

    Attributes:
        ledger_kept_as: name under which ClickHouse keeps a ledger that was newer than the backup; or empty.
    """

    records: dict[str, int]
    business: bool
    ledger_kept_as: str
    took_s: float


def verify_files(
    directory: BackupDirectory, manifest: Manifest, show: ShowRestore = lambda _part, _done, _total: None
) -> None:
    """Compare every file of a backup with its SHA-256.

    Raises:
        OperationError: one is damaged or missing.
    """
    done, total = 0, sum(file.bytes for file in manifest.files)
    for file in manifest.files:
        verify_file(directory.path, file)
        done += file.bytes
        show("files", done, total)


def refuse_partitions(settings: Settings, manifest: Manifest) -> None:
    """Check that the settings have the number of partitions of a backup.

    Raises:
        UserError: another one, by which apps and their states would be apart.
    """
    if settings.partitions != manifest.partitions:
        raise UserError(
            f"The backup has topics of {manifest.partitions} partitions and {named('partitions')} is "
            f"{settings.partitions}; set it to {manifest.partitions}."
        )


def restore(
    settings: Settings,
    directory: BackupDirectory,
    manifest: Manifest,
    show: ShowRestore = lambda _part, _done, _total: None,
) -> RestoreReport:
    """Put a backup, whose files were verified, into Kafka and the business database.

    Raises:
        UserError: one of them is not empty, or services are running.
        OperationError: Kafka, ClickHouse or the business database does not do its part.
    """
    began_s = time.monotonic()
    run = _Restore(settings, directory, manifest, show)
    run.begin()
    records = run.write_topics()
    business = run.write_business()
    aside = run.put_ledger_aside()
    run.finish()
    return RestoreReport(records, business, aside, time.monotonic() - began_s)


class _Restore:
    """One restore."""

    def __init__(
        self, settings: Settings, directory: BackupDirectory, manifest: Manifest, show: ShowRestore
    ) -> None:
        self._settings = settings
        self._kafka = settings.kafka_access
        self._directory = directory
        self._manifest = manifest
        self._source = BackupReader(directory.path, manifest)
        self._target = RestoreTarget(settings.kafka_access, manifest, directory.identity())
        self._show = show
        self._done = 0
        self._resumed = False
        self._newer_partitions: list[int] = []

    def begin(self) -> None:
        """Check everything before anything is written, then keep services out."""
        self._resumed = self._target.check()
        if self._manifest.business is not None:
            with BusinessDatabase(self._settings.business_url) as database:
                refuse_filled(database, self._manifest.business.rows_sha256)
        self._newer_partitions = self._newer_in_clickhouse()
        if self._newer_partitions:
            refuse_cluster(self._settings.clickhouse, "restore of a backup that lacks entries of the ledger")
        self._target.close()

    def write_topics(self) -> dict[str, int]:
        """Write the records of every topic, and the offsets of the groups; returns their numbers."""
        with LogWriter(self._kafka) as writer:
            if self._resumed:
                writer.gaps.connect()
                self._refuse_others_records(writer)
            for topic in ORDER:
                self._done = 0
                for part in self._manifest.topics[topic].partitions:
                    self._write(writer, topic, part)
        self._target.complete()
        return {topic: self._manifest.topics[topic].records for topic in ORDER}

    def write_business(self) -> bool:
        """Write the rows of the business database; returns whether the backup has any."""
        part = self._manifest.business
        if part is None:
            return False
        with BusinessDatabase(self._settings.business_url) as database:
            rows = map(_decode_rows, read_blocks(self._directory.path, part.file))
            import_rows(database, part.migration, part.rows_sha256, rows)
        return True

    def put_ledger_aside(self) -> str:
        """Begin a new ledger in ClickHouse if it has entries that the backup lacks.

        Returns:
            The name under which ClickHouse keeps the old one; empty if that is not needed.
        """
        return put_ledger_aside(self._settings.clickhouse) if self._newer_partitions else ""

    def finish(self) -> None:
        """Allow services to start."""
        self._target.open()

    def _write(self, writer: LogWriter, topic: str, part: PartitionPart) -> None:
        end = writer.end_of(topic, part.partition)
        files = [file for file in part.files if file.end > end]
        self._done += sum(file.records for file in part.files) - sum(file.records for file in files)
        writer.write(topic, part.partition, self._blocks(topic, files), part.end)

    def _blocks(self, topic: str, files: Iterable[FilePart]) -> Iterator[list[Record]]:
        total = self._manifest.topics[topic].records
        for file in files:
            for block in read_records(self._directory.path, file):
                yield block
                self._done += len(block)
                self._show(topic, self._done, total)

    def _refuse_others_records(self, writer: LogWriter) -> None:
        """Compare the newest record of each partition with the backup's: somebody may have written there."""
        with open_reader(self._kafka) as reader:
            for topic in ORDER:
                for part in self._manifest.topics[topic].partitions:
                    end = writer.end_of(topic, part.partition)
                    ours = self._source.last_before(topic, part.partition, end)
                    if end > part.end:
                        raise self._others_records(topic, part.partition, part.end)
                    if ours is None:
                        continue
                    found = reader.record_at(topic, part.partition, ours.offset)
                    if not is_written(ours, found):
                        raise self._others_records(topic, part.partition, ours.offset)

    def _others_records(self, topic: str, partition: int, offset: int) -> OperationError:
        return OperationError(
            f"{topic} partition {partition} has another record than the backup at offset {offset}: somebody "
            f"wrote to it since the restore was broken off. Stop all producers and services, delete the "
            f"topics and the consumer group {RESTORE_GROUP}, and restore again."
        )

    def _newer_in_clickhouse(self) -> list[int]:
        """The partitions of which ClickHouse has entries that the backup lacks."""
        try:
            with ledger_client(self._settings.clickhouse) as client:
                stored = client.execute(_NEWEST)
        except NoLedgerError:
            return []
        return [
            partition for partition, newest in stored if Position(*newest) > self._newest_entry(partition)
        ]

    def _newest_entry(self, partition: int) -> Position:
        parts = self._manifest.topics[LEDGER].partitions
        if partition >= len(parts):
            return BEFORE_ALL
        record = self._source.last_before(LEDGER, partition, parts[partition].end)
        rows = decode_rows(record.value or b"").rows if record is not None else []
        return Position(rows[-1][0], rows[-1][1]) if rows else BEFORE_ALL
