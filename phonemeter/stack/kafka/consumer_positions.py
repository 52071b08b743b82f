"""The positions of consumer groups in the topics that they read, as Kafka has them."""

import time
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import replace
from typing import Any, Final, NamedTuple

from kafka import KafkaConsumer, TopicPartition
from kafka.admin import OffsetSpec
from kafka.errors import CorruptRecordError

from kafka_access.access import KafkaAccess
from kafka_access.kafka_python import kafka_python_options
from metering.health_checks import ConsumerPosition
from phonemeter.stack.kafka.progress import NO_COORDINATOR_YET, committed
from sinks.admin_client import KafkaAdmin

ARRIVALS_S_MAX: Final = 5.0
"""Time limit for reading waiting records; those not read by then are not counted as waiting."""

FETCH_BYTES: Final = 65_536


class GroupPositions(NamedTuple):
    """The members and the positions of a consumer group in its topic."""

    members: int
    places: list[ConsumerPosition]


def group_positions(
    client: KafkaAdmin, group: str, topic: str, known: Mapping[int, int] | None = None
) -> GroupPositions | None:
    """The positions of a group in its topic, without times; None if there is no such topic.

    Records before the `known` offset of a partition are done, whatever the group committed.
    """
    described = client.describe_topics([topic])[0]
    if described["error_code"] != 0:
        return None
    partitions = [TopicPartition(topic, one["partition_index"]) for one in described["partitions"]]
    try:
        members = len(client.describe_group(group)["members"])
    except NO_COORDINATOR_YET:
        members = 0
    # In this order, so that the committed offset is before the end, unless the log was replaced.
    told = committed(client, group)
    latest = dict.fromkeys(partitions, OffsetSpec.LATEST)
    readable = client.list_partition_offsets(latest, isolation_level="read_committed")
    ends = client.list_partition_offsets(latest)
    places = []
    for at in partitions:
        done = max((known or {}).get(at.partition, 0), told[at].offset if at in told else 0)
        end = min(readable[at].offset, ends[at].offset)
        places.append(ConsumerPosition(topic, at.partition, done, end, held_up=ends[at].offset - end))
    return GroupPositions(members, places)


def with_waiting_times(kafka: KafkaAccess, places: Iterable[ConsumerPosition]) -> list[ConsumerPosition]:
    """The positions with the age of the oldest record that waits at each.

    Raises:
        KafkaError: the brokers do not answer.
    """
    found = list(places)

    def at(place: ConsumerPosition) -> TopicPartition:
        return TopicPartition(kafka.topic(place.topic), place.partition)

    waits = {at(place): place.next_offset for place in found if place.waiting}
    held_up = {at(place): place.end for place in found if place.held_up}
    if not waits and not held_up:
        return found
    reading = closing(
        KafkaConsumer(
            **kafka_python_options(kafka),
            client_id="phonemeter-status",
            enable_auto_commit=False,
            allow_auto_create_topics=False,
            max_partition_fetch_bytes=FETCH_BYTES,
        )
    )
    with reading as consumer:
        oldest, holding = _arrivals(consumer, waits), _arrivals(consumer, held_up)
    now = time.time()

    def since(arrived_ms: int | None) -> float:
        return 0.0 if arrived_ms is None else max(0.0, now - arrived_ms / 1_000)

    return [
        replace(
            place,
            waited_s=since(oldest.get(at(place))),
            held_up_s=since(holding.get(at(place))),
        )
        for place in found
    ]


def _arrivals(consumer: KafkaConsumer, asked: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
    """The arrival time of the first record at or after each offset, where one is delivered."""
    found: dict[TopicPartition, int] = {}
    if not asked:
        return found
    consumer.assign(list(asked))
    for at, offset in asked.items():
        consumer.seek(at, offset)
    ends = consumer.end_offsets(list(asked))
    until_s = time.monotonic() + ARRIVALS_S_MAX
    while time.monotonic() < until_s:
        try:
            polled: Mapping[TopicPartition, list[Any]] = consumer.poll(timeout_ms=200, max_records=len(asked))
        except CorruptRecordError:
            # This client cannot read a header whose name is not UTF-8; the arrival time stays unknown.
            break
        for at, records in polled.items():
            found.setdefault(at, records[0].timestamp)
            consumer.pause(at)
        if all(at in found or consumer.position(at) >= ends[at] for at in asked):
            break
    return found
