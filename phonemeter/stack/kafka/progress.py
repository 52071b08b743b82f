"""The progress of the worker and the sink, as committed to Kafka."""

from typing import Final, NamedTuple

from kafka import TopicPartition
from kafka.errors import (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    NotCoordinatorError,
)
from kafka.structs import OffsetAndMetadata

from metering.topics import EVENTS, LEDGER, SINK_GROUP, WORKER_GROUP
from sinks.admin_client import KafkaAdmin
from sinks.ledger_source import position_of
from sinks.position import Position

NO_COORDINATOR_YET: Final = (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    NotCoordinatorError,
)


class ServiceProgress(NamedTuple):
    """The progress of the worker and the sink.

    Attributes:
        metered: per partition, the offset of the next event to meter; all before it are in the ledger.
        stored: per partition, the last entry that ClickHouse has acknowledged.
    """

    metered: dict[int, int]
    stored: dict[int, Position]


def service_progress(client: KafkaAdmin) -> ServiceProgress:
    """Read the committed progress.

    The worker commits some seconds late; what the sink has stored counts as metered too.
    """
    stored = {
        at.partition: position_of(done.metadata)
        for at, done in committed(client, SINK_GROUP).items()
        if at.topic == LEDGER
    }
    metered = {
        at.partition: max(0, done.offset)
        for at, done in committed(client, WORKER_GROUP).items()
        if at.topic == EVENTS
    }
    return ServiceProgress(
        {
            partition: max(metered.get(partition, 0), stored[partition].offset if partition in stored else 0)
            for partition in metered.keys() | stored.keys()
        },
        stored,
    )


def committed(client: KafkaAdmin, group: str) -> dict[TopicPartition, OffsetAndMetadata]:
    """The committed offsets of a consumer group; empty before its first consumer."""
    try:
        return client.group_offsets(group)
    except NO_COORDINATOR_YET:
        # Kafka assigns a coordinator when the first consumer joins.
        return {}
