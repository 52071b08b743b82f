"""How far the services have come, as they have told Kafka."""

from typing import Final, NamedTuple

from kafka import TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.errors import (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    NotCoordinatorError,
)
from kafka.structs import OffsetAndMetadata

from metering.topics import EVENTS, LEDGER, SINK_GROUP, WORKER_GROUP
from sinks.lines import Position
from sinks.source import position_of

NO_COORDINATOR_YET: Final = (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    NotCoordinatorError,
)


class Reached(NamedTuple):
    """How far the worker and the sink say they have come.

    Attributes:
        metered: per partition, the offset of the next event to be metered; all before it are in the ledger.
        stored: per partition, the last line that ClickHouse has acknowledged.
    """

    metered: dict[int, int]
    stored: dict[int, Position]


def how_far(client: KafkaAdminClient) -> Reached:
    """What the worker and the sink have told Kafka.

    The worker tells how far its stored state is, as of some seconds ago. But what the sink has stored was
    metered before, so the worker has come as far as that.
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
    return Reached(
        {
            partition: max(metered.get(partition, 0), stored[partition].offset if partition in stored else 0)
            for partition in metered.keys() | stored.keys()
        },
        stored,
    )


def committed(client: KafkaAdminClient, group: str) -> dict[TopicPartition, OffsetAndMetadata]:
    """What a consumer group has committed; nothing before its first consumer."""
    try:
        offsets: dict[TopicPartition, OffsetAndMetadata] = client.list_group_offsets(group)[group]
    except NO_COORDINATOR_YET:
        # Kafka begins to coordinate when the first consumer asks.
        return {}
    return offsets
