"""Abnormal burn rates (rule 13): a minute or a client far beyond its history alerts once an episode."""

import json
from typing import Any

from metering.accounts import encode_account
from metering.burn_rate import CLIENTS_MAX, HISTORY_DAYS
from metering.rules import Rules
from tests.metering.building import Play, alerting_set, at, denied, play, purchased, succeeded, ticked

MINUTE_MS = 60_000
RULES = Rules(trial_calls=0, burn_minute_calls=6, burn_client_calls=4)
PACK = purchased(at(0), "a", calls=1_000_000, days=365)


def calls(number: int, day: float, *, minute: int = 0, client: str = "", gap_ms: int = 0) -> list[bytes]:
    """Calls from a minute of a day on; days of these tests are Shanghai days."""
    start_ms = at(day, ms=minute * MINUTE_MS)
    return [succeeded(start_ms + number * gap_ms, client=client) for number in range(number)]


def burns(played: Play, reason: str) -> list[tuple[int, dict[str, Any]]]:
    return [
        (entry.time_ms, json.loads(entry.details)) for entry in played.of("alert") if entry.reason == reason
    ]


def minutes(played: Play) -> list[tuple[int, dict[str, Any]]]:
    return burns(played, "minute_burn")


def clients(played: Play) -> list[tuple[int, dict[str, Any]]]:
    return burns(played, "client_burn")


def after_a_week(busiest: int = 1, *more: bytes) -> Play:
    """Seven days, each with a busiest minute of so many calls."""
    played = play(PACK, *more, rules=RULES)
    for day in range(HISTORY_DAYS):
        played.on(*calls(busiest, day))
    return played


def test_a_minute_that_reaches_the_limit_alerts_at_that_call() -> None:
    played = after_a_week()
    assert minutes(played) == []
    assert [e.kind for e in played.on(*calls(5, 7))] == ["charge"] * 5
    entries = played.on(*calls(2, 7))
    assert [(e.kind, e.reason) for e in entries] == [("charge", ""), ("alert", "minute_burn"), ("charge", "")]
    assert minutes(played) == [(at(7), {"calls": 6, "usual": 1})]
    assert entries[1].remaining == 1_000_000 - 7 - 6


def test_the_limit_is_three_times_the_busiest_minute_of_the_week() -> None:
    played = after_a_week(5)
    assert minutes(played.with_(*calls(14, 7))) == []
    assert minutes(played.with_(*calls(15, 7))) == [(at(7), {"calls": 15, "usual": 5})]


def test_the_calls_of_other_minutes_do_not_add_up() -> None:
    played = after_a_week()
    for minute in range(20):
        played.on(*calls(5, 7, minute=minute))
    assert minutes(played) == []


def test_an_app_younger_than_a_week_has_no_history_to_hold_a_minute_against() -> None:
    played = play(PACK, rules=RULES)
    for day in range(HISTORY_DAYS):
        played.on(*calls(50, day))
    assert minutes(played) == []


def test_days_without_a_call_are_history_too() -> None:
    assert minutes(play(PACK, *calls(1, 0), *calls(6, 7), rules=RULES)) == [(at(7), {"calls": 6, "usual": 1})]
    assert minutes(play(PACK, *calls(50, 0), *calls(6, 8), rules=RULES)) == [
        (at(8), {"calls": 6, "usual": 0})
    ]


def test_an_episode_alerts_once_and_ends_after_an_hour_without_an_abnormal_minute() -> None:
    played = after_a_week()
    for minute in (0, 1, 30, 90, 150, 211, 212):
        played.on(*calls(9, 7, minute=minute))
    assert [time_ms for time_ms, _ in minutes(played)] == [at(7), at(7, ms=211 * MINUTE_MS)]


def test_an_abnormal_minute_enters_the_history_as_the_limit_that_it_broke() -> None:
    played = after_a_week()
    played.on(*calls(100, 7), *calls(18, 8))
    assert minutes(played) == [(at(7), {"calls": 6, "usual": 1}), (at(8), {"calls": 18, "usual": 6})]


def test_a_late_minute_raises_nothing_and_enters_no_history() -> None:
    played = after_a_week()
    played.on(*calls(1, 7, minute=5), *calls(50, 7, minute=4), *calls(50, 3))
    assert minutes(played) == []
    assert minutes(played.with_(*calls(6, 8))) == [(at(8), {"calls": 6, "usual": 1})]


