import json
from collections.abc import Sequence

import pytest

from metering import topics
from metering.partition import OffsetGapError
from metering.partition_state import PartitionState
from metering.records import Record
from metering.rules import Rules
from streams.batch_step import OutputRecord, PartitionProgress, carry_out, plan_batch, plan_checkpoint
from streams.state_log import StateLayout, StateReader, StateRecord
from tests.streams.building import purchase, taps

RULES = Rules(trial_calls=2)


def no_progress() -> PartitionProgress:
    return PartitionProgress.at_checkpoint(PartitionState(3), StateLayout())


def read_back(*records: OutputRecord) -> PartitionState:
    reader = StateReader(3)
    reader.add(StateRecord(record.key or b"", record.value) for record in records)
    state, _ = reader.newest()
    return state


class Broker:
    """Stores publications; those with the given numbers fail."""

    def __init__(self, *failing: int) -> None:
        self.published: list[Sequence[OutputRecord]] = []
        self._failing = failing
        self._attempts = 0

    async def publish(self, records: Sequence[OutputRecord]) -> None:
        self._attempts += 1
        if self._attempts - 1 in self._failing:
            raise ConnectionError
        self.published.append(records)


async def test_the_ledger_is_acknowledged_before_the_state_becomes_valid() -> None:
    plan = plan_batch(no_progress(), taps(0, 10), RULES)
    assert plan is not None
    broker = Broker()
    progress = await carry_out(plan, broker.publish)
    outcome, header = broker.published
    assert topics.LEDGER in {record.topic for record in outcome}
    assert [(record.topic, record.key) for record in header] == [(topics.STATE, b"header#0")]
    assert progress.state.next_offset == 10


async def test_a_batch_whose_outcome_was_not_acknowledged_never_gets_a_header() -> None:
    plan = plan_batch(no_progress(), taps(0, 10), RULES)
    assert plan is not None
    broker = Broker(0)
    with pytest.raises(ConnectionError):
        await carry_out(plan, broker.publish)
    assert broker.published == []


def test_metering_a_batch_again_publishes_the_same_bytes() -> None:
    progress = no_progress()
    assert plan_batch(progress, taps(0, 10), RULES) == plan_batch(progress, taps(0, 10), RULES)


def test_records_that_the_state_has_are_skipped() -> None:
    first = plan_batch(no_progress(), taps(0, 10), RULES)
    assert first is not None
    assert plan_batch(first.after, taps(0, 10), RULES) is None
    second = plan_batch(first.after, taps(5, 12), RULES)
    assert second is not None
    assert {entry.offset for entry in second.metered.entries} == {10, 11}


def test_missing_records_are_asked_for() -> None:
    with pytest.raises(OffsetGapError) as gap:
        plan_batch(no_progress(), taps(4, 10), RULES)
    assert (gap.value.expected, gap.value.got) == (0, 4)


def test_one_checkpoint_of_several_batches_stores_the_same_state_as_one_each() -> None:
    log = [purchase(0, calls=40), *taps(1, 30), Record(30, 1, b"wxa", b"no json"), *taps(31, 60)]
    together, alone = no_progress(), no_progress()
    for end in (20, 40, 60):
        waiting = plan_batch(together, log[:end], RULES, store=False)
        assert waiting is not None
        assert waiting.header is None
        assert topics.STATE not in {record.topic for record in waiting.outcome}
        stored = plan_batch(alone, log[:end], RULES)
        assert stored is not None
        together, alone = waiting.after, stored.after
    assert together.uncommitted_records == 60
    plan = plan_checkpoint(together)
    assert plan is not None
    assert plan.header is not None
    assert read_back(*plan.outcome, plan.header).accounts == alone.state.accounts
    assert read_back(*plan.outcome, plan.header).ids.next_number == alone.state.ids.next_number
    assert plan_checkpoint(plan.after) is None


def test_everything_goes_to_the_partition_that_its_events_came_from() -> None:
    log = [Record(0, 1, b"wxa", b"no json"), purchase(1), *taps(2, 40)]
    plan = plan_batch(no_progress(), log, RULES)
    assert plan is not None
    assert plan.header is not None
    assert {record.partition for record in (*plan.outcome, plan.header)} == {3}
    assert {record.topic for record in plan.outcome} == {
        topics.LEDGER,
        topics.ALERTS,
        topics.DEAD_LETTERS,
        topics.STATE,
    }


def test_an_alert_is_published_with_the_identity_of_its_ledger_entry() -> None:
    plan = plan_batch(no_progress(), [purchase(0), *taps(1, 40)], RULES)
    assert plan is not None
    alerts = [json.loads(record.value or b"") for record in plan.outcome if record.topic == topics.ALERTS]
    entries = [entry for entry in plan.metered.entries if entry.kind in {"alert", "recovery"}]
    assert [alert["id"] for alert in alerts] == [f"3-{entry.offset}-{entry.line}" for entry in entries]
    assert {alert["reason"] for alert in alerts} >= {"level"}


def test_a_rejected_record_is_published_whole() -> None:
    plan = plan_batch(no_progress(), [Record(0, 1, b"\xff", b"\xfe")], RULES)
    assert plan is not None
    (letter,) = [
        json.loads(record.value or b"") for record in plan.outcome if record.topic == topics.DEAD_LETTERS
    ]
    assert (letter["key"], letter["value"], letter["reason"]) == ("/w==", "/g==", "not_utf8")
