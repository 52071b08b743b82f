"""Records of the broker: keys, times, dead letters, and events that move no call."""

import json

import pytest

from metering.partition import StateChanges, meter
from metering.partition_state import PartitionState
from metering.records import Record
from metering.rules import Rules
from tests.metering.building import (
    APP,
    NO_TRIAL,
    at,
    event,
    play,
    records,
    registered,
    succeeded,
    text_of,
    ticked,
)

NOW_MS = at(10)


def test_a_record_that_is_no_event_becomes_a_line_and_a_dead_letter() -> None:
    metered = meter(PartitionState(3, 7), [Record(7, NOW_MS, b"wx", b"{")], NO_TRIAL)
    (line,) = metered.entries
    assert (line.kind, line.reason, line.offset, line.line, line.appid) == ("rejection", "not_json", 7, 0, "")
    assert (line.time_ms, line.recorded_at_ms) == (NOW_MS, NOW_MS)
    (letter,) = metered.dead_letters
    assert (letter.topic, letter.partition, letter.offset) == ("phone-events", 3, 7)
    assert (letter.key, letter.value, letter.reason) == (b"wx", b"{", "not_json")
    assert json.loads(line.details) == {"sentence": letter.sentence}
    assert metered.state.next_offset == 8


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        (None, succeeded(at(1)), "key_missing"),
        (b"", succeeded(at(1)), "key_missing"),
        (b"wx-other", succeeded(at(1)), "key_mismatch"),
        (b"\xff\xfe", succeeded(at(1)), "key_mismatch"),
        (APP.encode(), None, "not_json"),
        (APP.encode(), b"", "not_json"),
        (APP.encode(), succeeded(at(1)) + b" " * 1_000_000, "too_large"),
        (APP.encode(), b"\xff", "not_utf8"),
        (APP.encode(), event("phone.authorization.maybe", at(1), {}), "unknown_type"),
        (APP.encode(), succeeded(at(1), client="13812345678"), "phone_number"),
        (APP.encode(), succeeded(NOW_MS + 3_600_001), "time_out_of_range"),
        (
            APP.encode(),
            succeeded(at(1)).replace(text_of(at(1)).encode(), b"9999-12-31T23:59:59-08:00"),
            "time_out_of_range",
        ),
        (APP.encode(), succeeded(at(1)).replace(b'"quick"', b"7"), "invalid_field"),
    ],
)
def test_each_mistake_has_one_reason_and_blocks_nothing(
    key: bytes | None, value: bytes | None, reason: str
) -> None:
    log = [Record(0, NOW_MS, key, value), Record(1, NOW_MS, APP.encode(), succeeded(at(1)))]
    metered = meter(PartitionState(0), log, NO_TRIAL)
    assert [letter.reason for letter in metered.dead_letters] == [reason]
    outcomes = [(entry.kind, entry.offset) for entry in metered.entries]
    assert outcomes == [("rejection", 0), ("uncovered", 1), ("alert", 1)]


def test_a_line_says_when_its_record_arrived() -> None:
    metered = meter(PartitionState(0), [Record(0, NOW_MS, APP.encode(), succeeded(at(1)))], NO_TRIAL)
    assert {(entry.time_ms, entry.recorded_at_ms) for entry in metered.entries} == {(at(1), NOW_MS)}


def test_offline_a_record_arrives_at_its_event_time() -> None:
    assert {entry.recorded_at_ms for entry in play(succeeded(at(1))).entries} == {at(1)}


def test_a_batch_without_records_changes_nothing() -> None:
    state = PartitionState(0)
    metered = meter(state, [], NO_TRIAL)
    assert (metered.state, metered.entries, metered.changes) == (state, [], StateChanges(set(), set(), b""))


def test_a_batch_says_what_it_changed() -> None:
    before = meter(PartitionState(0), records([succeeded(at(1)), succeeded(at(1), app="wx-b")]), NO_TRIAL)
    values = [registered(at(1), "school", app="wx-b"), b"{", succeeded(at(1), app="wx-c")]
    changes = meter(before.state, records(values, 2), NO_TRIAL).changes
    numbers = {before.state.accounts["wx-b"].number, 2}
    assert (changes.accounts, changes.uncovered) == (numbers, {("wx-c", "quick")})
    assert len(changes.sightings) == len(before.changes.sightings)


def test_what_several_batches_changed_is_what_any_of_them_changed() -> None:
    parts = [StateChanges({1, 2}, {("wx", "quick")}, b"a"), StateChanges({2, 3}, {("wx", "realtime")}, b"b")]
    both = StateChanges({1, 2, 3}, {("wx", "quick"), ("wx", "realtime")}, b"ab")
    assert (StateChanges.all_of(parts), StateChanges.all_of([])) == (both, StateChanges(set(), set(), b""))


def test_an_app_is_granted_its_trial_quota_with_its_first_event_whatever_that_is() -> None:
    played = play(registered(at(0), "company"), succeeded(at(1)), rules=Rules(trial_calls=5))
    grant = played.entries[0]
    assert (grant.kind, grant.calls, grant.remaining, grant.line) == ("trial_grant", 5, 5, 0)
    assert (grant.time_ms, grant.event_id) == (Rules().billing_start_ms, "")
    assert played.entries[1].line == 1
    assert len(played.of("trial_grant")) == 1


def test_what_the_platform_observed_is_kept_and_moves_no_call() -> None:
    """Rule 17."""
    observed = event(
        "platform.usage_observed", at(1), {"capability": "quick", "pack_id": "pack-1", "used": 3, "size": 250}
    )
    (line,) = play(observed).entries
    assert (line.kind, line.capability, line.pack_id, line.calls) == ("usage_observed", "quick", "pack-1", 0)
    assert json.loads(line.details) == {"used": 3, "size": 250}


def test_a_count_of_a_whole_capability_is_kept_as_that_and_not_as_one_of_the_trial_quota() -> None:
    """Rule 17."""
    data = {"capability": "quick", "used": 8, "size": 10, "covers": "capability"}
    (line,) = play(event("platform.usage_observed", at(1), data)).entries
    assert (line.kind, line.pack_id) == ("usage_observed", "")
    assert json.loads(line.details) == {"used": 8, "size": 10, "covers": "capability"}


def test_a_registration_is_kept_with_what_it_said() -> None:
    played = play(registered(at(1), "company", "餐饮"))
    (line,) = played.entries
    assert (line.kind, line.reason) == ("registration", "charged")
    assert json.loads(line.details) == {"name": "Harbour Café", "entity_type": "company", "category": "餐饮"}
    account = played.state.accounts[APP]
    assert (account.name, account.entity_type, account.category) == ("Harbour Café", "company", "餐饮")


def test_the_first_clock_tick_of_a_partition_is_a_line_and_no_later_one() -> None:
    log = [
        Record(0, NOW_MS, APP.encode(), succeeded(at(1))),
        *(Record(1 + n, NOW_MS + n, b"clock", ticked(NOW_MS + n)) for n in range(3)),
    ]
    for batches in ([log], [[one] for one in log]):
        state, lines = PartitionState(0), []
        for batch in batches:
            metered = meter(state, batch, NO_TRIAL)
            state = metered.state
            lines += [line for line in metered.entries if line.kind == "clock_start"]
        assert [(line.offset, line.time_ms, line.appid) for line in lines] == [(1, NOW_MS, "")]
