"""The state rebuilt from the log, and on request the ledger with it.

The state of a partition is deleted in one step, without being read, because it may be damaged. The next
worker then meters the partition from its first record on. Partitions do not depend on each other's state.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final

from kafka import TopicPartition
from kafka.errors import PolicyViolationError
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from kafka_access.access import KafkaAccess
from metering.rules import Rules
from metering.topics import ALERTS, DEAD_LETTERS, LEDGER, SINK_GROUP, STATE, WORKER_GROUP
from phonemeter.clickhouse import NoLedgerError, ledger_client, refuse_cluster
from phonemeter.errors import OperationError, UserError
from phonemeter.kafka_admin import admin
from phonemeter.replay.ledger_check import compare_ledger
from phonemeter.replay.service_groups import forget_groups
from phonemeter.stack.kafka.topics import alter, wait_until_seen
from phonemeter.topic_reader import OffsetSpan, open_reader
from sinks.admin_client import KafkaAdmin

CONFIRM_TIMEOUT_S: Final = 15.0
UP_TO_THE_END: Final = -1
"""Kafka's offset for the end of a partition, open transactions included."""


def check_ledger(
    kafka: KafkaAccess,
    rules: Rules,
    log: dict[int, OffsetSpan],
    progress: Callable[[int], None] = lambda _records: None,
) -> int:
    """Compare the ledger on Kafka with what these rules make of the log; it may be shorter if it lags.

    Returns:
        Number of entries in the ledger.

    Raises:
        UserError: they differ: a state by these rules would not fit this ledger.
        OperationError: Kafka does not deliver them.
    """
    with open_reader(kafka) as reader:
        checked = compare_ledger(reader, lambda _partition: rules, log, progress=progress)
    if checked.difference:
        raise UserError(
            f"The ledger is not what today's settings say of the log (first at {checked.difference}), so "
            f"that a new state would not fit it: restore the settings; or, also where an older version wrote "
            f"the ledger, rebuild it too with --new-ledger."
        )
    return checked.lines


def empty_state(kafka: KafkaAccess) -> None:
    """Empty the state, so that the next worker begins at the first record of the log.

    Raises:
        UserError: workers are running.
        OperationError: Kafka refuses it.
    """
    with admin(kafka) as client:
        forget_groups(client, (WORKER_GROUP,))
        with _deletion_allowed(client, STATE):
            # The leader of a partition may receive the new policy later than the broker that was asked.
            Retrying(
                retry=retry_if_exception_type(PolicyViolationError),
                stop=stop_after_delay(CONFIRM_TIMEOUT_S),
                wait=wait_fixed(0.2),
                reraise=True,
            )(_delete_all, client, (STATE,))


def empty_ledger(kafka: KafkaAccess, clickhouse: str) -> str:
    """Empty the ledger, the alerts and the dead letters on Kafka, and rename ClickHouse's ledger.

    Returns:
        The name under which ClickHouse keeps the old ledger; empty if it had none.

    Raises:
        UserError: workers or sinks are running, or the ledger is on a cluster.
        OperationError: Kafka or ClickHouse refuses it.
    """
    refuse_cluster(clickhouse, "replay --new-ledger")
    with admin(kafka) as client:
        forget_groups(client, (WORKER_GROUP, SINK_GROUP))
        aside = put_ledger_aside(clickhouse)
        _delete_all(client, (LEDGER, ALERTS, DEAD_LETTERS))
    return aside


def _delete_all(client: KafkaAdmin, topics: Iterable[str]) -> None:
    """Delete every record of topics without reading them: some may be damaged."""
    described = client.describe_topics(topics)
    client.delete_records(
        {
            TopicPartition(topic["name"], one["partition_index"]): UP_TO_THE_END
            for topic in described
            for one in topic["partitions"]
        }
    )


@contextmanager
def _deletion_allowed(client: KafkaAdmin, topic: str) -> Iterator[None]:
    """Allow records of a compacted topic to be deleted in the block; Kafka refuses it otherwise."""
    policy = {"cleanup.policy": "compact,delete"}
    refusal = alter(client, topic, policy)
    if refusal:
        raise OperationError(f"Kafka does not let {topic} be emptied: {refusal}")
    try:
        wait_until_seen(client, {(topic, key): value for key, value in policy.items()})
        yield
    finally:
        alter(client, topic, {"cleanup.policy": "compact"})


def put_ledger_aside(clickhouse: str) -> str:
    """Replace ClickHouse's ledger by an empty one in one step, and keep the old one under another name."""
    aside = f"ledger_until_{datetime.now(UTC):%Y%m%dT%H%M%S}"
    try:
        with ledger_client(clickhouse) as client:
            client.execute(f"CREATE TABLE {aside} AS ledger")
            client.execute(f"EXCHANGE TABLES ledger AND {aside}")
    except NoLedgerError:
        return ""
    return aside
