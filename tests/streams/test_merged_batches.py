from collections import deque
from types import SimpleNamespace
from typing import Any, cast

import pytest
from faust.types import EventT

from metering.records import Record
from streams.fetch_buffer import RecordBatch
from streams.merged_batches import take_batch


def event(first: int, last: int, generation: int = 1, *, end: int | None = None) -> EventT[Any]:
    """A delivered batch of the records from offset `first` to before `last`, of ten bytes each."""
    records = [Record(offset, 0, None, bytes(10)) for offset in range(first, last)]
    batch = RecordBatch(records, first, last if end is None else end, 10 * len(records))
    message = SimpleNamespace(value=batch, generation_id=generation)
    return cast("EventT[Any]", SimpleNamespace(message=message, value=batch))


def offsets_taken(waiting: deque[EventT[Any]]) -> list[int]:
    return [record.offset for record in take_batch(waiting).records]


def test_consecutive_batches_are_merged() -> None:
    waiting = deque([event(0, 3), event(3, 4), event(4, 6)])
    first = waiting[0]
    taken = take_batch(waiting)
    assert [record.offset for record in taken.records] == [0, 1, 2, 3, 4, 5]
    assert (taken.events[0], len(taken.events), taken.generation) == (first, 3, 1)
    assert not waiting


@pytest.mark.parametrize("second", [event(4, 6), event(2, 6), event(3, 6, generation=2)])
def test_batches_with_a_gap_or_an_overlap_or_of_another_generation_are_not_merged(
    second: EventT[Any],
) -> None:
    waiting = deque([event(0, 3), second])
    assert offsets_taken(waiting) == [0, 1, 2]
    assert list(waiting) == [second]


@pytest.mark.parametrize(("limit", "most"), [("RECORDS_MAX", 4), ("BYTES_MAX", 40)])
def test_merged_batches_stay_within_the_limits(
    limit: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"streams.merged_batches.{limit}", most)
    waiting = deque([event(0, 3), event(3, 5), event(5, 10), event(10, 11)])
    assert [offsets_taken(waiting) for _ in range(4)] == [[0, 1, 2], [3, 4], [5, 6, 7, 8, 9], [10]]


def test_batches_are_consecutive_by_their_begin_and_end_whatever_offsets_have_records() -> None:
    waiting = deque([event(0, 3, end=5), event(5, 5, end=8), event(8, 9), event(10, 11)])
    taken = take_batch(waiting).records
    assert (taken.begin, taken.end, [record.offset for record in taken]) == (0, 9, [0, 1, 2, 8])
    assert offsets_taken(waiting) == [10]


def test_an_event_that_waits_to_be_acked_does_not_keep_its_records() -> None:
    (delivered,) = take_batch(deque([event(0, 3)])).events
    assert (delivered.message.value, delivered.value) == (None, None)
