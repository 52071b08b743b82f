import json
from collections.abc import Sequence

import pytest

from metering import topics
from metering.partition import OffsetGapError, PartitionState, Record
from metering.rules import Rules
from streams.batch_step import Held, Outgoing, carry_out, checkpoint, plan
from streams.state_log import Placement, StateReader, StateRecord
from tests.streams.building import purchase, taps

RULES = Rules(trial_calls=2)


def fresh() -> Held:
    return Held.stored(PartitionState(3), Placement())


def read_back(*records: Outgoing) -> PartitionState:
    reader = StateReader(3)
    reader.add(StateRecord(record.key or b"", record.value) for record in records)
    state, _ = reader.finished()
    return state


class Broker:
    """Takes what is published; fails the publications whose number is listed."""

    def __init__(self, *failing: int) -> None:
        self.published: list[Sequence[Outgoing]] = []
        self._failing = failing
        self._attempts = 0

    async def publish(self, records: Sequence[Outgoing]) -> None:
        self._attempts += 1
        if self._attempts - 1 in self._failing:
            raise ConnectionError
        self.published.append(records)


async def test_the_ledger_is_acknowledged_before_the_state_becomes_valid() -> None:
    work = plan(fresh(), taps(0, 10), RULES)
    assert work is not None
    broker = Broker()
    held = await carry_out(work, broker.publish)
    outcome, header = broker.published
    assert topics.LEDGER in {record.topic for record in outcome}
    assert [(record.topic, record.key) for record in header] == [(topics.STATE, b"header#0")]
    assert held.state.next_offset == 10


async def test_a_batch_whose_outcome_was_not_acknowledged_never_gets_a_header() -> None:
    work = plan(fresh(), taps(0, 10), RULES)
    assert work is not None
    broker = Broker(0)
    with pytest.raises(ConnectionError):
        await carry_out(work, broker.publish)
    assert broker.published == []


def test_metering_a_batch_again_publishes_the_same_bytes() -> None:
    held = fresh()
    assert plan(held, taps(0, 10), RULES) == plan(held, taps(0, 10), RULES)


def test_records_that_the_state_has_are_skipped() -> None:
    first = plan(fresh(), taps(0, 10), RULES)
    assert first is not None
    assert plan(first.after, taps(0, 10), RULES) is None
    second = plan(first.after, taps(5, 12), RULES)
    assert second is not None
    assert {entry.offset for entry in second.metered.entries} == {10, 11}


def test_records_that_were_left_out_are_asked_for() -> None:
    with pytest.raises(OffsetGapError) as gap:
        plan(fresh(), taps(4, 10), RULES)
    assert (gap.value.expected, gap.value.got) == (0, 4)


def test_batches_that_are_stored_together_leave_what_they_leave_one_by_one() -> None:
    log = [purchase(0, calls=40), *taps(1, 30), Record(30, 1, b"wxa", b"no json"), *taps(31, 60)]
    together, alone = fresh(), fresh()
    for end in (20, 40, 60):
        waiting = plan(together, log[:end], RULES, store=False)
        assert waiting is not None
        assert waiting.header is None
        assert topics.STATE not in {record.topic for record in waiting.outcome}
        stored = plan(alone, log[:end], RULES)
        assert stored is not None
        together, alone = waiting.after, stored.after
    assert together.unstored_records == 60
    work = checkpoint(together)
    assert work is not None
    assert work.header is not None
    assert read_back(*work.outcome, work.header).accounts == alone.state.accounts
    assert read_back(*work.outcome, work.header).ids.next_number == alone.state.ids.next_number
    assert checkpoint(work.after) is None


def test_everything_goes_to_the_partition_that_its_events_came_from() -> None:
    log = [Record(0, 1, b"wxa", b"no json"), purchase(1), *taps(2, 40)]
    work = plan(fresh(), log, RULES)
    assert work is not None
    assert work.header is not None
    assert {record.partition for record in (*work.outcome, work.header)} == {3}
    assert {record.topic for record in work.outcome} == {
        topics.LEDGER,
        topics.ALERTS,
        topics.DEAD_LETTERS,
        topics.STATE,
    }


def test_an_alert_is_published_with_the_identity_of_its_ledger_entry() -> None:
    work = plan(fresh(), [purchase(0), *taps(1, 40)], RULES)
    assert work is not None
    alerts = [json.loads(record.value or b"") for record in work.outcome if record.topic == topics.ALERTS]
    entries = [entry for entry in work.metered.entries if entry.kind in {"alert", "recovery"}]
    assert [alert["id"] for alert in alerts] == [f"3-{entry.offset}-{entry.line}" for entry in entries]
    assert {alert["reason"] for alert in alerts} >= {"level"}


def test_a_rejected_record_is_published_whole() -> None:
    work = plan(fresh(), [Record(0, 1, b"\xff", b"\xfe")], RULES)
    assert work is not None
    (letter,) = [
        json.loads(record.value or b"") for record in work.outcome if record.topic == topics.DEAD_LETTERS
    ]
    assert (letter["key"], letter["value"], letter["reason"]) == ("/w==", "/g==", "not_utf8")
