"""The sink's loop on a log and a store in memory: what it does when either is not as it should be."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event
from typing import Any, cast

import pytest

from metering.ledger import COLUMNS, Entry, encode_records
from sinks.batches import Limits
from sinks.errors import SinkError, StoreError
from sinks.lines import BEFORE_ALL, Position
from sinks.metrics import Metrics
from sinks.sink import SEEKS_BACK_MAX, Sink
from sinks.source import Rebalance, Record, Source, Start
from sinks.store import Store
from tests.sinks.parts import lines

EVENT_ID = COLUMNS.index("event_id")
OFFSET = COLUMNS.index("offset")
LINE = COLUMNS.index("line")
AT_ONCE = Limits(rows=1, bytes=1_000_000, total_bytes=1_000_000, age_s=0.0)


@dataclass
class Log:
    """A partition of `phone-ledger` in memory, and what the group committed. Stands in for `Source`."""

    records: dict[int, bytes]
    beginning: int = 0
    committed: Start | None = None
    events: list[Rebalance] = field(default_factory=list)
    deliver: list[list[int]] = field(default_factory=list)
    stopped: bool = False
    at: int = 0
    idled: int = 0
    member: bool = True

    @property
    def rebalanced(self) -> bool:
        return bool(self.events)

    def rebalances(self) -> Iterator[Rebalance]:
        while self.events:
            yield self.events.pop(0)

    @contextmanager
    def owned(self) -> Iterator[bool]:
        yield not self.events

    def poll(self, _pause_s: float) -> list[Record]:
        offsets = [offset for offset in sorted(self.records) if offset >= max(self.at, self.beginning)]
        if self.deliver:
            offsets = self.deliver.pop(0)
        if self.stopped:
            return []
        self.at = offsets[-1] + 1 if offsets else self.at
        return [Record(0, offset, self.records[offset]) for offset in offsets]

    def idle(self, _pause_s: float) -> None:
        self.idled += 1

    def start_of(self, _partition: int) -> Start:
        return self.committed or Start(self.beginning, BEFORE_ALL)

    def beginning_of(self, _partition: int) -> int:
        return self.beginning

    def ends_of(self, partitions: Iterable[int]) -> dict[int, int]:
        return dict.fromkeys(partitions, max(self.records, default=-1) + 1)

    def seek(self, _partition: int, offset: int) -> None:
        self.at = offset

    def stop(self, _partition: int) -> None:
        self.stopped = True

    def lag(self, _partition: int, next_offset: int) -> int | None:
        return max(self.records, default=-1) + 1 - next_offset

    def commit(self, positions: dict[int, Start]) -> bool:
        if self.member:
            self.committed = positions[0]
        return self.member


@dataclass
class Shelf:
    """Stored lines in memory. Stands in for `Store`."""

    stored: list[str] = field(default_factory=list)
    at: Position = BEFORE_ALL
    failures: list[str] = field(default_factory=list)
    doubted: int = 0
    tokens_forgotten: int = 0

    def position(self, _partition: int) -> Position:
        if self.failures and self.failures[0] == "away":
            raise StoreError(self.failures.pop(0))
        return self.at

    def newest_recorded_at_ms(self) -> int | None:
        return None

    def insert(self, _partition: int, columns: Sequence[list[Any]], after: Position) -> None:
        if self.failures and self.failures[0] == "refused":
            raise StoreError(self.failures.pop(0))
        assert after == self.at
        self.stored += columns[EVENT_ID]
        self.at = Position(columns[OFFSET][-1], columns[LINE][-1])
        if self.failures and self.failures[0] == "reply lost":
            raise StoreError(self.failures.pop(0))

    def doubt(self, _partition: int) -> None:
        self.doubted += 1

    def forget_tokens(self) -> None:
        self.tokens_forgotten += 1

    def lose(self) -> None:
        """What a disk that is replaced does."""
        self.stored, self.at = [], BEFORE_ALL


class Clock:
    """Time that moves by itself, so that pauses pass."""

    def __init__(self) -> None:
        self.s = 0.0

    def __call__(self) -> float:
        self.s += 0.01
        return self.s


class World:
    """A sink between a log and a shelf, owning partition 0 unless it is told otherwise."""

    def __init__(self, records: dict[int, bytes], limits: Limits = AT_ONCE, **log: Any) -> None:  # noqa: ANN401 - fields of Log
        self.log = Log(records, events=[ASSIGNED], **log)
        self.shelf = Shelf()
        self.metrics = Metrics()
        self.stop = Event()
        self.sink = Sink(
            cast("Source", self.log), cast("Store", self.shelf), limits, self.metrics, self.stop, Clock()
        )

    def turns(self, count: int) -> None:
        """So many rounds, then the end."""
        poll = self.log.poll

        def polled(_pause_s: float) -> list[Record]:
            nonlocal count
            count -= 1
            if count <= 0:
                self.stop.set()
            return poll(_pause_s)

        self.stop.clear()
        self.log.poll = polled  # type: ignore[method-assign]  # the hook into each round
        self.sink.run()
        self.log.poll = poll  # type: ignore[method-assign]  # the hook is taken out again

    def metric(self, name: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"phonemeter_sink_{name}")

    def metric_of(self, name: str) -> float | None:
        """That of partition 0."""
        return self.metrics.registry.get_sample_value(f"phonemeter_sink_{name}", {"partition": "0"})


ASSIGNED = Rebalance("assigned", frozenset({0}))
REVOKED = Rebalance("revoked", frozenset({0}))
ENTRIES = lines(40, seed=1)
IDS = [entry.event_id for entry in ENTRIES]


def records(entries: Sequence[Entry] = ENTRIES, cut: int = 10, first: int = 0) -> dict[int, bytes]:
    values = [
        value
        for start in range(0, len(entries), cut)
        for value in encode_records(0, entries[start : start + cut])
    ]
    return dict(enumerate(values, start=first))


def test_what_is_stored_is_committed_with_its_position() -> None:
    world = World(records())
    world.turns(2)
    assert world.shelf.stored == IDS
    assert world.log.committed == Start(4, Position(ENTRIES[-1].offset, ENTRIES[-1].line))
    assert world.metric("rows_inserted_total") == 40


def test_what_is_held_is_not_committed_before_it_is_stored() -> None:
    patient = Limits(rows=1_000, bytes=10**9, total_bytes=10**9, age_s=3_600.0)
    world = World(records(), patient)
    world.log.events = [ASSIGNED]
    world.sink.turn()
    assert (world.shelf.stored, world.log.committed) == ([], None)
    world.turns(1)
    assert world.shelf.stored == IDS
    assert world.log.committed is not None


@pytest.mark.parametrize("failure", ["away", "refused", "reply lost"])
def test_a_failure_is_tried_again_and_nothing_is_stored_twice(failure: str) -> None:
    world = World(records())
    world.sink.turn()
    world.log.records |= records(lines(5, seed=2, first=1_000), first=4)
    world.shelf.failures = [failure, failure]
    world.turns(2)
    assert world.shelf.stored == IDS + [entry.event_id for entry in lines(5, seed=2, first=1_000)]
    assert (world.metric("insert_errors_total") or 0) >= 1
    assert world.metric("clickhouse_up") == 1
    assert world.log.idled > 0


def test_a_partition_that_is_revoked_is_dropped_and_left_to_its_next_owner() -> None:
    patient = Limits(rows=1_000, bytes=10**9, total_bytes=10**9, age_s=3_600.0)
    world = World(records(), patient)
    world.sink.turn()
    world.log.events = [REVOKED]
    world.log.deliver = [[]]
    world.turns(1)
    assert (world.shelf.stored, world.log.committed) == ([], None)


def test_records_that_the_consumer_skipped_are_read_again() -> None:
    world = World(records(), deliver=[[0], [2, 3]])
    world.turns(4)
    assert world.shelf.stored == IDS
    assert world.metric("stopped") is None


def test_a_gap_is_never_taken_for_the_log_itself_and_ends_the_sink_in_the_end() -> None:
    log = records()
    log[5] = log.pop(3)
    world = World(log)
    with pytest.raises(SinkError, match="jumped from record 3 to 5, 11 times in a row"):
        world.turns(100)
    assert world.shelf.stored == IDS[:30]
    assert world.log.committed is not None
    assert world.log.committed.offset <= 3
    assert world.metric("seeks_back_total") == SEEKS_BACK_MAX + 1


def test_records_that_are_skipped_at_the_end_of_the_log_are_noticed_without_a_later_one() -> None:
    world = World(records())
    world.turns(2)
    world.log.records |= records(lines(5, seed=2, first=1_000), first=4)
    world.log.at = 5
    world.turns(1_200)
    assert len(world.shelf.stored) == 45
    assert world.metric("seeks_back_total") == 1


def test_records_deleted_before_they_were_stored_stop_the_partition_and_it_says_what_to_do(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World(records())
    world.log.committed = Start(1, BEFORE_ALL)
    world.shelf.at = Position(ENTRIES[9].offset, ENTRIES[9].line)
    world.log.beginning = 3
    world.turns(4)
    assert world.shelf.stored == []
    assert world.log.stopped
    assert "records 1 to 2 were deleted before they were stored; stop worker and sink, and" in caplog.text
    assert world.metric_of("stopped") == 1


def test_a_log_made_anew_is_refused_when_it_is_delivered() -> None:
    world = World(records())
    world.turns(2)
    world.log.records = records(lines(40, seed=2, first=1_000), cut=5)
    world.log.at = 0
    world.turns(2)
    assert world.shelf.stored == IDS
    assert world.log.stopped


def test_a_log_made_anew_is_refused_when_it_is_shorter_than_what_was_read() -> None:
    world = World(records())
    world.turns(2)
    world.log.records = {}
    with pytest.raises(SinkError, match="read up to record 4 and now ends at 0: the topic was made anew"):
        world.turns(1_200)


def test_a_log_whose_beginning_does_not_join_what_is_stored_is_refused() -> None:
    world = World(records(lines(40, seed=2, first=1_000)))
    world.shelf.at = Position(ENTRIES[-1].offset, ENTRIES[-1].line)
    world.turns(2)
    assert world.shelf.stored == []
    assert world.log.stopped


def test_a_database_that_lost_lines_is_filled_from_the_beginning() -> None:
    world = World(records())
    world.turns(2)
    world.shelf.lose()
    world.log.records |= records(lines(5, seed=2, first=1_000), first=4)
    world.turns(4)
    assert world.shelf.stored == IDS + [entry.event_id for entry in lines(5, seed=2, first=1_000)]
    assert world.metric("rewinds_total") == 1
    assert world.shelf.tokens_forgotten == 1


def test_an_empty_database_is_filled_whatever_was_committed() -> None:
    world = World(records())
    world.log.committed = Start(3, BEFORE_ALL)
    world.turns(2)
    assert world.shelf.stored == IDS


def test_a_sink_that_the_group_has_forgotten_stores_nothing() -> None:
    world = World(records())
    world.log.member = False
    world.turns(3)
    assert (world.shelf.stored, world.log.committed) == ([], None)
    world.log.member = True
    world.turns(2)
    assert world.shelf.stored == IDS


def test_lines_that_another_sink_stored_meanwhile_are_dropped() -> None:
    patient = Limits(rows=1_000, bytes=10**9, total_bytes=10**9, age_s=3_600.0)
    world = World(records(), patient)
    world.sink.turn()
    world.shelf.at = Position(ENTRIES[24].offset, ENTRIES[24].line)
    world.turns(1)
    assert world.shelf.stored == IDS[25:]
    assert world.metric("duplicate_rows_total") == 25


def test_stopping_does_not_wait_for_an_engine_that_is_away() -> None:
    world = World(records())
    world.sink.turn()
    world.log.records |= records(lines(5, seed=2, first=1_000), first=4)
    world.shelf.failures = ["away"] * 1_000
    world.turns(1)
    assert world.shelf.stored == IDS
