from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.partition import meter
from metering.partition_state import PartitionState
from metering.rules import Rules, Terms
from metering.state_items import changed_items
from streams.batch_step import PartitionProgress
from streams.state_log import (
    CheckpointRecords,
    LogSummary,
    StateDamagedError,
    StateLayout,
    StateReader,
    StateRecord,
    log_summary,
)
from tests.streams.building import purchase, taps, tick

RULES = Rules(trial_calls=3)
LOG = [
    *taps(0, 30),
    purchase(30),
    *taps(31, 60),
    tick(60, 1_790_000_000_000 + 200 * 86_400_000),
    *taps(61, 80),
]


def step(progress: PartitionProgress, last: int) -> tuple[PartitionProgress, CheckpointRecords]:
    metered = meter(progress.state, LOG[:last], RULES)
    checkpoint = progress.layout.checkpoint(
        metered.state, changed_items(progress.state, metered.state, metered.changes)
    )
    return PartitionProgress.at_checkpoint(metered.state, checkpoint.after), checkpoint


def no_progress() -> PartitionProgress:
    return PartitionProgress.at_checkpoint(PartitionState(0), StateLayout())


def take_over(progress: PartitionProgress) -> PartitionProgress:
    return PartitionProgress.at_checkpoint(progress.state, progress.layout.begin_epoch(1))


def read(topic: list[StateRecord]) -> PartitionProgress:
    reader = StateReader(0)
    reader.add(topic)
    return PartitionProgress.at_checkpoint(*reader.newest())


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
    progress, topic = no_progress(), list[StateRecord]()
    for cut in cuts:
        progress, checkpoint = step(progress, cut)
        topic += [*checkpoint.items, checkpoint.header]
    assert comparable(read(topic).state) == comparable(progress.state)
    assert comparable(read(compacted(topic)).state) == comparable(progress.state)
    assert read(topic).layout.versions == progress.layout.versions


@given(
    cuts=st.lists(st.integers(1, len(LOG)), min_size=2, max_size=6, unique=True).map(sorted),
    data=st.data(),
)
def test_a_crash_at_any_record_leaves_the_newest_whole_checkpoint(
    cuts: list[int], data: st.DataObject
) -> None:
    progress, topic = no_progress(), list[StateRecord]()
    for cut in cuts:
        before = progress
        progress, checkpoint = step(progress, cut)
        written = [*checkpoint.items, checkpoint.header]
        kept = data.draw(st.integers(0, len(written)), label="records that reached the broker")
        topic += written[:kept]
        if kept < len(written):
            compact = data.draw(st.booleans(), label="compacted")
            progress = take_over(read(compacted(topic) if compact else topic))
            topic.append(progress.layout.header(progress.state))
            assert comparable(progress.state) == comparable(before.state)
    assert comparable(read(compacted(topic)).state) == comparable(progress.state)


def test_items_without_their_header_are_as_if_never_written() -> None:
    progress, first = step(no_progress(), 10)
    _, second = step(progress, 20)
    assert comparable(read([*first.items, first.header, *second.items]).state) == comparable(progress.state)


def test_a_late_checkpoint_of_a_zombie_is_ignored() -> None:
    start, first = step(no_progress(), 10)
    _, zombie = step(start, 25)
    progress, second = step(take_over(start), 20)
    progress, third = step(progress, 30)
    topic = [*first.items, first.header, *second.items, second.header, *third.items, third.header]
    topic += [*zombie.items, zombie.header]
    assert comparable(read(topic).state) == comparable(progress.state)
    assert comparable(read(compacted(topic)).state) == comparable(progress.state)


def test_a_late_fence_of_a_zombie_leaves_its_successors_checkpoint_valid() -> None:
    start, first = step(take_over(no_progress()), 10)
    frozen, successor = (
        PartitionProgress.at_checkpoint(start.state, start.layout.begin_epoch(generation))
        for generation in (2, 3)
    )
    progress, second = step(successor, 20)
    topic = [
        *first.items,
        first.header,
        successor.layout.header(start.state),
        *second.items,
        second.header,
    ]
    topic.append(frozen.layout.header(start.state))
    assert comparable(read(topic).state) == comparable(progress.state)
    assert comparable(read(compacted(topic)).state) == comparable(progress.state)


