"""The horizon (rule 2): what may have been counted before its id was forgotten is held, not counted."""

import json
from collections.abc import Iterator
from unittest.mock import patch

import pytest
from msgspec.structs import replace

from metering.batch_ids import COUNT, COUNT_ATTRIBUTE
from metering.explanation import explain
from metering.partition_state import PartitionState
from metering.records import Record
from metering.rules import Rules
from metering.state_items import StateHeader, header_of, restore
from tests.metering.building import (
    APP,
    DAY_MS,
    HOUR_MS,
    Play,
    at,
    denied,
    play,
    purchased,
    registered,
    succeeded,
    ticked,
)

THREE = Rules(trial_calls=0, remembered_ids_max=3)


@pytest.fixture(autouse=True)
def _one_by_one() -> Iterator[None]:
    """Have ids forgotten one by one."""
    with patch("metering.remembered_ids.CHUNK_IDS", 1):
        yield


def tap(day: float = 1) -> bytes:
    return succeeded(at(day), event_id="tap")


def confirmed(value: object = COUNT) -> bytes:
    return json.dumps(json.loads(tap()) | {COUNT_ATTRIBUTE: value}).encode()


def others(number: int, day: float = 2) -> list[bytes]:
    return [denied(at(day)) for _ in range(number)]


def outcomes(played: Play) -> list[str]:
    return [entry.kind for entry in played.of("uncovered", "duplicate", "rejection", "purchase")]


@pytest.mark.parametrize(("between", "outcome"), [(2, "duplicate"), (3, "rejection")])
@pytest.mark.parametrize("cut", [1, 2, 100])
def test_a_repeat_is_recognised_or_held_but_never_counted(between: int, outcome: str, cut: int) -> None:
    log = [tap(), *others(between), tap()]
    played = Play(THREE)
    for first in range(0, len(log), cut):
        played.on(*log[first : first + cut])
    assert outcomes(played) == ["uncovered", outcome]


def test_a_held_event_is_a_dead_letter_that_says_what_to_do() -> None:
    played = play(tap(), *others(3), tap(), rules=THREE)
    (entry,) = played.of("rejection")
    assert (entry.reason, entry.source, entry.calls, entry.appid) == ("beyond_horizon", "/tests", 0, "")
    (letter,) = played.dead_letters
    assert (letter.reason, letter.offset, letter.value) == ("beyond_horizon", 4, tap())
    assert "back to which repeats are recognised" in letter.sentence
    assert "`phonemeter dead-letters retry`" in letter.sentence
    assert entry.recorded_at_ms == letter.recorded_at_ms == at(1)


def test_a_held_event_changes_nothing_else() -> None:
    before = play(tap(), *others(3), rules=THREE)
    after = play(tap(), *others(3), tap(), rules=THREE)
    assert after.state.accounts == before.state.accounts
    assert after.state.ids.next_number == before.state.ids.next_number


def test_as_long_as_nothing_was_forgotten_there_is_no_horizon() -> None:
    played = play(*others(3, day=300), tap(), tap(), rules=THREE)
    assert outcomes(played) == ["uncovered", "duplicate"]
    assert Play().state.ids.horizon_ms == 0


@pytest.mark.parametrize(("ms", "outcome"), [(0, "rejection"), (1, "uncovered")])
def test_an_event_at_the_horizon_is_held_and_one_after_it_is_counted(ms: int, outcome: str) -> None:
    late = succeeded(at(1, ms=ms), event_id="another")
    assert outcomes(play(tap(), *others(3), late, rules=THREE))[-1] == outcome


def test_the_horizon_covers_an_event_ahead_of_the_clock() -> None:
    """A producer's clock is an hour fast: its event moves the clock of the app to its own time."""
    fast = succeeded(at(1, hours=1), event_id="fast")
    played = play(ticked(at(1)), fast, *others(3, day=1), fast, rules=THREE)
    assert outcomes(played) == ["uncovered", "rejection"]
    assert played.state.ids.horizon_ms == at(1, hours=1)


