"""Deliveries that wait for their partition's turn, and which of them are metered together.

While the worker keeps up, the next delivery comes before what the last one did is stored. Metering what has
come meanwhile as one batch keeps the wait short: every batch waits for the broker, however small it is.
"""

from collections import deque
from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple, cast

from faust.types import EventT

from metering.partition import Record
from streams.record_batches import RecordBatch

RECORDS_MAX = 40_000
"""Records of several deliveries that are metered together. A delivery of more comes alone."""


class Taken(NamedTuple):
    """Deliveries that are metered together.

    Attributes:
        events: as Faust delivered them; they do not hold their records any more.
        generation: of the group, in which they were delivered.
        records: of all of them, in their order.
    """

    events: Sequence[EventT[Any]]
    generation: int
    records: Sequence[Record]


def take(waiting: deque[EventT[Any]]) -> Taken:
    """Take the first delivery that waits, and those behind it that go on where it ends."""
    first = waiting.popleft()
    events, batches = [first], [_unloaded(first)]
    records = len(batches[0])
    while waiting and _goes_on(waiting[0], first, batches[-1], RECORDS_MAX - records):
        events.append(waiting.popleft())
        batches.append(_unloaded(events[-1]))
        records += len(batches[-1])
    together = batches[0] if len(batches) == 1 else list(chain.from_iterable(batches))
    return Taken(events, first.message.generation_id or 0, together)


def _goes_on(event: EventT[Any], first: EventT[Any], last: RecordBatch, records_max: int) -> bool:
    batch = cast("RecordBatch", event.message.value)
    return (
        event.message.generation_id == first.message.generation_id
        and batch[0].offset == last[-1].offset + 1
        and len(batch) <= records_max
    )


def _unloaded(event: EventT[Any]) -> RecordBatch:
    """What an event brought; it may be long until the event is acked, so it does not keep that."""
    batch = cast("RecordBatch", event.message.value)
    event.message.value = event.value = None
    return batch