def test_a_late_fence_for_what_its_successor_has_deleted_is_passed_over() -> None:
    """A zombie takes its partition over again and finds a late checkpoint of its own."""
    first = take_over(no_progress())
    topic = [first.layout.header(first.state)]
    _, late = step(first, 31)
    topic += late.items
    successor = take_over(read(topic))
    topic += [successor.layout.header(successor.state), late.header]
    zombie = take_over(read(topic))
    assert zombie.state.next_offset == 31
    successor, checkpoint = step(successor, 11)
    topic += [*checkpoint.items, checkpoint.header]
    _, lost = step(successor, 55)
    assert late.header.key in {record.key for record in lost.items if record.value is None}
    topic += [*lost.items, zombie.layout.header(zombie.state)]
    found = read(topic)
    assert comparable(found.state) == comparable(successor.state)
    owner = take_over(found)
    topic.append(owner.layout.header(owner.state))
    owner, checkpoint = step(owner, 60)
    topic += [*checkpoint.items, checkpoint.header]
    assert comparable(read(compacted(topic)).state) == comparable(owner.state)


def test_items_of_a_takeover_that_nothing_was_built_on_are_ignored() -> None:
    start, first = step(take_over(no_progress()), 10)
    late, second = step(start, 20)
    topic = [*first.items, first.header, *second.items]
    in_vain = PartitionProgress.at_checkpoint(start.state, start.layout.begin_epoch(2))
    _, third = step(in_vain, 20)
    topic += [in_vain.layout.header(start.state), *third.items, second.header]
    assert comparable(read(topic).state) == comparable(late.state)
    layout = read(topic).layout.begin_epoch(3)
    topic.append(layout.header(late.state))
    assert comparable(read(topic).state) == comparable(late.state)
    assert comparable(read(compacted(topic)).state) == comparable(late.state)


@given(
    generations=st.lists(st.integers(1, 2**31 - 1), min_size=1, max_size=9),
    began_at=st.integers(0, 2**41),
)
def test_an_epoch_is_larger_than_all_stored_ones_although_kafka_restarts_its_generations(
    generations: list[int], began_at: int
) -> None:
    layout = StateLayout(began_at)
    for generation in generations:
        after = layout.begin_epoch(generation)
        assert after.epoch > layout.epoch
        layout = after


@given(
    written=st.integers(1, 100).map(lambda generation: StateLayout().begin_epoch(generation)),
    generations=st.lists(st.integers(1, 2**31 - 1), unique=True).map(sorted),
)
def test_concurrent_takeovers_have_epochs_in_the_order_of_their_generations(
    written: StateLayout, generations: list[int]
) -> None:
    epochs = [written.begin_epoch(generation).epoch for generation in generations]
    assert epochs == sorted(set(epochs))


def test_a_missing_item_is_noticed() -> None:
    progress, topic = no_progress(), list[StateRecord]()
    for cut in (10, 20, 40):
        progress, checkpoint = step(progress, cut)
        topic += [*checkpoint.items, checkpoint.header]
    items = [record for record in topic if not record.key.startswith(b"header")]
    lost = items[-1]
    with pytest.raises(StateDamagedError, match="partition 0 is damaged"):
        read([record for record in topic if record.key != lost.key])


def test_a_state_of_another_format_is_refused_with_the_way_out() -> None:
    _, checkpoint = step(no_progress(), 10)
    header = msgspec.msgpack.decode(checkpoint.header.value or b"")
    header[5] = 5
    older = StateRecord(checkpoint.header.key, msgspec.msgpack.encode(header))
    with pytest.raises(StateDamagedError, match=r"has format 5, .* reads format 8; `phonemeter replay"):
        read([*checkpoint.items, older])


