"""The waits of a worker while brokers are down, and the errors that end it."""

from typing import cast

import pytest
from aiokafka.errors import (
    KafkaError,
    KafkaTimeoutError,
    NotLeaderForPartitionError,
    TopicAuthorizationFailedError,
)

from kafka_access.access import KafkaAccess
from metering.partition_state import PartitionState
from metering.rules import Rules, Terms
from streams.batch_step import PartitionProgress
from streams.log_watch import LogWatch
from streams.membership import Membership
from streams.ownership import OwnedPartition, Ownership
from streams.record_batches import RecordBatchApp
from streams.state_log import StateLayout


class Member:
    """A membership that lasts."""

    def check(self, _generation: int) -> None:
        pass


class Log:
    """A log that cannot be compared until it has failed with each of some errors."""

    def __init__(self, *errors: KafkaError) -> None:
        self.errors = list(errors)

    async def verify(self, _partitions: set[int]) -> None:
        if self.errors:
            raise self.errors.pop(0)


def ownership(log: Log) -> Ownership:
    app, member, watch = cast("RecordBatchApp", None), cast("Membership", Member()), cast("LogWatch", log)
    return Ownership(app, KafkaAccess("127.0.0.1:1"), Terms(rules=Rules()), member, watch)


def owned() -> OwnedPartition:
    return OwnedPartition(1, PartitionProgress.at_checkpoint(PartitionState(0), StateLayout()), 0.0)


async def test_a_partition_without_leader_is_waited_for_also_where_the_client_gives_up() -> None:
    # aiokafka says so after 40 s in which brokers were down, and does not count it among what passes.
    log = Log(NotLeaderForPartitionError(), KafkaTimeoutError("Failed to get offsets by times in 40000 ms"))
    await ownership(log).verify(owned())
    assert log.errors == []


async def test_a_right_that_is_missing_is_not_waited_for() -> None:
    with pytest.raises(TopicAuthorizationFailedError):
        await ownership(Log(TopicAuthorizationFailedError("phone-events"))).verify(owned())
