"""Alerts (rules 13 and 18): each crossing alerts once, and recovers only after a top-up."""

import json

import pytest

from metering.rules import Rules
from tests.metering.building import (
    NO_TRIAL,
    Play,
    alerting_set,
    at,
    denied,
    play,
    purchased,
    refunded,
    registered,
    succeeded,
    ticked,
)


def calls(number: int, day: float = 1) -> list[bytes]:
    return [succeeded(at(day)) for _ in range(number)]


def levels(played: Play, kind: str = "alert") -> list[int]:
    return [json.loads(e.details)["level_percent"] for e in played.of(kind) if e.reason == "level"]


def test_an_alert_is_given_at_20_10_5_and_0_percent_once_each() -> None:
    played = play(purchased(at(0), "pack-1", calls=100), *calls(101))
    alerts = [entry for entry in played.of("alert") if entry.reason == "level"]
    assert [(entry.remaining, json.loads(entry.details)) for entry in alerts] == [
        (20, {"level_percent": 20, "size": 100}),
        (10, {"level_percent": 10, "size": 100}),
        (5, {"level_percent": 5, "size": 100}),
        (0, {"level_percent": 0, "size": 0}),
    ]


def test_an_alert_follows_the_charge_that_crossed_the_level() -> None:
    played = play(purchased(at(0), "pack-1", calls=100), *calls(79))
    assert [entry.kind for entry in played.on(*calls(1))] == ["charge", "alert"]
    assert [entry.kind for entry in played.on(*calls(1))] == ["charge"]


def test_a_level_that_falls_between_two_calls_alerts_at_the_first_below_it() -> None:
    played = play(purchased(at(0), "pack-1", calls=7), *calls(7))
    assert [entry.remaining for entry in played.of("alert") if entry.reason == "level"] == [1, 0, 0, 0]


def test_the_levels_are_of_all_packs_valid_now() -> None:
    packs = [purchased(at(0), "a", calls=90), purchased(at(0), "b", calls=10)]
    assert levels(play(*packs, *calls(79))) == []
    assert levels(play(*packs, *calls(80))) == [20]


def test_a_pack_that_is_used_up_does_not_count_in_the_size() -> None:
    """Rule 18: of two packs of 50 the second is the whole size as soon as the first is used up."""
    packs = [purchased(at(0), name, calls=50) for name in ("a", "b")]
    assert levels(play(*packs, *calls(89))) == []
    assert levels(play(*packs, *calls(90))) == [20]


def test_a_shop_on_its_tenth_pack_is_told_of_that_pack_alone() -> None:
    """Rule 18: with 225 calls of 250 left it is not told 10 %."""
    played = play(purchased(at(0), "pack-1", calls=250), *calls(240))
    for number in range(2, 11):
        before = len(played.entries)
        played.on(purchased(at(1), f"pack-{number}", calls=250))
        fired, recovered = levels(played), levels(played, "recovery")
        assert fired == recovered == [20, 10, 5] * (number - 1)
        played.on(*calls(10 + 25))
        assert levels(played) == fired, f"225 of 250 calls are left, and {played.entries[before:]} was told"
        played.on(*calls(215))
        assert levels(played) == [*fired, 20, 10, 5]


def test_the_next_pack_recovers_every_level() -> None:
    played = play(purchased(at(0), "a", calls=250), *calls(250), purchased(at(1), "b", calls=250))
    assert levels(played) == levels(played, "recovery") == [20, 10, 5, 0]


def test_a_pending_pack_does_not_count() -> None:
    packs = [purchased(at(0), "a", calls=10), purchased(at(0), "b", calls=1_000, starts_at=at(20))]
    assert levels(play(*packs, *calls(8))) == [20]


def test_each_capability_has_its_own_balance() -> None:
    packs = [purchased(at(0), "a", calls=10), purchased(at(0), "b", calls=10, capability="realtime")]
    alerts = play(*packs, *calls(8)).of("alert")
    assert {entry.capability for entry in alerts} == {"quick"}