def test_a_call_dated_in_the_future_does_not_hide_what_burns_when_it_arrives() -> None:
    ahead = (at(7), succeeded(at(7, ms=59 * MINUTE_MS)))
    played = after_a_week()
    played.arriving(ahead, *[(at(7, ms=MINUTE_MS), call) for call in calls(6, 7, minute=1, client="bot")])
    assert minutes(played) == [(at(7, ms=MINUTE_MS), {"calls": 6, "usual": 1})]
    over_the_hour = (at(7, ms=30 * MINUTE_MS), succeeded(at(7, ms=61 * MINUTE_MS)))
    played = after_a_week()
    played.arriving(
        over_the_hour, *[(at(7, ms=31 * MINUTE_MS), call) for call in calls(4, 7, minute=31, client="bot")]
    )
    assert clients(played) == [(at(7, ms=31 * MINUTE_MS), {"client": "bot", "calls": 4, "usual": 0})]


def test_calls_dated_over_the_next_hour_burn_in_the_minute_in_which_they_arrive() -> None:
    played = after_a_week()
    spread = [succeeded(at(7, ms=(number + 1) * MINUTE_MS), client="bot") for number in range(6)]
    played.arriving(*[(at(7), call) for call in spread])
    assert [details["calls"] for _, details in minutes(played)] == [6]
    assert [time_ms for time_ms, _ in minutes(played)] == [at(7, ms=6 * MINUTE_MS)]


def test_a_call_that_arrives_late_still_belongs_to_the_minute_in_which_it_happened() -> None:
    played = after_a_week()
    played.arriving(
        *[(at(7, ms=20 * MINUTE_MS), call) for minute in range(6) for call in calls(5, 7, minute=minute)]
    )
    assert minutes(played) == []


def test_only_charged_calls_burn() -> None:
    played = after_a_week()
    played.on(*[denied(at(7)) for _ in range(50)])
    uncovered = [succeeded(at(7), capability="realtime", client="x") for _ in range(50)]
    played.on(*uncovered, purchased(at(7), "late", calls=100, paid_at=at(6), capability="realtime"))
    assert len(played.of("charge")) == 7 + 50
    assert minutes(played) == clients(played) == []


def test_calls_of_the_trial_quota_burn_it() -> None:
    played = play(*calls(4, 0, client="bot"), rules=Rules(burn_client_calls=4))
    assert clients(played) == [(at(0), {"client": "bot", "calls": 4, "usual": 0})]
    assert played.of("alert")[0].remaining == 996


def test_a_client_that_reaches_the_limit_within_an_hour_alerts_from_the_first_day_on() -> None:
    played = play(PACK, *calls(4, 0, client="bot", gap_ms=10 * MINUTE_MS), rules=RULES)
    assert clients(played) == [(at(0, ms=30 * MINUTE_MS), {"client": "bot", "calls": 4, "usual": 0})]
    assert clients(play(PACK, *calls(4, 0, client="slow", gap_ms=20 * MINUTE_MS), rules=RULES)) == []
    assert clients(play(PACK, *calls(50, 0), rules=RULES)) == []


def test_a_client_is_found_among_many_others_if_it_takes_more_than_a_ninth() -> None:
    played = play(PACK, rules=RULES)
    for number in range(20):
        others = [succeeded(at(0), client=f"user-{number}-{other}") for other in range(CLIENTS_MAX - 1)]
        played.on(*calls(1, 0, client="bot"), *others)
    assert [details["client"] for _, details in clients(played)] == ["bot"]


def test_a_client_is_never_counted_higher_than_it_called() -> None:
    played = play(PACK, rules=RULES)
    played.on(*[succeeded(at(0), client=f"user-{number % 40}") for number in range(120)])
    assert clients(played) == []


def test_a_clients_episode_alerts_once_and_ends_with_a_whole_hour_without() -> None:
    played = play(PACK, rules=RULES)
    for hour in (0, 1, 2, 4):
        played.on(*calls(9, 0, minute=60 * hour, client="bot"))
    assert [time_ms for time_ms, _ in clients(played)] == [at(0), at(0, hours=4)]


def test_each_client_has_its_own_episode() -> None:
    played = play(PACK, *calls(9, 0, client="a"), *calls(9, 0, minute=1, client="b"), rules=RULES)
    assert [details["client"] for _, details in clients(played)] == ["a", "b"]


def test_a_flood_of_abnormal_clients_is_named_up_to_eight_an_hour() -> None:
    played = play(PACK, rules=RULES)
    for number in range(30):
        played.on(*calls(4, 0, client=f"bot-{number}"), *[succeeded(at(0), client=f"{n}") for n in range(90)])
    assert 0 < len(clients(played)) <= CLIENTS_MAX


