from collections import deque
from types import SimpleNamespace
from typing import Any, cast

import pytest
from faust.types import EventT

from metering.partition import Record
from streams import deliveries
from streams.deliveries import take
from streams.record_batches import RecordBatch


def delivery(first: int, last: int, generation: int = 1) -> EventT[Any]:
    """The records from offset `first` to before `last`, as Faust brings them."""
    batch = RecordBatch(Record(offset, 0, None, None) for offset in range(first, last))
    message = SimpleNamespace(value=batch, generation_id=generation)
    return cast("EventT[Any]", SimpleNamespace(message=message, value=batch))


def offsets_taken(waiting: deque[EventT[Any]]) -> list[int]:
    return [record.offset for record in take(waiting).records]


def test_deliveries_that_follow_each_other_are_taken_together() -> None:
    waiting = deque([delivery(0, 3), delivery(3, 4), delivery(4, 6)])
    first = waiting[0]
    taken = take(waiting)
    assert [record.offset for record in taken.records] == [0, 1, 2, 3, 4, 5]
    assert (taken.events[0], len(taken.events), taken.generation) == (first, 3, 1)
    assert not waiting


@pytest.mark.parametrize("second", [delivery(4, 6), delivery(2, 6), delivery(3, 6, generation=2)])
def test_what_left_out_or_came_again_or_is_of_another_division_comes_alone(second: EventT[Any]) -> None:
    waiting = deque([delivery(0, 3), second])
    assert offsets_taken(waiting) == [0, 1, 2]
    assert list(waiting) == [second]


def test_no_more_are_taken_together_than_are_metered_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliveries, "RECORDS_MAX", 4)
    waiting = deque([delivery(0, 3), delivery(3, 5), delivery(5, 10), delivery(10, 11)])
    assert [offsets_taken(waiting) for _ in range(4)] == [[0, 1, 2], [3, 4], [5, 6, 7, 8, 9], [10]]


def test_an_event_that_waits_to_be_acked_does_not_keep_its_records() -> None:
    (event,) = take(deque([delivery(0, 3)])).events
    assert (event.message.value, event.value) == (None, None)
