"""Batches that were delivered one after the other and are metered together.

While the worker keeps up, the next batch is delivered before the output of the last one is stored. Each batch
waits for the broker, however small it is, so merging what has arrived in the meantime keeps latency low.
"""

from collections import deque
from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple, cast

from faust.types import EventT

from metering.records import RecordRange
from streams.fetch_buffer import RecordBatch

RECORDS_MAX = 40_000
BYTES_MAX = 16 * 1024 * 1024
"""The limits of merged batches, in records and bytes. A larger batch is metered alone."""


class MergedBatch(NamedTuple):
    """Batches that are metered together, in the generation of the group in which they were delivered.

    The events that delivered them do not hold their records any more.
    """

    events: Sequence[EventT[Any]]
    generation: int
    records: RecordRange


def take_batch(waiting: deque[EventT[Any]]) -> MergedBatch:
    """Take the first waiting batch, and those that continue it."""
    first = waiting.popleft()
    events, batches = [first], [_take_records(first)]
    records, size = len(batches[0]), batches[0].bytes
    while waiting and _continues(waiting[0], first, batches[-1].end):
        batch = cast("RecordBatch", waiting[0].message.value)
        records, size = records + len(batch), size + batch.bytes
        if records > RECORDS_MAX or size > BYTES_MAX:
            break
        events.append(waiting.popleft())
        batches.append(_take_records(events[-1]))
    merged: RecordRange = batches[0]
    if len(batches) > 1:
        merged = RecordRange(chain.from_iterable(batches), batches[0].begin, batches[-1].end)
    return MergedBatch(events, first.message.generation_id or 0, merged)


def _continues(event: EventT[Any], first: EventT[Any], end: int) -> bool:
    batch = cast("RecordBatch", event.message.value)
    return event.message.generation_id == first.message.generation_id and batch.begin == end


def _take_records(event: EventT[Any]) -> RecordBatch:
    """Take the records out of an event, which stays in memory until it is acked."""
    batch = cast("RecordBatch", event.message.value)
    event.message.value = event.value = None
    return batch
