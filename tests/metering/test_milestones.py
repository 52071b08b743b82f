"""Milestones of packs: start, nearing expiry, expiry and lapse (rules 6, 8 and 13)."""

import json

from metering.rules import Rules
from tests.metering.building import (
    APP,
    alerting_set,
    at,
    denied,
    play,
    purchased,
    refunded,
    succeeded,
    ticked,
)


def test_what_is_left_lapses_when_the_lateness_is_over_with_the_expiry_as_its_time() -> None:
    played = play(purchased(at(0), "pack-1", days=5, price=1_000), succeeded(at(1)))
    played.on(ticked(at(6, ms=-1)))
    assert played.of("lapse") == []
    (lapse,) = [entry for entry in played.on(ticked(at(6))) if entry.kind == "lapse"]
    assert (lapse.time_ms, lapse.calls, lapse.amount_micro_yuan) == (at(5), 9, 900)
    assert (lapse.appid, lapse.capability, lapse.pack_id, lapse.remaining) == (APP, "quick", "pack-1", 0)


def test_a_pack_lapses_once() -> None:
    played = play(purchased(at(0), "pack-1", days=5), ticked(at(6)), ticked(at(7)), denied(at(8)))
    assert len(played.of("lapse")) == 1


def test_a_pack_lapses_on_its_apps_own_events_without_any_tick() -> None:
    played = play(purchased(at(0), "pack-1", days=5), denied(at(6)))
    assert [entry.kind for entry in played.entries[-2:]] == ["lapse", "denied"]


def test_an_exhausted_pack_does_not_lapse() -> None:
    assert (
        play(purchased(at(0), "pack-1", calls=1, days=5), succeeded(at(1)), ticked(at(9))).of("lapse") == []
    )


def test_a_refunded_pack_does_not_lapse() -> None:
    assert (
        play(purchased(at(0), "pack-1", days=5), refunded(at(1), "pack-1"), ticked(at(9))).of("lapse") == []
    )


def test_a_pack_that_was_never_used_lapses_whole() -> None:
    (lapse,) = play(purchased(at(0), "pack-1", days=5, price=7), ticked(at(9))).of("lapse")
    assert (lapse.calls, lapse.amount_micro_yuan) == (10, 7)


def test_the_moment_of_the_tick_lapses_the_packs_of_all_apps_in_the_order_of_their_ids() -> None:
    played = play(*[purchased(at(0), "pack-1", days=5, app=app) for app in ("wx-b", "wx-c", "wx-a")])
    assert [entry.appid for entry in played.on(ticked(at(20))) if entry.kind == "lapse"] == [
        "wx-a",
        "wx-b",
        "wx-c",
    ]


def test_a_tick_that_is_older_than_another_does_nothing() -> None:
    played = play(purchased(at(0), "pack-1", days=5), ticked(at(3)))
    assert played.on(ticked(at(2))) == []
    assert played.state.tick_ms == at(3)


def test_a_tick_touches_no_account_for_which_nothing_is_due() -> None:
    played = play(purchased(at(0), "pack-1", days=90), succeeded(at(1), app="wx-other"))
    before = played.state
    played.on(ticked(at(2)))
    assert played.state.accounts is before.accounts
    assert played.state.tick_ms == at(2)


def test_a_tick_says_nothing_of_apps_that_own_nothing() -> None:
    assert play(succeeded(at(1)), ticked(at(400))).kinds() == ["uncovered", "alert"]


def test_an_app_seen_first_after_a_tick_lives_in_the_time_of_that_tick() -> None:
    played = play(ticked(at(100)), purchased(at(0), "pack-1", days=5))
    assert played.kinds() == ["purchase", "lapse"]


def test_an_app_is_warned_15_7_3_1_and_0_days_before_calls_lapse() -> None:
    played = play(purchased(at(0), "pack-1", days=90), *[ticked(at(day)) for day in range(92)])
    warnings = [entry for entry in played.of("alert") if entry.reason == "expiry"]
    assert [(at(90) - entry.time_ms) // 86_400_000 for entry in warnings] == [15, 7, 3, 1, 0]
    assert [json.loads(entry.details)["days"] for entry in warnings] == [15, 7, 3, 1, 0]
    assert {entry.remaining for entry in warnings} == {10}
    assert {json.loads(entry.details)["expires_at_ms"] for entry in warnings} == {at(90)}


def test_after_a_long_silence_all_that_fell_due_is_told_in_its_order() -> None:
    played = play(purchased(at(0), "late", days=90), purchased(at(0), "early", days=20), ticked(at(200)))
    told = [(e.pack_id, e.kind) for e in played.entries if e.kind == "lapse" or e.reason == "expiry"]
    assert told == [
        *[("early", "alert")] * 5,
        ("early", "lapse"),
        *[("late", "alert")] * 5,
        ("late", "lapse"),
    ]


def test_no_one_is_warned_of_the_expiry_of_a_pack_that_holds_nothing() -> None:
    played = play(purchased(at(0), "pack-1", calls=1, days=20), succeeded(at(1)), ticked(at(30)))
    assert [entry for entry in played.entries if entry.reason == "expiry"] == []


def test_no_one_is_warned_before_a_pack_has_started() -> None:
    played = play(purchased(at(0), "pack-1", days=5, starts_at=at(30)), ticked(at(60)))
    warnings = [entry.time_ms for entry in played.of("alert") if entry.reason == "expiry"]
    assert warnings == [at(32), at(34), at(35)]


def test_an_owner_can_set_other_days_to_be_warned_on() -> None:
    played = play(
        alerting_set(at(0), expiry_days=[2, 30, 2]), purchased(at(1), "pack-1", days=90), ticked(at(99))
    )
    warnings = [entry.time_ms for entry in played.of("alert") if entry.reason == "expiry"]
    assert warnings == [at(61), at(89)]


def test_days_set_later_hold_for_what_is_still_to_come() -> None:
    played = play(
        purchased(at(0), "pack-1", days=90), ticked(at(88)), alerting_set(at(88), expiry_days=[5, 1])
    )
    assert [e.time_ms for e in played.on(ticked(at(89))) if e.reason == "expiry"] == [at(89)]


def test_without_any_lateness_the_warning_of_the_day_comes_before_the_lapse() -> None:
    rules = Rules(trial_calls=0, allowed_lateness_ms=0, alert_levels_percent=())
    played = play(purchased(at(0), "pack-1", days=5), ticked(at(4.5)), rules=rules)
    assert [(e.kind, e.reason) for e in played.on(ticked(at(5)))] == [("alert", "expiry"), ("lapse", "")]
