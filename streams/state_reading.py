"""Reading a partition's state back when a worker takes it over."""

from asyncio import sleep, timeout, to_thread
from collections.abc import Collection, Mapping
from dataclasses import replace

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import RequestTimedOutError

from metering import topics
from metering.partition import PartitionState, WorkingState
from streams.batch_step import Held
from streams.state_log import Placement, StateReader, StateRecord

FETCH_WAIT_MS = 50
FETCH_BYTES = 8 * 1024 * 1024
POLL_RECORDS = 20_000
METADATA_LOOK_S = 0.02
METADATA_S_MAX = 10.0


class LogTruncatedError(Exception):
    """The log of events does not hold what the state says has been metered, or what comes next."""


class PartitionsChangedError(LogTruncatedError):
    """The log has another number of partitions than the state: its apps are elsewhere than their states."""


async def read_held(
    bootstrap_servers: str, partitions: Collection[int], reached: Mapping[int, int], generation: int
) -> dict[int, Held]:
    """Read the newest checkpoint of each partition from the state topic, from its beginning to its end.

    Args:
        bootstrap_servers: of Kafka.
        partitions: to read.
        reached: how far the log of a partition is known to have gone, where it is known.
        generation: of the consumer group, that gives the partitions to the one who asks.

    Raises:
        StateDamagedError: a checkpoint is not whole.
        LogTruncatedError: the events topic was deleted, emptied or made anew since.
        PartitionsChangedError: it has another number of partitions than when the state was written.
        aiokafka.errors.KafkaError: the broker can't be read now.
    """
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap_servers,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=FETCH_WAIT_MS,
        max_partition_fetch_bytes=FETCH_BYTES,
    )
    await consumer.start()
    try:
        return await _read(consumer, partitions, reached, generation)
    finally:
        await consumer.stop()


async def _read(
    consumer: AIOKafkaConsumer, partitions: Collection[int], reached: Mapping[int, int], generation: int
) -> dict[int, Held]:
    state_tps = [TopicPartition(topics.STATE, partition) for partition in partitions]
    events_tps = [TopicPartition(topics.EVENTS, partition) for partition in partitions]
    # Only assigned partitions are asked for their offsets without a wait for metadata.
    consumer.assign([*state_tps, *events_tps])
    consumer.pause(*state_tps, *events_tps)
    ends = await consumer.end_offsets(events_tps)
    # The end of a partition that is not there would be waited for without end.
    count = await _count(consumer, topics.EVENTS)
    _check_partitions(count, await _count(consumer, topics.STATE))
    ends |= await consumer.end_offsets(state_tps)
    # One after the other: what was read of one need not lie in memory beside what was read of the next.
    held: dict[int, Held] = {}
    for tp in state_tps:
        state, placement = await _newest(consumer, tp, ends[tp])
        if placement.partitions not in {0, count}:
            raise _partitions_changed(count, f"the state was written when it had {placement.partitions}")
        taken_over = replace(placement.taken_over(generation), partitions=count)
        held[tp.partition] = Held.stored(WorkingState.of(state), taken_over)
    begins = await consumer.beginning_offsets(events_tps)
    for tp in events_tps:
        next_offset = held[tp.partition].state.next_offset
        _check_log(
            tp.partition, begins[tp], next_offset, max(next_offset, reached.get(tp.partition, 0)), ends[tp]
        )
    return held


async def _count(consumer: AIOKafkaConsumer, topic: str) -> int:
    """How many partitions an assigned topic has, as soon as the broker has told of it."""
    try:
        async with timeout(METADATA_S_MAX):
            while not (partitions := consumer.partitions_for_topic(topic)):  # noqa: ASYNC110 - no event says so
                await sleep(METADATA_LOOK_S)
    except TimeoutError:
        raise RequestTimedOutError(f"the broker does not tell of {topic}") from None
    return len(partitions)


async def _newest(
    consumer: AIOKafkaConsumer, tp: TopicPartition, end: int
) -> tuple[PartitionState, Placement]:
    reader = StateReader(tp.partition)
    consumer.resume(tp)
    while await consumer.position(tp) < end:
        fetched = await consumer.getmany(tp, timeout_ms=FETCH_WAIT_MS, max_records=POLL_RECORDS)
        reader.add(StateRecord(record.key, record.value) for record in fetched.get(tp, ()))
    consumer.pause(tp)
    return await to_thread(reader.finished)


def _check_log(partition: int, begin: int, next_offset: int, reached: int, end: int) -> None:
    """What is not metered yet must not be gone, and what was there is there."""
    if not begin <= next_offset <= reached <= end:
        raise LogTruncatedError(
            f"{topics.EVENTS} partition {partition} holds offsets {begin} to {end}, but {next_offset} is "
            f"metered next and {reached} was reached: the topic was deleted or cut; restore it, or start "
            "over with empty topics"
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
