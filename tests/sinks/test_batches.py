"""Batches: their limits, and that entries are stored exactly once wherever the sink is killed."""

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.ledger import Entry, encode_records
from sinks.batches import FEW_ROWS, MANY_ROWS, InsertBatch, Limits, due, pause_s
from sinks.entry_columns import EntryColumns, decode
from sinks.errors import PoisonError
from sinks.position import BEFORE_ALL, Position
from tests.sinks.parts import lines

LIMITS = Limits(rows=100, bytes=10_000, total_bytes=15_000, age_s=1.0)


def taken(count: int, *, partition: int = 0, size_bytes: int = 10, now_s: float = 0.0) -> InsertBatch:
    batch = InsertBatch(partition, BEFORE_ALL, 0)
    batch.add(read(lines(count, seed=1)), size_bytes, now_s)
    return batch


def read(entries: list[Entry]) -> EntryColumns:
    (value,) = encode_records(0, entries)
    return decode(value, 0)


def test_nothing_is_due_before_a_limit_is_reached() -> None:
    assert due([taken(99, size_bytes=9_999)], LIMITS, now_s=0.9) == []


def test_rows_bytes_and_age_each_make_a_batch_due() -> None:
    for batch, now_s in ((taken(100), 0.0), (taken(1, size_bytes=10_000), 0.0), (taken(1), 1.0)):
        assert due([batch], LIMITS, now_s) == [batch]


@pytest.mark.parametrize(
    ("rows", "wait_s"), [(1, 1.0), (FEW_ROWS, 1.0), (5_500, 4.5), (MANY_ROWS, 8.0), (2 * MANY_ROWS, 8.0)]
)
def test_a_batch_that_fills_quickly_may_wait_longer(rows: int, wait_s: float) -> None:
    large = Limits(rows=1_000_000, bytes=10**9, total_bytes=10**9, age_s=1.0)
    batch = InsertBatch(0, BEFORE_ALL, 0)
    for value in encode_records(0, [Entry(offset, 0, "charge", 0, 0, "wx1") for offset in range(rows)]):
        batch.add(decode(value, 0), 1, 0.0)
    assert due([batch], large, wait_s - 0.001) == []
    assert due([batch], large, wait_s) == [batch]
    assert pause_s([batch], large, 0.5) == pytest.approx(wait_s - 0.5)


def test_an_empty_batch_is_never_due() -> None:
    assert due([InsertBatch(0, BEFORE_ALL, 0)], LIMITS, now_s=1e9) == []


def test_the_largest_batch_goes_first_when_all_together_are_too_much() -> None:
    small, large = taken(5, size_bytes=6_000), taken(5, partition=1, size_bytes=9_500)
    assert due([small, large], LIMITS, now_s=0.1) == [large]


def test_the_oldest_batch_is_written_first() -> None:
    young, old = taken(100, now_s=0.5), taken(100, partition=1, now_s=0.2)
    assert due([young, old], LIMITS, now_s=0.6) == [old, young]


def test_the_pause_ends_when_the_oldest_line_is_due() -> None:
    batches = [taken(1, now_s=0.3), taken(1, partition=1, now_s=0.1), InsertBatch(2, BEFORE_ALL, 0)]
    assert pause_s(batches, LIMITS, now_s=0.6) == pytest.approx(0.5)
    assert pause_s(batches, LIMITS, now_s=7.0) == 0.0
    assert pause_s([], LIMITS, now_s=7.0) == 1.0


def test_lines_held_already_are_left_out() -> None:
    entries = lines(10, seed=1)
    batch = InsertBatch(0, BEFORE_ALL, 7)
    assert batch.add(read(entries[:6]), 1, 0.0) == 0
    assert batch.add(read(entries[2:]), 1, 0.0) == 4
    assert (len(batch), batch.next_offset) == (10, 9)


def test_lines_that_arrived_meanwhile_are_dropped_from_the_front() -> None:
    entries = lines(10, seed=1)
    batch = InsertBatch(0, BEFORE_ALL, 0)
    batch.add(read(entries), 1, 0.0)
    assert batch.drop_stored(Position(entries[3].offset, entries[3].line)) == 4
    assert batch.first == (entries[4].offset, entries[4].line)
    assert batch.drop_stored(Position(entries[9].offset, entries[9].line)) == 6
    assert (len(batch), batch.bytes, batch.last) == (0, 0, batch.stored)


def test_a_missing_line_within_a_record_of_the_source_is_refused() -> None:
    first, second, third = (Entry(5, line, "charge", 0, 0, "wx1", calls=1) for line in range(3))
    batch = InsertBatch(0, BEFORE_ALL, 0)
    batch.add(read([first]), 1, 0.0)
    with pytest.raises(
        PoisonError, match="first new entry is offset 5 line 2, but the last one known is offset 5 line 0"
    ):
        batch.add(read([third]), 1, 0.0)
    assert batch.add(read([second, third]), 1, 0.0) == 0


@dataclass
class World:
    """A log of ledger records, and a table that stores an INSERT whole or not at all."""

    log: list[bytes]
    stored: list[str] = field(default_factory=list)
    position: Position = BEFORE_ALL
    committed: int = 0

    def insert(self, batch: InsertBatch) -> None:
        self.stored += [str(event_id) for piece in batch.pieces for event_id in piece.columns[7]]
        self.position = batch.last


@given(st.integers(0, 2**32), st.integers(1, 60))
def test_each_line_is_stored_once_wherever_the_sink_is_killed(seed: int, count: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - no secret
    entries = lines(count, seed)
    world = World(published_with_repeats(entries, chance))
    while world.committed < len(world.log):
        live_and_die(world, chance)
    assert world.stored == [entry.event_id for entry in entries]


def published_with_repeats(entries: list[Entry], chance: random.Random) -> list[bytes]:
    """Records of a worker that crashes now and then: published again from some point, cut differently."""
    log: list[bytes] = []
    at = 0
    while at < len(entries):
        cut = chance.randint(1, 9)
        log += encode_records(0, entries[at : at + cut])
        at += cut
        if chance.random() < 0.3:
            at = chance.randint(0, at)
    return log


def live_and_die(world: World, chance: random.Random) -> None:
    """One life of a sink; it may be killed between any two steps."""
    batch = InsertBatch(0, world.position, world.committed)
    while batch.next_offset < len(world.log):
        value = world.log[batch.next_offset]
        batch.add(decode(value, 0), len(value), 0.0)
        if chance.random() < 0.2:
            return
        if chance.random() < 0.5:
            batch.drop_stored(world.position)
            if len(batch):
                world.insert(batch)
            if chance.random() < 0.2:
                return
            batch.drop_stored(world.position)
            world.committed = batch.next_offset
    if len(batch):
        world.insert(batch)
    world.committed = batch.next_offset