def test_a_top_up_that_lifts_the_balance_clear_of_a_level_recovers_and_arms_it_again() -> None:
    played = play(purchased(at(0), "a", calls=100), *calls(92))
    assert levels(played) == [20, 10]
    played.on(purchased(at(2), "b", calls=100))
    assert levels(played, "recovery") == [20, 10]
    assert {entry.remaining for entry in played.of("recovery")} == {108}
    played.on(*calls(98, 3))
    assert levels(played) == [20, 10, 20, 10]


def test_a_top_up_that_only_reaches_a_level_does_not_recover_it() -> None:
    played = play(purchased(at(0), "a", calls=100), *calls(98))
    assert levels(played) == [20, 10, 5]
    played.on(purchased(at(2), "b", calls=10))
    assert levels(played, "recovery") == [10, 5]
    exactly = play(purchased(at(0), "a", calls=100), *calls(96), purchased(at(2), "b", calls=20))
    assert levels(exactly, "recovery") == [10, 5]


def test_without_a_top_up_nothing_recovers() -> None:
    """A pack is used up, and the balance rises from 11 % to 100 % of what holds calls."""
    played = play(
        purchased(at(0), "a", calls=90, days=5), purchased(at(0), "b", calls=10, days=90), *calls(90)
    )
    assert levels(played) == [20]
    played.on(ticked(at(10)), *calls(7, 10))
    assert levels(played) == [20]
    played.on(*calls(2, 10))
    assert levels(played) == [20, 10]
    assert played.of("recovery") == []


def test_a_pack_that_is_pending_or_has_ended_recovers_nothing() -> None:
    """A pack was used up, so that the balance is above 20 % without a top-up."""
    played = play(
        purchased(at(0), "a", calls=90, days=5), purchased(at(0), "b", calls=10, days=90), *calls(90)
    )
    played.on(ticked(at(10)), purchased(at(10), "pending", starts_at=at(20)))
    played.on(purchased(at(10), "ended", paid_at=at(0), days=2))
    assert played.of("recovery") == []


def test_a_pending_pack_that_starts_is_a_top_up() -> None:
    played = play(
        purchased(at(0), "a", calls=10), *calls(10), purchased(at(1), "b", calls=10, starts_at=at(20))
    )
    assert played.of("recovery") == []
    recovered = [entry for entry in played.on(ticked(at(20))) if entry.kind == "recovery"]
    assert len(recovered) == 4
    assert {entry.time_ms for entry in recovered} == {at(20)}


def test_a_refund_that_empties_the_balance_alerts() -> None:
    played = play(purchased(at(0), "a", calls=10), refunded(at(1), "a"))
    assert levels(played) == [20, 10, 5, 0]


def test_an_expiry_that_empties_the_balance_alerts_at_that_moment() -> None:
    played = play(purchased(at(0), "a", calls=10, days=5), ticked(at(30)))
    assert levels(played) == [20, 10, 5, 0]
    assert {e.time_ms for e in played.of("alert") if e.reason == "level"} == {at(5)}


def test_an_app_that_has_neither_trial_nor_pack_is_alerted_only_of_uncovered_calls() -> None:
    played = play(*calls(2), ticked(at(99)), *calls(2, 99))
    assert [entry.reason for entry in played.of("alert")] == ["uncovered"]


def test_the_trial_alone_alerts_at_its_levels() -> None:
    """Rule 18."""
    played = play(*calls(799), rules=Rules())
    assert played.of("alert") == []
    played.on(*calls(201))
    alerts = [entry for entry in played.of("alert") if entry.reason == "level"]
    assert [(entry.remaining, json.loads(entry.details)) for entry in alerts] == [
        (200, {"level_percent": 20, "size": 1_000}),
        (100, {"level_percent": 10, "size": 1_000}),
        (50, {"level_percent": 5, "size": 1_000}),
        (0, {"level_percent": 0, "size": 0}),
    ]
    played.on(purchased(at(2), "a", calls=250))
    assert levels(played, "recovery") == [20, 10, 5, 0]