def test_the_horizon_covers_a_late_event() -> None:
    """It was seen at the clock's time, which is after its own."""
    played = play(ticked(at(9)), tap(), *others(3, day=9), tap(), rules=THREE)
    assert outcomes(played) == ["uncovered", "rejection"]
    assert played.state.ids.horizon_ms == at(9)


@pytest.mark.parametrize(("ms", "outcome"), [(0, "duplicate"), (1, "rejection")])
@pytest.mark.parametrize("apart", [False, True])
def test_ticks_forget_what_is_older_than_the_window(
    ms: int,
    outcome: str,
    apart: bool,  # noqa: FBT001 - pytest names it
) -> None:
    played = Play(Rules(trial_calls=0, duplicate_window_ms=HOUR_MS))
    log = [tap(), ticked(at(1, hours=1, ms=ms)), tap()]
    for batch in [[value] for value in log] if apart else [log]:
        played.on(*batch)
    assert outcomes(played) == ["uncovered", outcome]


def test_events_alone_forget_nothing_by_their_times() -> None:
    """History of several apps arrives in any order: the time of one says nothing about the ids of another."""
    rules = Rules(trial_calls=0, duplicate_window_ms=HOUR_MS)
    assert outcomes(play(tap(1), denied(at(300)), tap(1), rules=rules)) == ["uncovered", "duplicate"]


def test_ids_are_remembered_for_400_days() -> None:
    assert Rules().duplicate_window_ms == 400 * DAY_MS
    log = [tap(0), ticked(at(400)), tap(0), ticked(at(400, ms=1)), tap(0)]
    assert outcomes(play(*log)) == ["uncovered", "duplicate", "rejection"]


def test_a_confirmed_event_beyond_the_horizon_counts_once() -> None:
    played = play(*others(4), confirmed(), confirmed(), tap(), rules=THREE)
    assert outcomes(played) == ["uncovered", "duplicate", "duplicate"]
    assert played.dead_letters == []


def test_a_confirmation_does_not_make_a_remembered_id_count() -> None:
    assert outcomes(play(tap(), confirmed())) == ["uncovered", "duplicate"]


@pytest.mark.parametrize("value", ["", "no", True, None, 1])
def test_only_the_agreed_value_confirms(value: object) -> None:
    played = play(*others(4), confirmed(value), rules=THREE)
    assert outcomes(played) == ["rejection"]


def test_a_confirmation_is_read_from_headers_too() -> None:
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", b"tap"),
        ("ce_source", b"/tests"),
        ("ce_type", b"phone.authorization.succeeded"),
        ("ce_subject", APP.encode()),
        ("ce_time", b"2023-08-27T00:00:00Z"),
        (f"ce_{COUNT_ATTRIBUTE}", COUNT.encode()),
    ]
    played = Play(THREE)
    played.on(*others(4))
    value = b'{"capability":"quick"}'
    record = Record(played.state.next_offset, at(3), APP.encode(), value, headers)
    assert explain(played.state, record, THREE).decision == "uncovered"
    unconfirmed = replace(record, headers=headers[:-1])
    assert explain(played.state, unconfirmed, THREE).reason == "beyond_horizon"


@pytest.mark.parametrize("event", [purchased(at(0), "pack-1"), registered(at(0), "company")])
def test_every_event_but_a_tick_is_held(event: bytes) -> None:
    assert outcomes(play(*others(4), event, rules=THREE)) == ["rejection"]
    assert outcomes(play(*others(4), ticked(at(0)), rules=THREE)) == []


def test_a_held_event_is_explained() -> None:
    played = play(*others(4), rules=THREE)
    told = explain(played.state, Record(4, None, None, tap()), THREE)
    assert (told.decision, told.reason, told.appid, told.event_id) == (
        "rejection",
        "beyond_horizon",
        APP,
        "tap",
    )
    assert told.why == played_sentence(played.state)


def played_sentence(state: PartitionState) -> str:
    played = Play(THREE)
    played.state = state
    played.on(tap())
    return played.dead_letters[-1].sentence


def test_the_horizon_is_part_of_the_durable_state() -> None:
    state = play(tap(), *others(4), rules=THREE).state
    header = header_of(state)
    assert header == StateHeader(5, 0, 2, at(2))
    assert restore(0, header, {}).ids.horizon_ms == at(2)
