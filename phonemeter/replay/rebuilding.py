"""The state built anew from the log, and the ledger with it where that is asked for.

The state on the state topic is valid through its header alone (`streams/state_log.py`): without one it is as
if nothing had ever been stored, and the next worker clears what is left and meters from the first record on.
So emptying the state is one tombstone per header, the newest last: until then the old state is whole.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from clickhouse_driver.errors import Error, ErrorCodes
from kafka import KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.errors import GroupIdNotFoundError, KafkaError, NonEmptyGroupError

from metering.ledger import Entry, decode_rows
from metering.partition import PartitionState, Record, WorkingState, meter
from metering.rules import Rules
from metering.topics import ALERTS, DEAD_LETTERS, EVENTS, LEDGER, SINK_GROUP, STATE, WORKER_GROUP
from phonemeter.errors import OperationError, UserError
from phonemeter.replay.reading import Span, TopicReader, reading
from phonemeter.stack.health import without_password
from phonemeter.stack.kafka.progress import NO_COORDINATOR_YET
from phonemeter.stack.kafka.topics import admin
from sinks.connection import FAILURES, connect, sentence

HEADER_KEYS: Final = b"header#"
CONFIRM_TIMEOUT_S: Final = 15.0
_RUN_BY: Final = {WORKER_GROUP: "worker", SINK_GROUP: "sink"}
_NO_LEDGER: Final = frozenset({ErrorCodes.UNKNOWN_TABLE, ErrorCodes.UNKNOWN_DATABASE})


def check_ledger(
    kafka: str,
    rules: Rules,
    log: dict[int, Span],
    progress: Callable[[int], None] = lambda _records: None,
) -> int:
    """Hold the ledger on Kafka against what these rules say of the log; it may be shorter, if it lags.

    Returns:
        How many lines the ledger has.

    Raises:
        UserError: they differ: a state by these rules would not fit this ledger.
        OperationError: Kafka does not deliver them.
    """
    lines = done = 0

    def count(records: int) -> None:
        nonlocal done
        done += records
        progress(done)

    with reading(kafka) as events, reading(kafka) as ledger:
        spans = ledger.spans(LEDGER)
        for partition, span in log.items():
            metered = _metered(events, partition, span, rules, count)
            for found in _published(ledger, partition, spans.get(partition, Span(0, 0))):
                expected = next(metered, None)
                if found != expected:
                    raise UserError(_difference(partition, found, expected))
                lines += 1
    return lines


def refuse_members(client: KafkaAdminClient, groups: Sequence[str]) -> None:
    """Make sure that nobody meters, or stores, while the state is replaced.

    Raises:
        UserError: a consumer group has members.
    """
    for group in groups:
        try:
            members = len(client.describe_groups([group])[group]["members"])
        except NO_COORDINATOR_YET:
            members = 0
        if members:
            raise UserError(_still_running(group, members))


def empty_state(kafka: str) -> int:
    """Have the next worker begin at the first record of the log, with nothing; how many headers were voided.

    Raises:
        UserError: workers are running.
        OperationError: Kafka does not do what is asked.
    """
    with admin(kafka) as client:
        _forget_groups(client, (WORKER_GROUP,))
    return _void_headers(kafka)


def empty_ledger(kafka: str, clickhouse: str) -> str:
    """Empty the ledger, the alerts and the dead letters on Kafka, and set ClickHouse's ledger aside.

    Returns:
        The name under which ClickHouse keeps the old ledger; empty where it had none.

    Raises:
        UserError: workers or sinks are running.
        OperationError: Kafka or ClickHouse does not do what is asked.
    """
    with admin(kafka) as client:
        _forget_groups(client, (WORKER_GROUP, SINK_GROUP))
        aside = _set_aside(clickhouse)
        with reading(kafka) as reader:
            ends = {
                TopicPartition(topic, partition): span.end
                for topic in (LEDGER, ALERTS, DEAD_LETTERS)
                for partition, span in reader.spans(topic).items()
            }
        client.delete_records(ends)
    return aside


def _published(reader: TopicReader, partition: int, span: Span) -> Iterator[Entry]:
    """The lines of a partition, each once: a worker that was killed publishes some again, in order."""
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


def _metered(
    reader: TopicReader, partition: int, span: Span, rules: Rules, progress: Callable[[int], None]
) -> Iterator[Entry]:
    state: PartitionState = WorkingState(partition)
    for batch in reader.batches(EVENTS, partition, span):
        records = [Record(record.offset, record.timestamp, record.key, record.value) for record in batch]
        metered = meter(state, records, rules)
        state = metered.state
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
        f"new state would not fit it: restore the settings, or rebuild the ledger too with --new-ledger."
    )


def _still_running(group: str, members: int) -> str:
    service = _RUN_BY[group]
    many = f"{members} {service}s are" if members > 1 else f"A {service} is"
    return (
        f"{many} running (consumer group {group} has {members} member{'s' if members > 1 else ''}); stop "
        f"phonemeter up, or every phonemeter {service}, and try again 10 s later."
    )


def _forget_groups(client: KafkaAdminClient, groups: Sequence[str]) -> None:
    """Forget how far the groups have come; Kafka itself refuses it for a group that has members."""
    refuse_members(client, groups)
    try:
        answers = client.delete_groups(list(groups))
    except NO_COORDINATOR_YET:
        return
    for group, answer in answers.items():
        if answer == NonEmptyGroupError.__name__:
            raise UserError(_still_running(group, 1))
        if answer not in {"OK", GroupIdNotFoundError.__name__}:
            raise OperationError(f"Kafka did not forget how far consumer group {group} has come: {answer}.")


def _void_headers(kafka: str) -> int:
    """One tombstone per header, the oldest epoch of a partition first: the newest is the valid one."""
    with reading(kafka) as reader:
        headers = {
            partition: sorted(_headers(reader, partition, span), key=_epoch)
            for partition, span in reader.spans(STATE).items()
        }
    producer = KafkaProducer(bootstrap_servers=kafka.split(","), acks="all", enable_idempotence=True)
    try:
        for partition, keys in headers.items():
            for key in keys:
                producer.send(STATE, key=key, value=None, partition=partition).get(CONFIRM_TIMEOUT_S)
    except KafkaError as error:
        raise OperationError(
            f"Kafka at {kafka} did not confirm that the state is emptied ({error}); run it again."
        ) from error
    finally:
        producer.close()
    return sum(map(len, headers.values()))


def _headers(reader: TopicReader, partition: int, span: Span) -> set[bytes]:
    """The keys of the headers that a partition of the state topic has now."""
    found: set[bytes] = set()
    for batch in reader.batches(STATE, partition, span):
        for record in batch:
            if record.key is not None and record.key.startswith(HEADER_KEYS):
                (found.discard if record.value is None else found.add)(record.key)
    return found


def _epoch(key: bytes) -> int:
    return int(key.removeprefix(HEADER_KEYS))


def _set_aside(clickhouse: str) -> str:
    """Put an empty ledger in the place of ClickHouse's, in one step, and keep the old one by another name."""
    aside = f"ledger_until_{datetime.now(UTC):%Y%m%dT%H%M%S}"
    try:
        with connect(clickhouse) as client:
            client.execute(f"CREATE TABLE {aside} AS ledger")
            client.execute(f"EXCHANGE TABLES ledger AND {aside}")
    except FAILURES as error:
        if isinstance(error, Error) and error.code in _NO_LEDGER:
            return ""
        raise OperationError(
            f"ClickHouse at {without_password(clickhouse)} did not set its ledger aside: {sentence(error)}"
        ) from error
    return aside
