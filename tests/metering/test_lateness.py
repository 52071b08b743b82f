"""Late facts (rule 8): those that may have changed earlier decisions make their app unsettled."""

import pytest

from metering.accounts import NEVER_MS
from metering.rules import Rules
from metering.times import shanghai_midnight
from tests.metering.building import (
    APP,
    DAY_MS,
    NO_TRIAL,
    Play,
    at,
    play,
    purchased,
    refunded,
    registered,
    succeeded,
    taken_back,
    ticked,
)

USED_UP = (purchased(at(1), "first", calls=1), purchased(at(1), "second", days=180), succeeded(at(2)))


def marks(played: Play) -> list[tuple[str, int]]:
    return [(entry.reason, entry.time_ms) for entry in played.of("unsettled")]


def unsettled_from(played: Play) -> int:
    return played.state.accounts[APP].unsettled_ms


def test_an_app_whose_facts_come_in_order_stays_settled() -> None:
    played = play(
        *USED_UP,
        succeeded(at(3)),
        registered(at(4), "government"),
        succeeded(at(5)),
        refunded(at(6), "third"),
    )
    assert marks(played) == []
    assert unsettled_from(played) == NEVER_MS


def test_a_call_from_before_a_pack_was_used_up_makes_its_app_unsettled_from_the_day_of_the_call() -> None:
    played = play(*USED_UP, succeeded(at(1.5)))
    assert marks(played) == [("late_call", shanghai_midnight(at(1.5)))]
    assert unsettled_from(played) == shanghai_midnight(at(1.5))
    assert played.state.accounts[APP].unsettled_offset == 3


def test_a_call_out_of_order_that_finds_what_it_would_have_found_in_time_marks_nothing() -> None:
    played = play(purchased(at(1), "first"), succeeded(at(3)), succeeded(at(2)), purchased(at(4), "second"))
    assert marks(played) == []


def test_a_call_from_before_the_trial_quota_was_used_up_makes_both_capabilities_late() -> None:
    played = play(succeeded(at(2)), rules=Rules(trial_calls=1))
    assert marks(played.with_(succeeded(at(1), capability="realtime"))) != []
    own = play(succeeded(at(2)), rules=Rules(trial_calls=1, trial_scope="capability"))
    assert marks(own.with_(succeeded(at(1), capability="realtime"))) == []
    assert marks(own.with_(succeeded(at(1)))) != []


def test_a_call_from_within_a_pack_that_has_lapsed_is_late() -> None:
    played = play(purchased(at(1), "first", days=1), ticked(at(9)), succeeded(at(1.5)))
    assert [reason for reason, _ in marks(played)] == ["late_call"]
    assert [entry.reason for entry in played.of("uncovered")] == ["too_late"]


@pytest.mark.parametrize(("days", "reasons"), [(30, ["late_purchase"]), (365, [])])
def test_a_pack_recorded_late_is_late_if_calls_were_taken_from_one_that_expires_after_it(
    days: int, reasons: list[str]
) -> None:
    played = play(
        purchased(at(1), "first"), succeeded(at(3)), purchased(at(4), "x", days=days, paid_at=at(2))
    )
    assert [reason for reason, _ in marks(played)] == reasons


def test_a_pack_that_starts_after_the_newest_call_is_not_late() -> None:
    played = play(purchased(at(1), "first"), succeeded(at(3)), purchased(at(4), "x", days=1, paid_at=at(3.5)))
    assert marks(played) == []


def test_a_call_ahead_of_its_arrival_is_the_newest_for_a_pack_that_starts_between() -> None:
    played = Play(NO_TRIAL)
    played.arriving(
        (at(1), purchased(at(1), "first")),
        (at(2), succeeded(at(2, ms=30 * 60_000))),
        (at(2, ms=60_000), purchased(at(2, ms=60_000), "short", days=1)),
    )
    assert [reason for reason, _ in marks(played)] == ["late_purchase"]


def test_a_refund_that_was_refused_because_of_later_calls_is_late() -> None:
    played = play(purchased(at(1), "first"), succeeded(at(3)))
    assert [reason for reason, _ in marks(played.with_(refunded(at(2), "first")))] == ["late_refund"]
    assert marks(played.with_(refunded(at(4), "first"))) == []
    assert marks(played.with_(refunded(at(20), "first"))) == []


def test_what_the_platform_took_back_before_calls_were_taken_from_it_is_late() -> None:
    played = play(purchased(at(1), "first"), succeeded(at(3)))
    assert [reason for reason, _ in marks(played.with_(taken_back(at(2), "first")))] == ["late_refund"]
    assert marks(played.with_(taken_back(at(4), "first"))) == []


def test_the_earliest_of_several_refunds_waits_for_the_purchase() -> None:
    played = play(refunded(at(20), "first"), refunded(at(2), "first"), refunded(at(3), "first"))
    assert played.kinds() == ["refund_waiting", "refund_waiting", "refund_refused"]
    assert [
        entry.time_ms for entry in played.with_(purchased(at(21), "first", paid_at=at(1))).of("refund")
    ] == [at(2)]


def test_an_owner_told_late_is_late_if_it_is_exempt_otherwise_than_the_one_before() -> None:
    played = play(registered(at(1), "company"), succeeded(at(3)))
    assert [reason for reason, _ in marks(played.with_(registered(at(2), "government")))] == [
        "late_registration"
    ]
    assert marks(played.with_(registered(at(2), "media"))) == []


def test_a_registration_that_is_older_than_the_current_one_does_not_replace_it() -> None:
    played = play(registered(at(3), "government"), succeeded(at(4)), registered(at(2), "company"))
    assert played.state.accounts[APP].exempt
    assert played.state.accounts[APP].entity_type == "government"
    assert [reason for reason, _ in marks(played)] == ["late_registration"]


def test_an_app_is_marked_again_only_from_an_earlier_day() -> None:
    played = play(*USED_UP, succeeded(at(1.5)), succeeded(at(1.6)), succeeded(at(0.5)))
    assert len(marks(played)) == 2
    assert played.state.accounts[APP].unsettled_offset == 5


def test_a_fact_beyond_the_horizon_is_named_and_marks_nothing() -> None:
    rules = Rules(trial_calls=0, settle_horizon_ms=DAY_MS)
    played = play(*USED_UP, succeeded(at(4)), succeeded(at(1.5)), rules=rules)
    assert marks(played) == [("too_old", at(1.5))]
    assert unsettled_from(played) == NEVER_MS
