"""The wait until ClickHouse has the outcome of all events: before that, it cannot tell what was counted."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from metering.events import CLOCK_KEY
from metering.health_checks import ConsumerPosition
from metering.topics import EVENTS, LEDGER, SINK_GROUP, WORKER_GROUP
from phonemeter.errors import OperationError
from phonemeter.kafka_admin import admin
from phonemeter.settings import Settings
from phonemeter.stack.kafka.consumer_positions import group_positions
from phonemeter.stack.kafka.progress import service_progress
from phonemeter.topic_reader import OffsetSpan, TopicReader, open_reader
from sinks.admin_client import KafkaAdmin

CAUGHT_UP_S_MAX: Final = 60.0
LOOK_S: Final = 0.2
IMPORT_AGAIN: Final = "import again; or import without looking (--without-ledger)"
TICKS_MAX: Final = 2_000
"""Records at the end of a partition that are looked at: the worker commits clock ticks some seconds late, and
they have no outcome."""


def wait_for_ledger(settings: Settings, then: str = IMPORT_AGAIN) -> Iterator[int]:
    """Wait until ClickHouse has the outcome of every event that is in Kafka now; yield what it waits for.

    `then` says what to do if it does not get there, when what is down was started.

    Raises:
        OperationError: Kafka does not answer, or the worker or the sink does not get there.
    """
    until_s = time.monotonic() + CAUGHT_UP_S_MAX
    with admin(settings.kafka_access) as client, open_reader(settings.kafka_access) as reader:
        wanted = {at.partition: _end_of_events(reader, at) for at in _metered(client)}
        yield from _wait("worker", EVENTS, lambda: _metered(client), wanted, until_s, then)
        stored = {at.partition: at.end for at in _stored(client)}
        yield from _wait("sink", LEDGER, lambda: _stored(client), stored, until_s, then)


def _wait(
    service: str,
    topic: str,
    look: Callable[[], Sequence[ConsumerPosition]],
    wanted: dict[int, int],
    until_s: float,
    then: str,
) -> Iterator[int]:
    while behind := sum(max(0, wanted.get(at.partition, 0) - at.next_offset) for at in look()):
        if time.monotonic() > until_s:
            raise OperationError(
                f"The {service} is {behind:,} records of {topic} behind, so ClickHouse cannot tell yet what "
                f"was counted: start what is down (phonemeter status says what), and {then}."
            )
        yield behind
        time.sleep(LOOK_S)


def _metered(client: KafkaAdmin) -> list[ConsumerPosition]:
    found = group_positions(client, WORKER_GROUP, EVENTS, service_progress(client).metered)
    return found.places if found is not None else []


def _stored(client: KafkaAdmin) -> list[ConsumerPosition]:
    found = group_positions(client, SINK_GROUP, LEDGER)
    return found.places if found is not None else []


def _end_of_events(reader: TopicReader, at: ConsumerPosition) -> int:
    """The offset after the last event of a partition that has an outcome."""
    if at.end - at.next_offset > TICKS_MAX:
        return at.end
    last = at.next_offset
    for batch in reader.batches(
        EVENTS, at.partition, OffsetSpan(at.next_offset, at.end), lambda _offset: None
    ):
        for record in batch:
            if record.key != CLOCK_KEY.encode():
                last = record.offset + 1
    return last