def test_a_client_that_is_always_busy_becomes_usual() -> None:
    played = play(PACK, rules=RULES)
    for day in range(3):
        played.on(*calls(12, day, client="kiosk"))
    assert clients(played) == [
        (at(0), {"client": "kiosk", "calls": 4, "usual": 0}),
        (at(1), {"client": "kiosk", "calls": 12, "usual": 4}),
    ]


def test_a_call_of_an_hour_that_is_over_is_not_counted_for_its_client() -> None:
    played = play(PACK, *calls(3, 0, minute=61, client="bot"), *calls(9, 0, minute=59, client="bot"))
    played.on(*calls(1, 0, minute=60, client="bot"))
    assert clients(played) == []
    late = play(PACK, *calls(3, 0, minute=61, client="bot"), rules=RULES)
    assert len(clients(late.with_(*calls(1, 0, minute=60, client="bot")))) == 1


def test_an_owner_can_set_other_limits_and_none() -> None:
    played = play(PACK, alerting_set(at(0), burn_client_calls=2), *calls(2, 0, client="bot"))
    assert len(clients(played)) == 1
    none = play(PACK, alerting_set(at(0), burn_client_calls=0), *calls(99, 0, client="bot"), rules=RULES)
    assert clients(none) == []
    quiet = after_a_week(1, alerting_set(at(0), burn_minute_calls=0))
    assert minutes(quiet.with_(*calls(99, 7))) == []
    steep = after_a_week(5)
    steep.on(alerting_set(at(7), burn_percent=1_000))
    assert minutes(steep.with_(*calls(49, 7))) == []
    assert minutes(steep.with_(*calls(50, 7))) == [(at(7), {"calls": 50, "usual": 5})]


def test_a_takeover_does_not_move_the_minute() -> None:
    played = after_a_week()
    played.on(
        *calls(5, 7), purchased(at(7), "b", calls=9, paid_at=at(0), capability="realtime"), *calls(1, 7)
    )
    assert len(minutes(played)) == 1


def test_what_is_known_of_burn_stays_small() -> None:
    """Clients of the greatest length and full history in both capabilities."""
    played = play(PACK, purchased(at(0), "b", calls=1_000_000, capability="realtime"), rules=RULES)
    before = max(len(encode_account(account)) for account in played.state.accounts.values())
    for day in range(HISTORY_DAYS + 1):
        for capability in ("quick", "realtime"):
            played.on(
                *[
                    succeeded(at(day), capability=capability, client=f"{number % CLIENTS_MAX:0128}")
                    for number in range(9 * CLIENTS_MAX)
                ]
            )
    after = max(len(encode_account(account)) for account in played.state.accounts.values())
    assert after - before < 5_000


def test_a_lowered_limit_takes_nothing_from_todays_history() -> None:
    played = play(PACK, alerting_set(at(0), burn_client_calls=40), *calls(36, 0, client="kiosk"), rules=RULES)
    played.on(
        *calls(1, 0, minute=60), alerting_set(at(0.1), burn_client_calls=4), *calls(39, 0.2, client="kiosk")
    )
    played.on(*calls(108, 1, client="kiosk"))
    assert clients(played)[-1] == (at(1), {"client": "kiosk", "calls": 108, "usual": 36})


def test_minutes_further_back_than_a_week_are_no_history() -> None:
    """Counted, they would make a week of idle days, and the first busy minute of today abnormal."""
    past = [call for day in range(9) for call in calls(1, day)]
    played = play(purchased(at(0), "pack", calls=9_000), ticked(at(40)), *past, rules=RULES)
    played.on(*calls(50, 40))
    assert minutes(played) == []


def test_minutes_of_the_last_week_are_history_even_if_they_are_imported() -> None:
    past = [call for day in range(8) for call in calls(3, day)]
    played = play(purchased(at(0), "pack", calls=9_000), ticked(at(8)), *past, rules=RULES)
    assert played.of("alert") == []
    played.on(*calls(50, 8))
    assert minutes(played) == [(at(8), {"calls": 9, "usual": 3})]


def test_history_beside_current_calls_enters_no_minute() -> None:
    played = after_a_week()
    past = [call for day in range(7) for call in calls(50, day)]
    played.on(*calls(1, 7), *past, *calls(4, 7))
    assert minutes(played) == []
    played.on(*calls(1, 7))
    assert minutes(played) == [(at(7), {"calls": 6, "usual": 1})]
