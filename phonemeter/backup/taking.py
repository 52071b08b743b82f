"""A backup taken while the services run, consistent without stopping them.

The order in which the parts are read makes it so. Each part is read before those that it was made from:

1. the business database: a fact that it calls published is in the log;
2. how far the notifier has come, then the deliveries: what it has read is among them;
3. the state: it is never ahead of the ledger;
4. the ends of ledger, alerts and dead letters: what they have is of events before
5. the end of the events.

So a restored worker finds what it finds after a crash: events that the state does not cover, of which some
are in the ledger already. Records behind these ends belong to the next backup.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import msgspec

from kafka_access.access import KafkaAccess
from metering.topics import ALERTS, ALL, DEAD_LETTERS, DELIVERIES, EVENTS, LEDGER, NOTIFIER_GROUP, STATE
from phonemeter.backup.block_file import BlockWriter
from phonemeter.backup.directory import SUFFIX, BackupDirectory
from phonemeter.backup.kafka_copy import TopicCopier
from phonemeter.backup.manifest import (
    FORMAT,
    BusinessPart,
    CommittedOffset,
    Manifest,
    PartitionPart,
    TopicPart,
)
from phonemeter.business.database import BusinessDatabase
from phonemeter.business.transfer import export_rows
from phonemeter.errors import OperationError, UserError
from phonemeter.kafka_admin import admin
from phonemeter.settings import Settings
from phonemeter.stack.kafka.progress import committed
from phonemeter.topic_reader import OffsetSpan, TopicReader, open_reader, spans_of
from sinks.admin_client import KafkaAdmin

DERIVED_LOGS: Final = (LEDGER, ALERTS, DEAD_LETTERS)
OWN_PLACES: Final = frozenset({"data_dir", "cache_dir"})
STORE_INTERVAL_S: Final = 5.0
"""Pause between two notes of what an unfinished backup has."""

ShowBackup = Callable[[str, int, int], None]
"""Called with the part that is copied, the records done, and all records to copy of the logs."""


@dataclass(frozen=True, slots=True)
class BackupReport:
    """The result of a backup: its manifest, the records and bytes that it added, and the time it took."""

    manifest: Manifest
    new_records: int
    new_bytes: int
    took_s: float


def take_backup(
    settings: Settings, directory: BackupDirectory, show: ShowBackup = lambda _part, _done, _total: None
) -> BackupReport:
    """Take a backup, or add to the one in a directory.

    Raises:
        UserError: the directory has a backup of another Kafka, or cannot be written.
        OperationError: Kafka or the business database does not answer, or a topic is damaged.
    """
    began_s = time.monotonic()
    try:
        with (
            directory.locked(),
            admin(settings.kafka_access) as client,
            open_reader(settings.kafka_access) as reader,
        ):
            before = directory.latest()
            directory.remove_unnamed(before)
            run = _Run(settings, directory, client, reader, before, show)
            manifest = run.take()
    except OSError as error:
        raise OperationError(
            f"The backup cannot be written to {directory.path}: {error.strerror or error}; make room, and "
            f"run it again: it goes on from where it is."
        ) from None
    known = {file.name for file in before.files} if before is not None else set()
    added = [file for file in manifest.files if file.name not in known]
    return BackupReport(
        manifest,
        new_records=sum(file.records for file in added),
        new_bytes=sum(file.bytes for file in added),
        took_s=time.monotonic() - began_s,
    )


class _Run:
    """One backup that is being taken."""

    def __init__(
        self,
        settings: Settings,
        directory: BackupDirectory,
        client: KafkaAdmin,
        reader: TopicReader,
        before: Manifest | None,
        show: ShowBackup,
    ) -> None:
        self._settings = settings
        self._directory = directory
        self._client = client
        self._reader = reader
        self._before = before
        self._show = show
        self._part, self._done, self._total = "", 0, 0
        self._stored_s = time.monotonic()
        number = 1 if before is None else before.number + 1
        self._copier = TopicCopier(reader, directory.path, number, self._copied)
        described = _described(client, settings.kafka_access)
        self._topic_ids = {name: str(one["topic_id"]) for name, one in described.items()}
        self._manifest = Manifest(
            FORMAT,
            version("phonemeter"),
            number,
            0,
            str(client.describe_cluster()["cluster_id"]),
            len(described[EVENTS]["partitions"]),
            left_out=_left_out(settings),
        )
        self._refuse_another_kafka()

    def take(self) -> Manifest:
        """Copy everything in its order, and store the manifest."""
        self._change(business=self._business(), offsets=self._notifier_offsets())
        self._copy_deliveries()
        self._copy_states()
        ends = {topic: spans_of(self._client, topic) for topic in DERIVED_LOGS}
        ends[EVENTS] = spans_of(self._client, EVENTS)
        self._change(taken_at_ms=int(time.time() * 1_000))
        self._copy_logs(ends)
        self._directory.store(self._manifest, whole=True)
        return self._manifest

    def _copy_logs(self, ends: dict[str, dict[int, OffsetSpan]]) -> None:
        begun = {
            topic: [
                self._copier.continued(
                    topic, self._topic_ids[topic], self._part_before(topic, partition), span, partition
                )
                for partition, span in spans.items()
            ]
            for topic, spans in ends.items()
        }
        # Known from the first file on, so that a backup that is broken off later has all of them.
        for topic, parts in begun.items():
            self._add_topic(topic, parts)
        self._done = 0
        self._total = sum(
            ends[topic][part.partition].end - part.end for topic in ends for part in begun[topic]
        )
        for topic, parts in begun.items():
            self._part = topic
            for part in parts:
                for longer in self._copier.log(topic, part, ends[topic][part.partition].end):
                    parts[part.partition] = longer
                    self._add_topic(topic, parts)
                    self._note()

    def _copy_deliveries(self) -> None:
        self._part = DELIVERIES
        spans = spans_of(self._client, DELIVERIES)
        self._add_topic(DELIVERIES, [self._copier.deliveries(number, span) for number, span in spans.items()])

    def _copy_states(self) -> None:
        self._part = STATE
        copied = [self._copier.state(number) for number in range(self._manifest.partitions)]
        self._add_topic(STATE, [one.part for one in copied])
        self._change(metered={one.part.partition: one.metered for one in copied if one.metered is not None})

    def _business(self) -> BusinessPart | None:
        self._part = "business database"
        with BusinessDatabase(self._settings.business_url) as database:
            if not database.exists:
                return None
            name = f"business/backup-{self._manifest.number:06}{SUFFIX}"
            with BlockWriter(self._directory.path, name) as writer:
                migration, digest = export_rows(database, lambda part: writer.add(part, len(part.rows)))
                return BusinessPart(migration, digest, writer.finish())

    def _notifier_offsets(self) -> tuple[CommittedOffset, ...]:
        return tuple(
            CommittedOffset(NOTIFIER_GROUP, at.topic, at.partition, done.offset, done.metadata or "")
            for at, done in sorted(committed(self._client, NOTIFIER_GROUP).items())
            if at.topic == ALERTS and done.offset >= 0
        )

    def _part_before(self, topic: str, partition: int) -> PartitionPart | None:
        if self._before is None or topic not in self._before.topics:
            return None
        parts = self._before.topics[topic].partitions
        return parts[partition] if partition < len(parts) else None

    def _refuse_another_kafka(self) -> None:
        before = self._before
        if before is not None and before.cluster != self._manifest.cluster:
            raise UserError(
                f"The directory {self._directory.path} has a backup of the Kafka cluster {before.cluster}, "
                f"and {self._settings.kafka_access} is {self._manifest.cluster}; name another directory."
            )

    def _add_topic(self, topic: str, parts: list[PartitionPart]) -> None:
        part = TopicPart(self._topic_ids[topic], tuple(parts))
        self._change(topics={**self._manifest.topics, topic: part})

    def _change(self, **fields: Any) -> None:  # noqa: ANN401 - fields of the manifest
        self._manifest = msgspec.structs.replace(self._manifest, **fields)

    def _copied(self, records: int) -> None:
        self._done += records
        self._show(self._part, self._done, self._total)

    def _note(self) -> None:
        """Note what is on disk, from time to time."""
        if time.monotonic() - self._stored_s >= STORE_INTERVAL_S:
            self._directory.store(self._manifest, whole=False)
            self._stored_s = time.monotonic()


def _described(client: KafkaAdmin, kafka: KafkaAccess) -> dict[str, Any]:
    names = [topic.name for topic in ALL]
    described = {one["name"]: one for one in client.describe_topics(names) if one["error_code"] == 0}
    missing = [name for name in names if name not in described]
    if missing:
        raise OperationError(
            f"Kafka at {kafka} has no topic {missing[0]}, so there is nothing to back up; phonemeter up "
            f"creates it."
        )
    return described


def _left_out(settings: Settings) -> dict[str, str]:
    """The settings that name files, which only the operator may copy: most hold keys and passwords."""
    return {
        name: str(value)
        for name in type(settings).model_fields
        if isinstance(value := getattr(settings, name), Path) and name not in OWN_PLACES
    }
