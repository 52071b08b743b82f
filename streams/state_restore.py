"""The restore of partitions from the state topic when a worker takes them over."""

from asyncio import sleep, timeout, to_thread
from collections.abc import Collection, Mapping
from dataclasses import replace
from time import monotonic

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import CorruptRecordException, RequestTimedOutError

from kafka_access.access import KafkaAccess
from kafka_access.aiokafka import aiokafka_options
from metering import topics
from metering.damage import damage
from metering.partition_state import PartitionState, WorkingState
from metering.rules import Terms, different_settings
from streams.batch_step import PartitionProgress
from streams.log_view import ends_of
from streams.state_log import StateDamagedError, StateLayout, StateReader, StateRecord

FETCH_WAIT_MS = 50
FETCH_BYTES = 8 * 1024 * 1024
POLL_RECORDS = 20_000
METADATA_LOOK_S = 0.02
METADATA_S_MAX = 10.0
STANDS_S_MAX = 10.0
"""The time without a further record after which the read of a state is tried again."""


class PartitionsChangedError(Exception):
    """The log has another number of partitions than the state, so apps and their states are apart."""


class RulesChangedError(Exception):
    """The log was metered by other rules, so further ledger entries would contradict the existing ones."""


async def restore_partitions(
    kafka: KafkaAccess, partitions: Collection[int], generation: int, terms: Terms
) -> dict[int, PartitionProgress]:
    """Read the newest checkpoint of each partition from the state topic, in a new epoch of this worker.

    The partitions are those that the consumer group assigned to this worker in the generation.

    Raises:
        StateDamagedError: a checkpoint is not whole, or can't be read.
        PartitionsChangedError: the log has another number of partitions than when the state was written.
        RulesChangedError: the log was metered by other rules.
        aiokafka.errors.KafkaError: the brokers can't be read now.
    """
    consumer = AIOKafkaConsumer(
        **aiokafka_options(kafka),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=FETCH_WAIT_MS,
        max_partition_fetch_bytes=FETCH_BYTES,
        isolation_level="read_committed",
    )
    await consumer.start()
    try:
        count = await _partition_count(consumer, kafka, partitions)
        ends = await ends_of(kafka, kafka.topic(topics.STATE), partitions)
        return await _read(consumer, kafka.topic(topics.STATE), ends, count, generation, terms)
    finally:
        await consumer.stop()


async def _partition_count(
    consumer: AIOKafkaConsumer, kafka: KafkaAccess, partitions: Collection[int]
) -> int:
    """The number of partitions of the log; the state topic has to have as many."""
    state, events = kafka.topic(topics.STATE), kafka.topic(topics.EVENTS)
    state_tps = [TopicPartition(state, partition) for partition in partitions]
    events_tps = [TopicPartition(events, partition) for partition in partitions]
    # Only the offsets of assigned partitions are available without a wait for metadata.
    consumer.assign([*state_tps, *events_tps])
    consumer.pause(*state_tps, *events_tps)
    await consumer.end_offsets(events_tps)
    # The client would wait forever for the end of a partition that does not exist.
    count = await _count(consumer, events)
    _check_partitions(count, await _count(consumer, state))
    await consumer.end_offsets(state_tps)
    return count


async def _read(
    consumer: AIOKafkaConsumer, topic: str, ends: Mapping[int, int], count: int, generation: int, terms: Terms
) -> dict[int, PartitionProgress]:
    # One after the other, so that the records of one partition at a time are in memory.
    restored: dict[int, PartitionProgress] = {}
    for partition, end in ends.items():
        tp = TopicPartition(topic, partition)
        state, layout = await _newest(consumer, tp, end)
        if layout.partitions not in {0, count}:
            raise _partitions_changed(count, f"the state was written when it had {layout.partitions}")
        check_rules(partition, state, layout.terms, terms)
        layout = replace(layout.begin_epoch(generation), partitions=count, terms=terms)
        working_state = WorkingState.of(replace(state, partitions=count))
        restored[partition] = PartitionProgress.at_checkpoint(working_state, layout)
    return restored


async def _count(consumer: AIOKafkaConsumer, topic: str) -> int:
    """The number of partitions of an assigned topic, once the client has its metadata."""
    try:
        async with timeout(METADATA_S_MAX):
            while not (partitions := consumer.partitions_for_topic(topic)):  # noqa: ASYNC110 - no event says so
                await sleep(METADATA_LOOK_S)
    except TimeoutError:
        raise RequestTimedOutError(f"the broker does not describe {topic}") from None
    return len(partitions)


async def _newest(
    consumer: AIOKafkaConsumer, tp: TopicPartition, end: int
) -> tuple[PartitionState, StateLayout]:
    reader = StateReader(tp.partition)
    consumer.resume(tp)
    last_position, since_s = 0, monotonic()
    while (position := await consumer.position(tp)) < end:
        if position != last_position:
            last_position, since_s = position, monotonic()
        elif monotonic() - since_s > STANDS_S_MAX:
            # Without the records behind a transaction, an older checkpoint would be taken for the newest.
            raise RequestTimedOutError(
                f"{tp.topic} partition {tp.partition} can be read up to offset {position} of {end} only; "
                "a transaction may be open there, which no service of ours writes"
            )
        try:
            fetched = await consumer.getmany(tp, timeout_ms=FETCH_WAIT_MS, max_records=POLL_RECORDS)
        except CorruptRecordException:
            raise StateDamagedError(damage(topics.STATE, tp.partition, position)) from None
        reader.add(StateRecord(record.key, record.value) for record in fetched.get(tp, ()))
    consumer.pause(tp)
    return await to_thread(reader.newest)


def check_rules(partition: int, state: PartitionState, recorded: Terms | None, terms: Terms) -> None:
    """Compare the rules with those that a partition was metered by so far, if any of it was.

    Raises:
        RulesChangedError: they differ.
    """
    if recorded is None or not state.next_offset or recorded.rules == terms.rules:
        return
    raise RulesChangedError(
        f"{topics.EVENTS} partition {partition} was metered by other rules "
        f"({different_settings(recorded.rules, terms.rules)}), and its ledger would contradict itself: "
        "set them back, or see with `phonemeter replay --dry-run` what the new ones change and let "
        "`phonemeter replay --confirm --new-ledger` meter the whole log by them"
    )


def _check_partitions(events: int, state: int) -> None:
    if events != state:
        raise _partitions_changed(events, f"{topics.STATE} has {state}")


def _partitions_changed(count: int, but: str) -> PartitionsChangedError:
    return PartitionsChangedError(
        f"{topics.EVENTS} has {count} partitions, but {but}: the number is fixed once there are events, "
        "because an app's state does not move with its key; restore the topic with its old number, or start "
        "over with empty topics"
    )
