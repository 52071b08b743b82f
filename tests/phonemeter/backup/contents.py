"""The records of the logs of a backup, or of a Kafka up to where a backup goes."""

from pathlib import Path
from typing import Final

from kafka_access.access import KafkaAccess
from metering.records import Record
from metering.topics import ALERTS, DEAD_LETTERS, EVENTS, LEDGER
from phonemeter.backup.backup_reader import BackupReader
from phonemeter.backup.manifest import Manifest
from phonemeter.topic_reader import RecordSource, open_reader

LOGS: Final = (EVENTS, LEDGER, ALERTS, DEAD_LETTERS)

Contents = dict[tuple[str, int], list[Record]]


def contents(source: RecordSource, manifest: Manifest) -> Contents:
    """Read each partition of the logs."""
    return {
        (topic, partition): [one for batch in source.batches(topic, partition, span) for one in batch]
        for topic in LOGS
        for partition, span in BackupReader(Path(), manifest).spans(topic).items()
    }


def contents_of_kafka(kafka: KafkaAccess, manifest: Manifest) -> Contents:
    """Read them from Kafka."""
    with open_reader(kafka) as reader:
        return contents(reader, manifest)