def test_the_trial_counts_beside_the_packs_while_any_of_it_is_left() -> None:
    """Rule 18: 120 calls of trial and pack, then the pack's 20 alone."""
    pack = purchased(at(0), "a", calls=20)
    played = play(pack, *calls(95), rules=Rules(trial_calls=100))
    assert levels(played) == []
    played.on(*calls(1))
    assert [json.loads(e.details) for e in played.of("alert")] == [{"level_percent": 20, "size": 120}]
    played.on(*calls(21))
    assert levels(played) == [20]
    played.on(*calls(1))
    assert levels(played) == [20, 10]


def test_a_pack_bought_on_the_trial_recovers_its_levels() -> None:
    """Rule 18."""
    played = play(*calls(90), rules=Rules(trial_calls=100))
    assert levels(played) == [20, 10]
    played.on(purchased(at(1), "a", calls=100))
    assert levels(played, "recovery") == [20, 10]
    assert [json.loads(e.details)["size"] for e in played.of("recovery")] == [200, 200]


def test_a_shared_trial_alerts_every_capability_that_uses_it() -> None:
    realtime = succeeded(at(1), capability="realtime")
    both = play(realtime, *calls(7), rules=Rules(trial_calls=10))
    assert [(e.capability, e.remaining) for e in both.of("alert")] == [("quick", 2), ("realtime", 2)]
    assert {e.capability for e in play(*calls(10), rules=Rules(trial_calls=10)).of("alert")} == {"quick"}
    apart = play(realtime, *calls(8), rules=Rules(trial_calls=10, trial_scope="capability"))
    assert [(e.capability, e.remaining) for e in apart.of("alert")] == [("quick", 2)]


def test_an_owner_can_set_levels_for_the_trial() -> None:
    rules = Rules(trial_calls=10)
    before = play(alerting_set(at(0), levels_percent=[50]), *calls(10), rules=rules)
    assert levels(before) == [50]
    within = play(*calls(6), alerting_set(at(1), levels_percent=[50, 30]), *calls(2), rules=rules)
    assert levels(within) == [50, 30]


def test_the_trial_of_an_exempt_app_has_no_levels() -> None:
    played = play(registered(at(0), "government"), *calls(9), rules=Rules(trial_calls=1))
    assert played.of("alert") == []


def test_an_owner_can_set_other_levels() -> None:
    played = play(
        alerting_set(at(0), levels_percent=[50, 1, 50]), purchased(at(0), "a", calls=100), *calls(100)
    )
    assert levels(played) == [50, 1]


def test_levels_that_the_balance_has_reached_already_alert_when_they_are_set() -> None:
    played = play(purchased(at(0), "a", calls=10), *calls(4))
    assert levels(played) == []
    played.on(alerting_set(at(2), levels_percent=[70, 60, 10]))
    assert levels(played) == [70, 60]


def test_a_level_that_has_alerted_does_not_again_because_it_is_set_again() -> None:
    played = play(purchased(at(0), "a", calls=10), *calls(8), alerting_set(at(2), levels_percent=[20, 10]))
    assert levels(played) == [20]


def test_strange_levels_do_no_harm() -> None:
    hundred = play(alerting_set(at(0), levels_percent=[100, 0]), purchased(at(0), "a", calls=2), *calls(3))
    assert levels(hundred) == [0]
    none = play(alerting_set(at(0), levels_percent=[]), purchased(at(0), "a", calls=2), *calls(3))
    assert levels(none) == []


def test_what_an_owner_leaves_out_stays_as_it_was() -> None:
    played = play(alerting_set(at(0), levels_percent=[30]), alerting_set(at(0), run_out_lead_days=2))
    assert json.loads(played.of("alerting_set")[-1].details) == {
        "levels_percent": [30],
        "expiry_days": [15, 7, 3, 1, 0],
        "run_out_lead_days": 2,
        "burn_minute_calls": 60,
        "burn_client_calls": 30,
        "burn_percent": 300,
    }


