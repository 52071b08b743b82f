"""Refusals by the platform (rule 18): one alert while members cannot sign up, whatever is left.

The recovery comes when calls were granted for a while without a refusal (`QUIET_MS`), or with a pack.
"""

import json

import pytest

from metering.rules import Rules, rules_of_decisions
from tests.metering.building import (
    APP,
    DAY_MS,
    HOUR_MS,
    Play,
    alerting_set,
    at,
    denied,
    event,
    failed,
    play,
    purchased,
    registered,
    succeeded,
    ticked,
)

MINUTE_MS = 60_000
QUIET_MS = 300_000


def refusals(played: Play) -> list[tuple[str, int]]:
    """The alerts and recoveries, with their times."""
    return [(e.kind, e.time_ms) for e in played.of("alert", "recovery") if e.reason == "refused"]


def test_the_first_refusal_alerts_although_the_ledger_has_calls_left() -> None:
    """A pack of 250 calls, of which 50 are used, and an hour of refusals."""
    played = play(
        purchased(at(0), "P1", calls=250),
        *[succeeded(at(0, hours=1 + call)) for call in range(50)],
        *[failed(at(3) + half_minute * MINUTE_MS // 2) for half_minute in range(120)],
    )
    assert refusals(played) == [("alert", at(3))]
    (alert,) = played.of("alert")
    assert (alert.appid, alert.capability, alert.remaining) == (APP, "quick", 200)
    assert json.loads(alert.details) == {"errno": 1_400_001}
    assert len(played.of("failed")) == 120


def test_an_app_on_the_trial_alone_that_uses_it_up_and_is_refused_is_told_so() -> None:
    played = play(*[succeeded(at(1)) for _ in range(5)], rules=Rules(trial_calls=5))
    played.on(*[failed(at(2) + second * 1_000) for second in range(60)])
    assert [(e.reason, e.time_ms) for e in played.of("alert")] == [
        *[("level", at(1))] * 4,
        ("refused", at(2)),
    ]


def test_a_burst_of_a_thousand_refusals_is_one_alert() -> None:
    assert len(refusals(play(*[failed(at(1, ms=ms)) for ms in range(1_000)]))) == 1


def test_other_failures_and_refusals_by_users_alert_nobody() -> None:
    other = event("phone.authorization.failed", at(1), {"capability": "quick", "errno": 1_400_002})
    by_user = event("phone.authorization.denied", at(1), {"capability": "quick", "errno": 1_400_001})
    without = event("phone.authorization.failed", at(1), {"capability": "quick"})
    assert play(other, by_user, without, denied(at(1))).of("alert") == []


def test_a_later_success_recovers_after_a_while_and_the_next_refusal_alerts_again() -> None:
    played = play(purchased(at(0), "a", calls=100), failed(at(1)), failed(at(2)))
    assert [e.kind for e in played.on(succeeded(at(3)))] == ["charge"]
    played.on(succeeded(at(4)), failed(at(5)))
    assert refusals(played) == [("alert", at(1)), ("recovery", at(3) + QUIET_MS), ("alert", at(5))]
    assert [e.remaining for e in played.of("recovery")] == [99]


def test_a_success_that_nothing_covers_recovers_as_well() -> None:
    played = play(failed(at(1)), succeeded(at(2)), ticked(at(3)))
    assert refusals(played) == [("alert", at(1)), ("recovery", at(2) + QUIET_MS)]


def test_time_alone_recovers_at_the_end_of_the_quiet_period_and_not_a_millisecond_before() -> None:
    played = play(failed(at(1)), succeeded(at(2)), ticked(at(2) + QUIET_MS - 1))
    assert refusals(played) == [("alert", at(1))]
    assert [e.kind for e in played.on(ticked(at(2) + QUIET_MS))] == ["recovery"]
    assert refusals(played) == [("alert", at(1)), ("recovery", at(2) + QUIET_MS)]


def test_successes_of_the_quiet_period_do_not_put_the_recovery_off() -> None:
    played = play(failed(at(1)), *[succeeded(at(2) + minute * MINUTE_MS) for minute in range(9)])
    assert refusals(played) == [("alert", at(1)), ("recovery", at(2) + QUIET_MS)]


def test_a_refusal_within_the_quiet_period_puts_the_recovery_off_and_alerts_nobody() -> None:
    played = play(failed(at(1)), succeeded(at(2)), failed(at(2) + QUIET_MS - 1), ticked(at(3)))
    assert refusals(played) == [("alert", at(1))]
    played.on(succeeded(at(3)), ticked(at(4)))
    assert refusals(played) == [("alert", at(1)), ("recovery", at(3) + QUIET_MS)]


def test_an_app_where_one_tap_in_twenty_succeeds_is_told_once() -> None:
    """Two hours of ten taps a second; today's successes end with them, and the quiet period later."""
    taps = [
        succeeded(at(1) + tap * 100) if tap % 20 == 19 else failed(at(1) + tap * 100) for tap in range(72_000)
    ]
    played = play(purchased(at(0), "a", calls=10_000), *taps)
    assert refusals(played) == [("alert", at(1))]
    played.on(ticked(at(2)))
    (_, recovery) = refusals(played)
    assert recovery == ("recovery", at(1) + 71_999 * 100 + QUIET_MS)


def test_there_is_at_most_one_alert_in_a_quiet_period_however_refusals_and_successes_come() -> None:
    """Also if they come late, two hours after they happened."""
    pairs = [
        (at(1) + second * 1_000, tap(at(1) + second * 1_000 - late_ms))
        for late_ms in (0, 2 * HOUR_MS)
        for second in range(7_200)
        for tap in (failed, succeeded)
    ]
    played = play(purchased(at(0), "a", calls=100_000))
    played.arriving(*sorted(pairs, key=lambda pair: pair[0]))
    assert len(refusals(played)) <= 2 * 7_200_000 // QUIET_MS


def test_how_long_the_quiet_period_is_is_a_setting() -> None:
    played = play(failed(at(1)), succeeded(at(2)), ticked(at(3)), rules=Rules(refusal_quiet_ms=7_000))
    assert refusals(played) == [("alert", at(1)), ("recovery", at(2) + 7_000)]
    assert rules_of_decisions(Rules(refusal_quiet_ms=7_000)) == rules_of_decisions(Rules())


def test_a_top_up_recovers_and_the_next_refusal_alerts_again() -> None:
    played = play(failed(at(1)), purchased(at(2), "a"), failed(at(3)))
    assert refusals(played) == [("alert", at(1)), ("recovery", at(2)), ("alert", at(3))]


def test_a_pack_that_starts_later_recovers_when_it_starts() -> None:
    played = play(failed(at(1)), purchased(at(2), "a", starts_at=at(5)))
    assert refusals(played) == [("alert", at(1))]
    played.on(ticked(at(9)))
    assert refusals(played) == [("alert", at(1)), ("recovery", at(5))]


def test_a_pack_recovers_at_once_within_a_quiet_period_and_time_not_again() -> None:
    played = play(failed(at(1)), succeeded(at(2)), purchased(at(2) + MINUTE_MS, "a"), ticked(at(3)))
    assert refusals(played) == [("alert", at(1)), ("recovery", at(2) + MINUTE_MS)]


def test_a_pack_that_starts_as_the_quiet_period_ends_is_the_one_recovery() -> None:
    played = play(failed(at(1)), purchased(at(1), "a", starts_at=at(2) + QUIET_MS), succeeded(at(2)))
    assert refusals(played.with_(ticked(at(3)))) == [("alert", at(1)), ("recovery", at(2) + QUIET_MS)]


def test_a_pack_that_was_valid_before_the_refusal_recovers_nothing() -> None:
    """The platform refused although the pack had started: that it was recorded late explains nothing."""
    played = play(failed(at(3)), purchased(at(4), "a", paid_at=at(2)))
    assert refusals(played) == [("alert", at(3))]


def test_a_pack_whose_calls_are_all_taken_over_recovers_nothing() -> None:
    played = play(succeeded(at(1)), succeeded(at(2)), failed(at(3)))
    played.on(purchased(at(5), "a", calls=2, paid_at=at(0)), purchased(at(5), "b", calls=1, paid_at=at(4)))
    assert refusals(played) == [("alert", at(3)), ("recovery", at(5))]


def test_a_refusal_that_arrives_after_a_later_success_does_not_alert() -> None:
    played = play(purchased(at(0), "a"), succeeded(at(2)), failed(at(1)), failed(at(2, ms=-1)))
    assert refusals(played) == []
    played.on(failed(at(2)))
    assert refusals(played) == [("alert", at(2))]


def test_a_success_that_arrives_late_does_not_recover() -> None:
    played = play(purchased(at(0), "a"), failed(at(2)), succeeded(at(1)), succeeded(at(2)))
    assert refusals(played) == [("alert", at(2))]
    played.on(ticked(at(3)))
    assert refusals(played) == [("alert", at(2))]
    played.on(succeeded(at(2, ms=1)), ticked(at(4)))
    assert refusals(played) == [("alert", at(2)), ("recovery", at(3) + QUIET_MS)]


def test_a_late_refusal_from_before_the_quiet_period_leaves_it_alone() -> None:
    played = play(failed(at(1)), succeeded(at(2)), failed(at(2, ms=-1)), ticked(at(3)))
    assert refusals(played) == [("alert", at(1)), ("recovery", at(2) + QUIET_MS)]


@pytest.mark.parametrize("ms", [0, 1, MINUTE_MS - 1])
def test_a_late_refusal_from_between_granted_calls_renews_the_quiet_period(ms: int) -> None:
    now = at(2) + MINUTE_MS
    played = play(failed(at(1)), succeeded(at(2)), succeeded(now), failed(at(2, ms=ms)), ticked(at(3)))
    assert refusals(played) == [("alert", at(1)), ("recovery", now + QUIET_MS)]


def test_a_late_refusal_after_the_recovery_alerts_nobody() -> None:
    played = play(failed(at(1)), succeeded(at(2)), succeeded(at(3)), failed(at(2, ms=1)))
    assert refusals(played) == [("alert", at(1)), ("recovery", at(2) + QUIET_MS)]


def test_a_late_success_from_before_the_first_one_brings_the_recovery_no_nearer() -> None:
    played = play(failed(at(1)), succeeded(at(2)), succeeded(at(2) - MINUTE_MS), ticked(at(3)))
    assert refusals(played) == [("alert", at(1)), ("recovery", at(2) + QUIET_MS)]


def test_a_queue_that_comes_late_recovers_a_while_after_it_came() -> None:
    played = play(ticked(at(2)), failed(at(1, hours=20)), succeeded(at(1, hours=21)), ticked(at(3)))
    assert refusals(played) == [("alert", at(1, hours=20)), ("recovery", at(2) + QUIET_MS)]


def test_a_queue_that_comes_two_hours_late_alerts_if_nobody_succeeded_since() -> None:
    played = play(succeeded(at(1)), ticked(at(2)), failed(at(2) - 2 * HOUR_MS))
    assert refusals(played) == [("alert", at(2) - 2 * HOUR_MS)]


@pytest.mark.parametrize(("ms", "alerts"), [(0, 1), (1, 0)])
def test_a_refusal_that_is_more_than_a_day_past_is_history(ms: int, alerts: int) -> None:
    """It alerts nobody and does not keep one of today from alerting."""
    played = play(ticked(at(5)), failed(at(5) - DAY_MS - ms))
    assert len(refusals(played)) == alerts
    played.on(failed(at(5)))
    assert len(refusals(played)) == 1


def test_a_client_whose_clock_is_ahead_hides_no_refusal() -> None:
    played = play(purchased(at(0), "a"))
    played.arriving((at(1), succeeded(at(1) + 50 * MINUTE_MS)))
    played.arriving((at(1) + MINUTE_MS, failed(at(1) + MINUTE_MS)))
    assert refusals(played) == [("alert", at(1) + MINUTE_MS)]


def test_a_refusal_by_a_clock_that_is_ahead_ends_with_the_next_success() -> None:
    played = play(purchased(at(0), "a"))
    played.arriving((at(1), failed(at(1) + 50 * MINUTE_MS)))
    played.arriving((at(1) + MINUTE_MS, succeeded(at(1) + MINUTE_MS)), (at(2), ticked(at(2))))
    assert [kind for kind, _ in refusals(played)] == ["alert", "recovery"]


def test_a_clock_that_is_ahead_does_not_end_the_quiet_period_at_once() -> None:
    """It moves the app's clock, on which the period is counted from where that stands."""
    played = play(purchased(at(0), "a"), failed(at(1)))
    played.arriving(
        (at(1) + 1_000, denied(at(1) + 50 * MINUTE_MS)), (at(1) + 2_000, succeeded(at(1) + 2_000))
    )
    assert refusals(played) == [("alert", at(1))]
    played.on(ticked(at(2)))
    assert refusals(played) == [("alert", at(1)), ("recovery", at(1) + 50 * MINUTE_MS + QUIET_MS)]


def test_an_exempt_app_is_alerted_as_well() -> None:
    played = play(registered(at(0), "government"), succeeded(at(1)), failed(at(2)), succeeded(at(3)))
    played.on(ticked(at(4)))
    assert refusals(played) == [("alert", at(2)), ("recovery", at(3) + QUIET_MS)]


def test_calls_before_billing_are_evidence_too() -> None:
    played = play(failed(at(-2)), succeeded(at(-1)), ticked(at(0)))
    assert refusals(played) == [("alert", at(-2)), ("recovery", at(-1) + QUIET_MS)]


def test_each_capability_is_refused_on_its_own() -> None:
    played = play(failed(at(1)), failed(at(1), capability="realtime"), succeeded(at(2)), ticked(at(3)))
    assert [(e.kind, e.capability) for e in played.of("alert", "recovery") if e.reason == "refused"] == [
        ("alert", "quick"),
        ("alert", "realtime"),
        ("recovery", "quick"),
    ]


def test_no_threshold_turns_it_off() -> None:
    nothing = alerting_set(at(0), levels_percent=[], expiry_days=[], run_out_lead_days=0, burn_minute_calls=0)
    assert refusals(play(nothing, failed(at(1)))) == [("alert", at(1))]
