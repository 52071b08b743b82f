import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.partition import PartitionState, meter
from metering.rules import Rules
from metering.state_items import changed_items
from streams.batch_step import Held
from streams.state_log import Checkpoint, Placement, StateDamagedError, StateReader, StateRecord
from tests.streams.building import purchase, taps, tick

RULES = Rules(trial_calls=3)
LOG = [
    *taps(0, 30),
    purchase(30),
    *taps(31, 60),
    tick(60, 1_790_000_000_000 + 200 * 86_400_000),
    *taps(61, 80),
]


def step(held: Held, last: int) -> tuple[Held, Checkpoint]:
    metered = meter(held.state, LOG[:last], RULES)
    checkpoint = held.placement.checkpoint(
        metered.state, changed_items(held.state, metered.state, metered.changes)
    )
    return Held.stored(metered.state, checkpoint.after), checkpoint


def fresh() -> Held:
    return Held.stored(PartitionState(0), Placement())


def taken_over(held: Held) -> Held:
    return Held.stored(held.state, held.placement.taken_over(1))


def read(topic: list[StateRecord]) -> Held:
    reader = StateReader(0)
    reader.add(topic)
    return Held.stored(*reader.finished())


def compacted(topic: list[StateRecord]) -> list[StateRecord]:
    newest = {record.key: at for at, record in enumerate(topic)}
    return [
        record for at, record in enumerate(topic) if newest[record.key] == at and record.value is not None
    ]


def comparable(state: PartitionState) -> tuple[object, ...]:
    return (
        state.next_offset,
        state.tick_ms,
        dict(state.accounts),
        dict(state.uncovered),
        state.ids.first_chunk,
        state.ids.tail,
    )


def test_nothing_stored_is_an_empty_state() -> None:
    assert read([]).state == PartitionState(0)


@given(cuts=st.lists(st.integers(1, len(LOG)), min_size=1, max_size=8, unique=True).map(sorted))
def test_what_was_stored_is_read_back(cuts: list[int]) -> None:
    held, topic = fresh(), list[StateRecord]()
    for cut in cuts:
        held, checkpoint = step(held, cut)
        topic += [*checkpoint.items, checkpoint.header]
    assert comparable(read(topic).state) == comparable(held.state)
    assert comparable(read(compacted(topic)).state) == comparable(held.state)
    assert read(topic).placement.placed == held.placement.placed


@given(
    cuts=st.lists(st.integers(1, len(LOG)), min_size=2, max_size=6, unique=True).map(sorted),
    data=st.data(),
)
def test_a_crash_at_any_record_leaves_the_newest_whole_checkpoint(
    cuts: list[int], data: st.DataObject
) -> None:
    held, topic = fresh(), list[StateRecord]()
    for cut in cuts:
        before = held
        held, checkpoint = step(held, cut)
        written = [*checkpoint.items, checkpoint.header]
        kept = data.draw(st.integers(0, len(written)), label="records that reached the broker")
        topic += written[:kept]
        if kept < len(written):
            compact = data.draw(st.booleans(), label="compacted")
            held = taken_over(read(compacted(topic) if compact else topic))
            topic.append(held.placement.header(held.state))
            assert comparable(held.state) == comparable(before.state)
    assert comparable(read(compacted(topic)).state) == comparable(held.state)


def test_items_without_their_header_are_as_if_never_written() -> None:
    held, first = step(fresh(), 10)
    _, second = step(held, 20)
    assert comparable(read([*first.items, first.header, *second.items]).state) == comparable(held.state)


def test_a_late_write_of_a_worker_that_lost_the_partition_is_passed_over() -> None:
    start, first = step(fresh(), 10)
    _, zombie = step(start, 25)
    held, second = step(taken_over(start), 20)
    held, third = step(held, 30)
    topic = [*first.items, first.header, *second.items, second.header, *third.items, third.header]
    topic += [*zombie.items, zombie.header]
    assert comparable(read(topic).state) == comparable(held.state)
    assert comparable(read(compacted(topic)).state) == comparable(held.state)


def test_a_claim_that_comes_late_leaves_its_successors_checkpoint_in_force() -> None:
    start, first = step(taken_over(fresh()), 10)
    frozen, successor = (
        Held.stored(start.state, start.placement.taken_over(generation)) for generation in (2, 3)
    )
    held, second = step(successor, 20)
    topic = [
        *first.items,
        first.header,
        successor.placement.header(start.state),
        *second.items,
        second.header,
    ]
    topic.append(frozen.placement.header(start.state))
    assert comparable(read(topic).state) == comparable(held.state)
    assert comparable(read(compacted(topic)).state) == comparable(held.state)


