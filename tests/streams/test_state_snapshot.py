"""A checkpoint detached from its log: the same state, in an empty topic, for a log with another identity."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.log_identity import NO_EPOCH, Mark
from metering.rules import Terms
from streams.batch_step import PartitionProgress
from streams.state_log import StateDamagedError, StateRecord, log_summary
from streams.state_snapshot import detached_checkpoint
from tests.streams.test_state_log import LOG, RULES, comparable, no_progress, read, step, take_over

TERMS = Terms(rules=RULES)
MARK = Mark("id-of-the-old-topic", 79, 1234, leader_epoch=5)


def stored(cuts: list[int]) -> tuple[PartitionProgress, list[StateRecord]]:
    """A topic to which several workers wrote checkpoints, one after the other."""
    progress, topic = no_progress(), list[StateRecord]()
    for last in cuts:
        progress = take_over(progress)
        layout = replace(progress.layout, terms=TERMS, partitions=1, mark=MARK)
        progress, checkpoint = step(PartitionProgress.at_checkpoint(progress.state, layout), last)
        topic += [*checkpoint.items, checkpoint.header]
    return progress, topic


cuts = st.lists(st.integers(1, len(LOG)), min_size=1, max_size=6, unique=True).map(sorted)


@given(cuts)
def test_it_has_the_same_state_and_a_worker_goes_on_from_it(ends: list[int]) -> None:
    progress, topic = stored(ends)
    detached = detached_checkpoint(0, topic)
    assert (detached.next_offset, detached.terms) == (ends[-1], TERMS)
    restored = read(detached.records)
    assert comparable(restored.state) == comparable(progress.state)
    whole, checkpoint = step(take_over(restored), len(LOG))
    again = read([*detached.records, *checkpoint.items, checkpoint.header])
    assert comparable(again.state) == comparable(whole.state)


@given(cuts)
def test_it_has_nothing_but_what_is_valid(ends: list[int]) -> None:
    progress, topic = stored(ends)
    detached = detached_checkpoint(0, topic)
    assert len(detached.records) == len(progress.layout.versions) + 1
    assert detached_checkpoint(0, detached.records).records[:-1] == detached.records[:-1]


def test_its_mark_names_the_last_record_but_neither_topic_nor_leader_epoch() -> None:
    detached = detached_checkpoint(0, stored([len(LOG)])[1])
    summary = log_summary(detached.records[-1])
    assert summary is not None
    assert summary.mark == Mark("", MARK.offset, MARK.fingerprint, NO_EPOCH)


def test_a_partition_without_a_checkpoint_has_no_records() -> None:
    assert detached_checkpoint(0, []).records == []


def test_a_checkpoint_that_is_not_whole_is_refused() -> None:
    _, topic = stored([40, len(LOG)])
    with pytest.raises(StateDamagedError, match="is damaged"):
        detached_checkpoint(0, [one for one in topic if not one.key.startswith(b"ids/")])
