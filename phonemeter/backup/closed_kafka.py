"""A Kafka whose topics are filled with a copy: empty at first, closed to services until the copy is whole.

While `phone-events` is filled, its `message.timestamp.type` is CreateTime, which every service refuses; at
the end it is LogAppendTime again, and old records keep their times. A committed offset of `RESTORE_GROUP`
names what is copied, so that a copy that was broken off can go on.
"""

from dataclasses import dataclass
from typing import Final

from kafka import TopicPartition
from kafka.structs import OffsetAndMetadata

from kafka_access.access import KafkaAccess
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
from phonemeter.errors import OperationError, UserError
from phonemeter.kafka_admin import admin
from phonemeter.replay.service_groups import forget_groups, refuse_members
from phonemeter.stack.kafka.topics import alter_and_wait, ensure_topics, unfinished_restore
from phonemeter.topic_reader import spans_of
from sinks.admin_client import KafkaAdmin
from sinks.preconditions import found_topics

ORDER: Final = (EVENTS, LEDGER, ALERTS, DEAD_LETTERS, DELIVERIES, STATE)
GROUPS: Final = (WORKER_GROUP, SINK_GROUP, NOTIFIER_GROUP)
TIMESTAMP_TYPE: Final = "message.timestamp.type"


@dataclass(frozen=True, slots=True)
class CopyNames:
    """The words for a copy: its `identity`, the name of `another` one, and `advice` where records are."""

    identity: str
    another: str
    advice: str


class ClosedKafka:
    """The Kafka at `kafka`, for a copy into topics of so many partitions."""

    def __init__(self, kafka: KafkaAccess, partitions: int, names: CopyNames) -> None:
        self._kafka = kafka
        self._partitions = partitions
        self._names = names

    def check(self) -> bool:
        """Check that Kafka is empty, or has what an earlier run of this copy has left.

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
        if noted == self._names.identity:
            return True
        if noted:
            raise UserError(
                f"{self._names.another} into Kafka at {self._kafka} was not finished: finish that one, "
                f"or delete the topics and the consumer group {self._kafka.group(RESTORE_GROUP)}."
            )
        ensure_topics(self._kafka, self._partitions)
        with admin(self._kafka) as client:
            self._refuse_filled(client)
        return False

    def close(self) -> None:
        """Keep services out, and note what is copied."""
        with admin(self._kafka) as client:
            forget_groups(client, GROUPS)
            commit(client, RESTORE_GROUP, {TopicPartition(EVENTS, 0): (0, self._names.identity)})
            self._set_timestamp_type(client, "CreateTime")

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
                        f"Kafka at {self._kafka} is not empty: {self._kafka.topic(topic)} partition "
                        f"{partition} ends at offset {span.end}. {self._names.advice}"
                    )

    def _set_timestamp_type(self, client: KafkaAdmin, value: str) -> None:
        found = found_topics(client)[EVENTS].config or {}
        if found.get(TIMESTAMP_TYPE) == value:
            return
        refusal = alter_and_wait(client, EVENTS, TIMESTAMP_TYPE, value)
        if refusal:
            raise OperationError(
                f"Kafka at {self._kafka} does not let {TIMESTAMP_TYPE} of {self._kafka.topic(EVENTS)} be set "
                f"to {value}, without which the times of events are lost: {refusal}"
            )


def commit(client: KafkaAdmin, group: str, offsets: dict[TopicPartition, tuple[int, str]]) -> None:
    """Commit offsets of a group without members, each with its metadata."""
    if offsets:
        client.alter_group_offsets(
            group, {at: OffsetAndMetadata(offset, noted, -1) for at, (offset, noted) in offsets.items()}
        )
