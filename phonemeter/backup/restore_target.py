"""The Kafka that a backup is restored into (`closed_kafka`), and what is set there after its records."""

from typing import Final

from kafka import TopicPartition

from kafka_access.access import KafkaAccess
from metering.log_identity import Mark
from metering.topics import EVENTS, NOTIFIER_GROUP, WORKER_GROUP
from phonemeter.backup.closed_kafka import ORDER, ClosedKafka, CopyNames, commit
from phonemeter.backup.manifest import Manifest
from phonemeter.kafka_admin import admin
from sinks.admin_client import KafkaAdmin
from sinks.kafka_consumer import decode_metadata, encode_metadata
from sinks.notifier.kafka_log import NOTED

_ANOTHER: Final = "A restore of another backup"
_ADVICE: Final = "Restore into a Kafka without phonemeter's topics, or delete them first."


class RestoreTarget(ClosedKafka):
    """The Kafka at `kafka`, for a backup with this manifest and identity."""

    def __init__(self, kafka: KafkaAccess, manifest: Manifest, identity: str) -> None:
        super().__init__(kafka, manifest.partitions, CopyNames(identity, _ANOTHER, _ADVICE))
        self._kafka = kafka
        self._manifest = manifest

    def complete(self) -> None:
        """Let the logs begin where they began, and the groups where they were."""
        with admin(self._kafka) as client:
            self._delete_heads(client)
            self._commit_offsets(client)

    def _delete_heads(self, client: KafkaAdmin) -> None:
        """Delete the offsets before the first one of each log: they were filled without records."""
        heads = {
            TopicPartition(topic, part.partition): part.begin
            for topic in ORDER
            for part in self._manifest.topics[topic].partitions
            if part.begin
        }
        if heads:
            client.delete_records(heads)

    def _commit_offsets(self, client: KafkaAdmin) -> None:
        """Have the worker go on behind its state, and the notifier where it was, in logs with other ids."""
        metered = self._manifest.metered
        commit(
            client,
            WORKER_GROUP,
            {TopicPartition(EVENTS, at): (part.next_offset, "") for at, part in metered.items()},
        )
        notified = {}
        for one in self._manifest.offsets:
            position, mark = decode_metadata(NOTED, one.metadata)
            detached = Mark(offset=mark.offset, fingerprint=mark.fingerprint)
            metadata = encode_metadata(NOTED, position, detached)
            notified[TopicPartition(one.topic, one.partition)] = (one.offset, metadata)
        commit(client, NOTIFIER_GROUP, notified)