def test_items_of_a_takeover_that_nothing_was_built_on_are_passed_over() -> None:
    start, first = step(taken_over(fresh()), 10)
    late, second = step(start, 20)
    topic = [*first.items, first.header, *second.items]
    in_vain = Held.stored(start.state, start.placement.taken_over(2))
    _, third = step(in_vain, 20)
    topic += [in_vain.placement.header(start.state), *third.items, second.header]
    assert comparable(read(topic).state) == comparable(late.state)
    placement = read(topic).placement.taken_over(3)
    topic.append(placement.header(late.state))
    assert comparable(read(topic).state) == comparable(late.state)
    assert comparable(read(compacted(topic)).state) == comparable(late.state)


@given(
    generations=st.lists(st.integers(1, 2**31 - 1), min_size=1, max_size=9),
    began_at=st.integers(0, 2**41),
)
def test_an_epoch_is_behind_all_that_were_written_though_kafka_counts_anew(
    generations: list[int], began_at: int
) -> None:
    placement = Placement(began_at)
    for generation in generations:
        after = placement.taken_over(generation)
        assert after.epoch > placement.epoch
        placement = after


@given(
    written=st.integers(1, 100).map(lambda generation: Placement().taken_over(generation)),
    generations=st.lists(st.integers(1, 2**31 - 1), unique=True).map(sorted),
)
def test_takeovers_that_know_nothing_of_each_other_are_in_the_order_of_their_generations(
    written: Placement, generations: list[int]
) -> None:
    epochs = [written.taken_over(generation).epoch for generation in generations]
    assert epochs == sorted(set(epochs))


def test_a_missing_item_is_noticed() -> None:
    held, topic = fresh(), list[StateRecord]()
    for cut in (10, 20, 40):
        held, checkpoint = step(held, cut)
        topic += [*checkpoint.items, checkpoint.header]
    items = [record for record in topic if not record.key.startswith(b"header")]
    lost = items[-1]
    with pytest.raises(StateDamagedError, match="partition 0 is damaged"):
        read([record for record in topic if record.key != lost.key])


def test_a_state_of_another_format_is_refused_and_the_way_out_told() -> None:
    _, checkpoint = step(fresh(), 10)
    header = msgspec.msgpack.decode(checkpoint.header.value or b"")
    older = StateRecord(checkpoint.header.key, msgspec.msgpack.encode(header[:-1]))
    with pytest.raises(StateDamagedError, match=r"has format 0, .* reads format 3; `phonemeter replay"):
        read([*checkpoint.items, older])


def test_slots_of_removed_items_are_cleared_in_an_order_that_never_brings_them_back() -> None:
    state = PartitionState(0, next_offset=1)
    one = Placement().checkpoint(state, {"ids/0": b"a"})
    two = one.after.checkpoint(PartitionState(0, next_offset=2), {"ids/0": b"b"})
    gone = two.after.checkpoint(PartitionState(0, next_offset=3), {"ids/0": None})
    cleared = gone.after.checkpoint(PartitionState(0, next_offset=4), {})
    topic = [
        record
        for checkpoint in (one, two, gone, cleared)
        for record in (*checkpoint.items, checkpoint.header)
    ]
    for length in range(len(topic) - 2, len(topic) + 1):
        reader = StateReader(0)
        reader.add(topic[:length])
        assert reader.finished()[0].ids.tail == b""
    assert [record.key for record in compacted(topic)] == [b"header#0"]


def test_an_item_that_comes_back_right_after_it_was_removed_is_kept() -> None:
    placement = Placement()
    topic: list[StateRecord] = []
    for next_offset, value in enumerate((b"a" * 16, None, b"b" * 16, None, b"c" * 16), 1):
        checkpoint = placement.checkpoint(PartitionState(0, next_offset), {"ids/0": value})
        for length in range(len(checkpoint.items) + 1):
            read(topic + list(checkpoint.items[:length]))
        topic += [*checkpoint.items, checkpoint.header]
        placement = checkpoint.after
        assert bool(read(topic).state.ids.tail) == (value is not None)
        assert bool(read(compacted(topic)).state.ids.tail) == (value is not None)


def test_what_a_lost_worker_sends_after_its_successor_forgot_the_item_is_passed_over() -> None:
    lost = Placement().taken_over(1)
    one = lost.checkpoint(PartitionState(0, 1), {"ids/0": b"a" * 16})
    late = one.after.checkpoint(PartitionState(0, 2), {"ids/0": b"b" * 16})
    topic = [*one.items, one.header]
    successor = read(topic).placement.taken_over(2)
    gone = successor.checkpoint(PartitionState(0, 3), {"ids/0": None})
    cleared = gone.after.checkpoint(PartitionState(0, 4), {})
    topic += [
        successor.header(PartitionState(0, 1)),
        *gone.items,
        gone.header,
        *cleared.items,
        cleared.header,
    ]
    assert read([*topic, *late.items]).state.ids.tail == b""
    third = read([*topic, *late.items]).placement.taken_over(3)
    later = third.checkpoint(PartitionState(0, 9), {})
    topic += [third.header(PartitionState(0, 4)), *later.items, later.header]
    assert read([*topic, *late.items]).state.ids.tail == b""