def test_a_late_call_to_an_expired_pack_does_not_change_the_balance_now() -> None:
    played = play(
        purchased(at(0), "old", calls=10, days=5), purchased(at(0), "new", calls=10), denied(at(5.5))
    )
    before = len(played.of("alert"))
    played.on(*calls(9, 4))
    assert played.packs_charged() == ["old"] * 9
    assert len(played.of("alert")) == before


def forecasts(played: Play, kind: str = "alert") -> list[tuple[int, int]]:
    return [(e.remaining, e.time_ms) for e in played.of(kind) if e.reason == "run_out"]


def test_the_first_call_of_a_day_alerts_when_the_forecast_run_out_is_nearer_than_a_week() -> None:
    """At 10 calls a day, 79 calls last 7.9 days and 69 last 6.9."""
    played = play(purchased(at(0), "a", calls=110))
    for day in range(4):
        played.on(*calls(10, day))
    assert forecasts(played) == []
    played.on(*calls(10, 4))
    assert forecasts(played) == [(69, at(4))]
    (alert,) = [entry for entry in played.of("alert") if entry.reason == "run_out"]
    assert json.loads(alert.details) == {"hours_left": 69 * 24 // 10}


def test_the_run_out_alerts_once_and_recovers_after_a_top_up() -> None:
    played = play(purchased(at(0), "a", calls=40), *calls(10, 0), *calls(10, 1), *calls(10, 2))
    assert len(forecasts(played)) == 1
    played.on(purchased(at(2), "b", calls=1_000))
    assert len(forecasts(played, "recovery")) == 1
    played.on(*calls(1, 3))
    assert len(forecasts(played)) == 1


def test_a_takeover_that_shows_the_run_out_tells_it_when_the_pack_was_recorded() -> None:
    played = play(*calls(10, 0), *calls(10, 1), purchased(at(3), "a", calls=40, paid_at=at(0)))
    assert [time_ms for _, time_ms in forecasts(played)] == [at(3)]


def test_what_is_left_of_the_trial_counts_towards_the_run_out() -> None:
    """Rule 18."""
    played = play(*calls(10, 0), *calls(1, 1), rules=Rules(trial_calls=81))
    assert forecasts(played) == []
    assert len(forecasts(play(*calls(10, 0), *calls(1, 1), rules=Rules(trial_calls=80)))) == 1


def test_the_lead_time_is_a_setting_of_the_owner() -> None:
    taps = [*calls(10, 0), *calls(1, 1)]
    pack = purchased(at(0), "a", calls=50)
    assert len(forecasts(play(pack, *taps))) == 1
    assert forecasts(play(alerting_set(at(0), run_out_lead_days=3), pack, *taps)) == []
    assert forecasts(play(alerting_set(at(0), run_out_lead_days=0), pack, *taps)) == []


def test_a_call_dated_past_midnight_hides_no_call_of_today_from_the_run_out() -> None:
    """On day 3 the forecast goes by 10, 10 and 11 calls; without those of day 1, 72 would last a week."""
    played = play(purchased(at(0), "a", calls=104), *calls(10, 0))
    late_in_the_evening = at(1, hours=23)
    played.arriving((late_in_the_evening, succeeded(at(2))))
    played.arriving(*[(late_in_the_evening, call) for call in calls(10, 1)])
    played.on(*calls(10, 2))
    assert forecasts(played) == []
    played.on(*calls(1, 3))
    assert forecasts(played) == [(72, at(3))]


def test_the_first_day_has_no_forecast() -> None:
    assert forecasts(play(purchased(at(0), "a", calls=10), *calls(9, 0), rules=NO_TRIAL)) == []


def uncovered(played: Play, kind: str = "alert") -> list[tuple[int, int, str]]:
    return [(e.time_ms, e.remaining, e.details) for e in played.of(kind) if e.reason == "uncovered"]


def test_calls_that_begin_to_be_uncovered_alert_once_with_the_reason() -> None:
    played = play(*calls(3))
    assert uncovered(played) == [(at(1), 0, '{"why":"no_pack"}')]
    used = play(purchased(at(0), "a", calls=2), *calls(9))
    assert uncovered(used) == [(at(1), 0, '{"why":"exhausted"}')]


def test_uncovered_calls_recover_with_a_pack_that_still_holds_calls() -> None:
    played = play(*calls(3), purchased(at(2), "a", calls=2, paid_at=at(0)))
    assert uncovered(played, "recovery") == []
    played.on(purchased(at(2), "b", calls=2), *calls(2, 2))
    assert uncovered(played, "recovery") == [(at(2), 2, "{}")]
    assert len(uncovered(played)) == 1
    played.on(*calls(2, 3))
    assert [time_ms for time_ms, _, _ in uncovered(played)] == [at(1), at(3)]


def test_a_pending_pack_covers_again_when_it_starts() -> None:
    played = play(*calls(1), purchased(at(2), "a", calls=2, starts_at=at(5)), *calls(1, 3))
    assert uncovered(played, "recovery") == []
    played.on(ticked(at(6)))
    assert uncovered(played, "recovery") == [(at(5), 2, "{}")]


def test_a_late_call_that_nothing_covered_does_not_alert_while_todays_are_covered() -> None:
    played = play(purchased(at(5), "a", calls=9), *calls(3))
    assert uncovered(played) == []
    assert len(played.of("uncovered")) == 3


def test_each_capability_begins_to_be_uncovered_on_its_own() -> None:
    played = play(*calls(1), succeeded(at(1), capability="realtime"))
    assert [entry.capability for entry in played.of("alert")] == ["quick", "realtime"]


def test_a_call_of_more_than_a_day_before_alerts_of_nothing_and_the_next_current_one_tells_of_now() -> None:
    """Fired by the past, an alert would not be sent, and its level would not alert any more."""
    played = play(purchased(at(0), "a", calls=10), ticked(at(5)), *calls(9, 1))
    assert played.of("alert") == []
    played.on(*calls(1, 5))
    assert levels(played) == [20, 10, 5, 0]
    assert {entry.time_ms for entry in played.of("alert")} == {at(5)}
    played.on(*calls(2, 1))
    assert uncovered(played) == []
    played.on(*calls(1, 5))
    assert uncovered(played) == [(at(5), 0, '{"why":"exhausted"}')]


@pytest.mark.parametrize(("ms", "alerts"), [(0, 4), (1, 0)])
def test_a_call_is_past_after_exactly_a_day(ms: int, alerts: int) -> None:
    played = play(purchased(at(0), "a", calls=1), ticked(at(5)), succeeded(at(4) - ms))
    assert len(levels(played)) == alerts


def test_a_purchase_that_is_recorded_days_later_and_taken_over_alerts_with_the_next_current_call() -> None:
    played = play(ticked(at(5)), *calls(2), purchased(at(1), "a", calls=2))
    assert played.of("alert") == []
    played.on(*calls(1, 5))
    assert [entry.reason for entry in played.of("alert")] == ["uncovered"]


def test_days_further_back_than_a_week_do_not_slow_the_run_out() -> None:
    """Counted, they would make a week of idle days before the first current one."""
    history = [call for day in range(3) for call in calls(10, day)]
    packs = [purchased(at(0), "a", calls=100)]
    live = [*calls(10, 40), *calls(1, 41)]
    assert len(forecasts(play(*packs, ticked(at(40)), *history, *live))) == 1
    assert len(forecasts(play(*packs, ticked(at(3)), *history, *live))) == 0


def test_the_days_of_the_last_week_count_towards_the_run_out_of_today() -> None:
    history = [call for day in range(3) for call in calls(10, day)]
    played = play(purchased(at(0), "a", calls=60), ticked(at(5)), *history)
    assert forecasts(played) == []
    played.on(*calls(1, 5))
    assert forecasts(played) == [(29, at(5))]
