"""The Kafka that a backup is restored into: empty at first, closed to services until the restore is done.

While `phone-events` is filled, its `message.timestamp.type` is CreateTime, which every service refuses; at
the end it is LogAppendTime again, and old records keep their times. A committed offset of `RESTORE_GROUP`
names the backup, so that a restore that was broken off can go on.
"""

from typing import Final

from kafka import TopicPartition
from kafka.structs import OffsetAndMetadata

from kafka_access.access import KafkaAccess
from metering.log_identity import Mark
from metering.topics import (
    ALERTS,
    DEAD_LETTERS,
    DELIVERIES,
    EVENTS,
    LEDGER,
    NOTIFIER_GROUP,
    RESTORE_GROUP,
    SINK_GROUP,
    STATE,
    WORKER_GROUP,
)
from phonemeter.backup.manifest import Manifest
from phonemeter.errors import OperationError, UserError
from phonemeter.kafka_admin import admin
from phonemeter.replay.service_groups import forget_groups, refuse_members
from phonemeter.stack.kafka.topics import alter, ensure_topics, unfinished_restore, wait_until_seen
from phonemeter.topic_reader import spans_of
from sinks.admin_client import KafkaAdmin
from sinks.kafka_consumer import decode_metadata, encode_metadata
from sinks.notifier.kafka_log import NOTED
from sinks.preconditions import found_topics

ORDER: Final = (EVENTS, LEDGER, ALERTS, DEAD_LETTERS, DELIVERIES, STATE)
GROUPS: Final = (WORKER_GROUP, SINK_GROUP, NOTIFIER_GROUP)
TIMESTAMP_TYPE: Final = "message.timestamp.type"


class RestoreTarget:
    """The Kafka at `kafka`, for a backup with this manifest and identity."""

    def __init__(self, kafka: KafkaAccess, manifest: Manifest, identity: str) -> None:
        self._kafka = kafka
        self._manifest = manifest
        self._identity = identity

    def check(self) -> bool:
        """Check that Kafka is empty, or has what an earlier run of this restore has left.

        Missing topics are created.

        Returns:
            True if an earlier run has left something.

        Raises:
            UserError: it has other records, or services are running.
        """
        with admin(self._kafka) as client:
            refuse_members(client, GROUPS)
            noted = unfinished_restore(client)
            if noted and EVENTS not in found_topics(client):
                # Its topics were deleted, to begin anew.
                client.delete_group(RESTORE_GROUP)
                noted = ""
        if noted == self._identity:
            return True
        if noted:
            raise UserError(
                f"A restore of another backup into Kafka at {self._kafka} was not finished: finish that one, "
                f"or delete the topics and the consumer group {RESTORE_GROUP}."
            )
        ensure_topics(self._kafka, self._manifest.partitions)
        with admin(self._kafka) as client:
            self._refuse_filled(client)
        return False

    def close(self) -> None:
        """Keep services out, and note the backup that is being restored."""
        with admin(self._kafka) as client:
            forget_groups(client, GROUPS)
            self._commit(client, RESTORE_GROUP, {TopicPartition(EVENTS, 0): (0, self._identity)})
            self._set_timestamp_type(client, "CreateTime")

    def complete(self) -> None:
        """Let the logs begin where they began, and the groups where they were."""
        with admin(self._kafka) as client:
            self._delete_heads(client)
            self._commit_offsets(client)

    def open(self) -> None:
        """Have the broker's clock tell the time of further events, and allow services to start."""
        with admin(self._kafka) as client:
            self._set_timestamp_type(client, "LogAppendTime")
            client.delete_group(RESTORE_GROUP)

    def _refuse_filled(self, client: KafkaAdmin) -> None:
        for topic in ORDER:
            for partition, span in spans_of(client, topic).items():
                if span.end:
                    raise UserError(
                        f"Kafka at {self._kafka} is not empty: {topic} partition {partition} ends at offset "
                        f"{span.end}. Restore into a Kafka without phonemeter's topics, or delete them first."
                    )

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
        self._commit(
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
        self._commit(client, NOTIFIER_GROUP, notified)

    def _commit(self, client: KafkaAdmin, group: str, offsets: dict[TopicPartition, tuple[int, str]]) -> None:
        if offsets:
            client.alter_group_offsets(
                group,
                {at: OffsetAndMetadata(offset, metadata, -1) for at, (offset, metadata) in offsets.items()},
            )

    def _set_timestamp_type(self, client: KafkaAdmin, value: str) -> None:
        found = found_topics(client)[EVENTS].config or {}
        if found.get(TIMESTAMP_TYPE) == value:
            return
        refusal = alter(client, EVENTS, {TIMESTAMP_TYPE: value})
        if refusal:
            raise OperationError(
                f"Kafka at {self._kafka} does not let {TIMESTAMP_TYPE} of {EVENTS} be set to {value}, "
                f"without which the times of events are lost: {refusal}"
            )
        wait_until_seen(client, {(EVENTS, TIMESTAMP_TYPE): value})
