"""The state rebuilt from the log, and on request the ledger with it.

The state of a partition is deleted in one step, without being read, because it may be damaged. The next
worker then meters the partition from its first record on. Partitions do not depend on each other's state.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final

from kafka import TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.errors import GroupIdNotFoundError, NonEmptyGroupError, PolicyViolationError
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from kafka_access.access import KafkaAccess
from metering.ledger import Entry, decode_rows
from metering.partition_state import WorkingState
from metering.placement import PartitionIndex
from metering.rules import Rules
from metering.topics import ALERTS, DEAD_LETTERS, EVENTS, LEDGER, SINK_GROUP, STATE, WORKER_GROUP
from phonemeter.clickhouse import NoLedgerError, ledger_client
from phonemeter.errors import OperationError, UserError
from phonemeter.event_log import meter_again
from phonemeter.kafka_admin import admin
from phonemeter.stack.kafka.progress import NO_COORDINATOR_YET
from phonemeter.stack.kafka.topics import alter, wait_until_seen
from phonemeter.topic_reader import OffsetSpan, TopicReader, open_reader

CONFIRM_TIMEOUT_S: Final = 15.0
UP_TO_THE_END: Final = -1
"""Kafka's offset for the end of a partition, open transactions included."""

_RUN_BY: Final = {WORKER_GROUP: "worker", SINK_GROUP: "sink"}


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
    lines = done = 0

    def count(records: int) -> None:
        nonlocal done
        done += records
        progress(done)

    with open_reader(kafka) as events, open_reader(kafka) as ledger:
        spans = ledger.spans(LEDGER)
        for partition, span in log.items():
            metered = _expected_entries(events, PartitionIndex(partition, len(log)), span.end, rules, count)
            for found in _published_entries(ledger, partition, spans.get(partition, OffsetSpan(0, 0))):
                expected = next(metered, None)
                if found != expected:
                    raise UserError(_difference(partition, found, expected))
                lines += 1
    return lines


def refuse_members(client: KafkaAdminClient, groups: Sequence[str]) -> None:
    """Check that no worker or sink runs while the state is replaced.

    Raises:
        UserError: a consumer group has members.
    """
    for group in groups:
        try:
            members = len(client.describe_groups([group])[group]["members"])
        except NO_COORDINATOR_YET:
            members = 0
        if members:
            raise UserError(_members_sentence(group, members))


def empty_state(kafka: KafkaAccess) -> None:
    """Empty the state, so that the next worker begins at the first record of the log.

    Raises:
        UserError: workers are running.
        OperationError: Kafka refuses it.
    """
    with admin(kafka) as client:
        _forget_groups(client, (WORKER_GROUP,))
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
        UserError: workers or sinks are running.
        OperationError: Kafka or ClickHouse refuses it.
    """
    with admin(kafka) as client:
        _forget_groups(client, (WORKER_GROUP, SINK_GROUP))
        aside = _replace_ledger_table(clickhouse)
        _delete_all(client, (LEDGER, ALERTS, DEAD_LETTERS))
    return aside


def _published_entries(reader: TopicReader, partition: int, span: OffsetSpan) -> Iterator[Entry]:
    """The entries of a partition, each once: a killed worker publishes some again, in order."""
    newest = (-1, -1)
    for batch in reader.batches(LEDGER, partition, span):
        for record in batch:
            try:
                rows = decode_rows(record.value or b"").rows
            except ValueError as error:
                raise OperationError(
                    f"{LEDGER} partition {partition} offset {record.offset} is {error}; phonemeter audit "
                    f"tells more."
                ) from None
            for row in rows:
                entry = Entry(*row)
                if (entry.offset, entry.line) > newest:
                    newest = (entry.offset, entry.line)
                    yield entry


def _expected_entries(
    reader: TopicReader, place: PartitionIndex, end: int, rules: Rules, progress: Callable[[int], None]
) -> Iterator[Entry]:
    for records, metered in meter_again(
        reader, WorkingState(place.partition, partitions=place.partitions), end, rules
    ):
        progress(len(records))
        yield from metered.entries


def _difference(partition: int, found: Entry, expected: Entry | None) -> str:
    place = f"{EVENTS}-{partition}-{found.offset}, line {found.line}"
    if expected is None:
        differs = "the log has no such record any more"
    elif (expected.offset, expected.line) != (found.offset, found.line):
        differs = f"by today's settings the next line would be that of offset {expected.offset}"
    else:
        names = [name for name in Entry.__struct_fields__ if getattr(found, name) != getattr(expected, name)]
        told = (
            f"{name} {getattr(found, name)!r} where today's settings give {getattr(expected, name)!r}"
            for name in names[:2]
        )
        differs = f"it has {', '.join(told)}"
    return (
        f"The ledger is not what today's settings say of the log (first at {place}: {differs}), so that a "
        f"new state would not fit it: restore the settings; or, also where an older version wrote the "
        f"ledger, rebuild it too with --new-ledger."
    )


def _members_sentence(group: str, members: int) -> str:
    service = _RUN_BY[group]
    many = f"{members} {service}s are" if members > 1 else f"A {service} is"
    return (
        f"{many} running (consumer group {group} has {members} member{'s' if members > 1 else ''}); stop "
        f"phonemeter up, or every phonemeter {service}, and try again 10 s later."
    )


def _forget_groups(client: KafkaAdminClient, groups: Sequence[str]) -> None:
    """Delete the groups' committed offsets; Kafka refuses it for a group with members."""
    refuse_members(client, groups)
    try:
        answers = client.delete_groups(list(groups))
    except NO_COORDINATOR_YET:
        return
    for group, answer in answers.items():
        if answer == NonEmptyGroupError.__name__:
            raise UserError(_members_sentence(group, 1))
        if answer not in {"OK", GroupIdNotFoundError.__name__}:
            raise OperationError(f"Kafka did not forget how far consumer group {group} has come: {answer}.")


def _delete_all(client: KafkaAdminClient, topics: Iterable[str]) -> None:
    """Delete every record of topics without reading them: some may be damaged."""
    described = client.describe_topics(list(topics))
    client.delete_records(
        {
            TopicPartition(topic["name"], one["partition_index"]): UP_TO_THE_END
            for topic in described
            for one in topic["partitions"]
        }
    )


@contextmanager
def _deletion_allowed(client: KafkaAdminClient, topic: str) -> Iterator[None]:
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


def _replace_ledger_table(clickhouse: str) -> str:
    """Replace ClickHouse's ledger by an empty one in one step, and keep the old one under another name."""
    aside = f"ledger_until_{datetime.now(UTC):%Y%m%dT%H%M%S}"
    try:
        with ledger_client(clickhouse) as client:
            client.execute(f"CREATE TABLE {aside} AS ledger")
            client.execute(f"EXCHANGE TABLES ledger AND {aside}")
    except NoLedgerError:
        return ""
    return aside
