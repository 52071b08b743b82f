"""Records of the broker: keys, its time, dead letters, and what an event does that moves no call."""

import json

import pytest

from metering.partition import Changes, PartitionState, Record, meter
from metering.rules import Rules
from tests.metering.building import APP, NO_TRIAL, at, event, play, records, registered, succeeded, text_of

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
    assert (metered.state, metered.entries, metered.changes) == (state, [], Changes(set(), set(), b""))


def test_a_batch_says_what_it_changed() -> None:
    before = meter(PartitionState(0), records([succeeded(at(1)), succeeded(at(1), app="wx-b")]), NO_TRIAL)
    values = [registered(at(1), "school", app="wx-b"), b"{", succeeded(at(1), app="wx-c")]
    changes = meter(before.state, records(values, 2), NO_TRIAL).changes
    numbers = {before.state.accounts["wx-b"].number, 2}
    assert (changes.accounts, changes.uncovered) == (numbers, {("wx-c", "quick")})
    assert len(changes.sightings) == len(before.changes.sightings)


def test_what_several_batches_changed_is_what_any_of_them_changed() -> None:
    parts = [Changes({1, 2}, {("wx", "quick")}, b"a"), Changes({2, 3}, {("wx", "realtime")}, b"b")]
    both = Changes({1, 2, 3}, {("wx", "quick"), ("wx", "realtime")}, b"ab")
    assert (Changes.all_of(parts), Changes.all_of([])) == (both, Changes(set(), set(), b""))


def test_an_app_is_granted_its_trial_quota_with_its_first_event_whatever_that_is() -> None:
    played = play(registered(at(0), "company"), succeeded(at(1)), rules=Rules(trial_calls=5))
    grant = played.entries[0]
    assert (grant.kind, grant.calls, grant.remaining, grant.line) == ("trial_grant", 5, 5, 0)
    assert (grant.time_ms, grant.event_id) == (Rules().billing_start_ms, "")
    assert played.entries[1].line == 1
    assert len(played.of("trial_grant")) == 1


def test_what_the_platform_observed_is_kept_and_moves_no_call() -> None:
    observed = event(
        "platform.usage_observed", at(1), {"capability": "quick", "pack_id": "pack-1", "used": 3, "size": 250}
    )
    (line,) = play(observed).entries
    assert (line.kind, line.capability, line.pack_id, line.calls) == ("usage_observed", "quick", "pack-1", 0)
    assert json.loads(line.details) == {"used": 3, "size": 250}


def test_a_registration_is_kept_with_what_it_said() -> None:
    played = play(registered(at(1), "company", "餐饮"))
    (line,) = played.entries
    assert (line.kind, line.reason) == ("registration", "charged")
    assert json.loads(line.details) == {"name": "Harbour Café", "entity_type": "company", "category": "餐饮"}
    account = played.state.accounts[APP]
    assert (account.name, account.entity_type, account.category) == ("Harbour Café", "company", "餐饮")