def test_the_terms_of_metering_are_carried_from_checkpoint_to_checkpoint() -> None:
    terms = Terms(rules=Rules(trial_calls=7), clock="events")
    progress = PartitionProgress.at_checkpoint(
        PartitionState(0), replace(StateLayout().begin_epoch(1), terms=terms)
    )
    claimed = progress.layout.header(progress.state)
    assert log_summary(claimed) == LogSummary(terms, 0, 0)
    _, checkpoint = step(progress, 10)
    assert log_summary(checkpoint.header) == LogSummary(terms, 10, 0)
    ids = msgspec.structs.replace(progress.state.ids, horizon_ms=7)
    after = replace(progress.state, ids=ids)
    summary = log_summary(progress.layout.header(after))
    assert summary is not None
    assert summary.horizon_ms == 7
    found = read([claimed, *checkpoint.items, checkpoint.header]).layout
    assert found.terms == terms


def test_keys_of_removed_items_are_deleted_in_an_order_that_never_makes_old_versions_valid() -> None:
    state = PartitionState(0, next_offset=1)
    one = StateLayout().checkpoint(state, {"ids/0": b"a"})
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
        assert reader.newest()[0].ids.tail == b""
    assert [record.key for record in compacted(topic)] == [b"header#0"]


def test_an_item_that_comes_back_right_after_it_was_removed_is_kept() -> None:
    layout = StateLayout()
    topic: list[StateRecord] = []
    for next_offset, value in enumerate((b"a" * 16, None, b"b" * 16, None, b"c" * 16), 1):
        checkpoint = layout.checkpoint(PartitionState(0, next_offset), {"ids/0": value})
        for length in range(len(checkpoint.items) + 1):
            read(topic + list(checkpoint.items[:length]))
        topic += [*checkpoint.items, checkpoint.header]
        layout = checkpoint.after
        assert bool(read(topic).state.ids.tail) == (value is not None)
        assert bool(read(compacted(topic)).state.ids.tail) == (value is not None)


def test_a_zombies_item_is_ignored_after_its_successor_removed_it() -> None:
    lost = StateLayout().begin_epoch(1)
    one = lost.checkpoint(PartitionState(0, 1), {"ids/0": b"a" * 16})
    late = one.after.checkpoint(PartitionState(0, 2), {"ids/0": b"b" * 16})
    topic = [*one.items, one.header]
    successor = read(topic).layout.begin_epoch(2)
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
    third = read([*topic, *late.items]).layout.begin_epoch(3)
    later = third.checkpoint(PartitionState(0, 9), {})
    topic += [third.header(PartitionState(0, 4)), *later.items, later.header]
    assert read([*topic, *late.items]).state.ids.tail == b""


@pytest.mark.parametrize("through", ["as it was written", "compacted"])
def test_nothing_of_an_older_epoch_is_deleted_before_a_newer_one_has_a_checkpoint(through: str) -> None:
    """The header of a zombie may come late; then its items are the valid ones."""
    start, first = step(take_over(no_progress()), 10)
    late, second = step(start, 20)
    found = [*first.items, first.header, *second.items]
    successor = read(found)
    successor = PartitionProgress.at_checkpoint(successor.state, successor.layout.begin_epoch(2))
    claimed = [*found, successor.layout.header(successor.state)]
    progress, third = step(successor, 30)
    for written in range(len(third.items) + 1):
        topic = [*claimed, *third.items[:written], second.header]
        if through == "compacted":
            topic = compacted(topic)
        assert comparable(read(topic).state) == comparable(late.state)
    topic = [*claimed, *third.items, third.header, second.header]
    assert comparable(read(topic).state) == comparable(progress.state)


def test_obsolete_keys_of_a_zombie_are_deleted_once_its_successor_has_a_checkpoint() -> None:
    start, first = step(take_over(no_progress()), 10)
    _, second = step(start, 20)
    topic = [*first.items, first.header, *second.items]
    successor = read(topic)
    progress = PartitionProgress.at_checkpoint(successor.state, successor.layout.begin_epoch(2))
    topic.append(progress.layout.header(progress.state))
    for last in (30, 40, 50):
        progress, checkpoint = step(progress, last)
        topic += [*checkpoint.items, checkpoint.header]
    epoch = progress.layout.epoch
    valid = {f"{key}#{version.epoch}.{version.slot}" for key, version in progress.layout.versions.items()}
    left = {record.key.decode() for record in compacted(topic)} - valid
    # Of each item of its own epoch there may be the version before as well, in the other slot.
    assert {key for key in left if not key.partition("#")[2].startswith(f"{epoch}")} == set()
