"""Openings: trial quotas and packs of which calls were used before the log (rules 13, 14 and 16)."""

import pytest

from metering import openings
from metering.rating import rate
from metering.rules import Rules
from tests.metering.building import (
    APP,
    NO_TRIAL,
    Play,
    at,
    observed,
    opened,
    pack_of,
    play,
    purchased,
    refunded,
    registered,
    succeeded,
    taken_back,
    ticked,
    trial_of,
)

TRIAL = Rules(trial_calls=10)
TRIALS = Rules(trial_calls=10, trial_scope="capability")


def booked(played: Play) -> list[tuple[str, int, int, str]]:
    """Pack, calls, remainder and reason of every opening."""
    return [(one.pack_id, one.calls, one.remaining, one.reason) for one in played.of("opening")]


def refusals(played: Play) -> list[str]:
    return [entry.reason for entry in played.of("opening_refused")]


def levels(played: Play) -> list[tuple[str, str, int]]:
    """Level alerts and recoveries, in order: kind, level and balance."""
    return [
        (entry.kind, entry.details.split('"level_percent":')[1].split(",")[0], entry.remaining)
        for entry in played.of("alert", "recovery")
        if entry.reason == "level"
    ]


def test_an_app_goes_live_with_the_balance_that_the_platform_has() -> None:
    lines = [
        purchased(at(90), "ZY9", calls=10_000, days=365, price=300_000_000, paid_at=at(0)),
        observed(at(90, ms=1), 1_000),
        observed(at(90, ms=2), 6_200, "ZY9"),
        *(succeeded(at(90, hours=1, ms=number)) for number in range(100)),
    ]
    rating = rate(lines, Rules())
    trial, pack = trial_of(rating), pack_of(rating, "ZY9")
    assert (trial.size, trial.used_before, trial.remaining) == (1_000, 1_000, 0)
    assert (pack.used_before, pack.remaining, pack.amount_micro_yuan) == (6_200, 3_700, 3_000_000)


def test_a_pack_is_bought_with_what_was_used_of_it() -> None:
    played = play(purchased(at(0), "pack-1", calls=10, used_before=7, price=10), succeeded(at(1)))
    bought, opening, charge, *_ = played.entries
    assert (bought.kind, bought.calls, bought.remaining, bought.amount_micro_yuan) == ("purchase", 10, 10, 10)
    assert (opening.kind, opening.calls, opening.amount_micro_yuan) == ("opening", 7, 0)
    assert (opening.event_id, opening.time_ms, opening.reason) == (bought.event_id, at(0), "stated")
    assert (charge.pack_id, charge.remaining) == ("pack-1", 2)


def test_the_next_call_costs_what_the_call_of_its_number_costs() -> None:
    whole = play(purchased(at(0), "pack-1", calls=7, price=100), *(succeeded(at(1)) for _ in range(7)))
    rest = play(
        purchased(at(0), "pack-1", calls=7, price=100, used_before=4), *(succeeded(at(1)) for _ in range(3))
    )
    costs = [entry.amount_micro_yuan for entry in whole.of("charge")]
    assert [entry.amount_micro_yuan for entry in rest.of("charge")] == costs[4:]


def test_a_pack_cannot_have_been_used_beyond_its_size() -> None:
    played = play(purchased(at(0), "pack-1", calls=10, used_before=11))
    assert [entry.reason for entry in played.of("rejection")] == ["invalid_field"]
    assert "11 calls can't have been used of a pack of 10" in played.dead_letters[0].sentence


def test_a_pack_that_was_used_up_before_covers_nothing() -> None:
    played = play(purchased(at(0), "pack-1", used_before=10, days=5), succeeded(at(1)), ticked(at(9)))
    assert [(entry.kind, entry.reason) for entry in played.of("uncovered", "lapse", "charge")] == [
        ("uncovered", "exhausted")
    ]
    (closed,) = played.state.accounts[APP].quick.closed
    assert (closed.status, played.state.accounts[APP].quick.active_size) == ("exhausted", 0)


def test_a_pack_that_was_used_up_before_it_starts_counts_in_no_size() -> None:
    played = play(purchased(at(0), "pack-1", used_before=10, starts_at=at(2)), ticked(at(3)))
    assert (played.state.accounts[APP].quick.active_size, played.state.accounts[APP].quick.open) == (0, ())


def test_a_pack_that_was_used_before_is_not_untouched() -> None:
    played = play(purchased(at(0), "pack-1", used_before=1), refunded(at(1), "pack-1"))
    assert [entry.reason for entry in played.of("refund_refused")] == ["used"]
    early = play(refunded(at(1), "pack-1"), purchased(at(2), "pack-1", used_before=1, paid_at=at(0)))
    assert [entry.reason for entry in early.of("refund_refused")] == ["used"]


def test_what_was_used_before_is_neither_refunded_nor_lost() -> None:
    bought = purchased(at(0), "pack-1", calls=10, price=10, used_before=7, days=5)
    (refund,) = play(bought, taken_back(at(1), "pack-1")).of("refund")
    (lapse,) = play(bought, ticked(at(9))).of("lapse")
    assert (refund.calls, refund.amount_micro_yuan) == (lapse.calls, lapse.amount_micro_yuan) == (3, 3)


def test_a_used_pack_takes_over_only_what_it_still_holds() -> None:
    taps = [succeeded(at(1)) for _ in range(3)]
    played = play(*taps, purchased(at(2), "pack-1", calls=10, used_before=8, paid_at=at(0)))
    assert sum(entry.calls for entry in played.of("uncovered")) == 1
    assert len(played.packs_charged()) == 2


def test_the_trial_quota_is_opened_as_stated() -> None:
    played = play(opened(at(0), 7), succeeded(at(1)), rules=TRIAL)
    assert booked(played) == [("", 7, 3, "stated")]
    assert [entry.remaining for entry in played.of("trial_charge")] == [2]


def test_of_two_openings_the_later_in_time_holds() -> None:
    played = play(opened(at(2), 4), opened(at(3), 6), opened(at(1), 1), rules=TRIAL)
    assert booked(played) == [("", 4, 6, "stated"), ("", 2, 4, "stated")]
    assert refusals(played) == ["older"]
    played.on(opened(at(4), 5))
    assert booked(played)[-1] == ("", -1, 5, "stated")


def test_an_opening_after_calls_were_taken_is_booked_if_it_fits() -> None:
    taps = [succeeded(at(1)) for _ in range(4)]
    assert booked(play(*taps, opened(at(2), 6), rules=TRIAL)) == [("", 6, 0, "stated")]
    assert refusals(play(*taps, opened(at(2), 7), rules=TRIAL)) == ["does_not_fit"]
    assert refusals(play(opened(at(2), 11), rules=TRIAL)) == ["does_not_fit"]


def test_a_trial_quota_of_each_capability_is_opened_by_its_name() -> None:
    played = play(opened(at(0), 7), opened(at(0), 7, capability="realtime"), rules=TRIALS)
    assert refusals(played) == ["capability_missing"]
    account = played.state.accounts[APP]
    assert (account.quick.trial, account.realtime.trial, account.trial) == (10, 3, 0)


def test_the_platforms_count_opens_what_has_no_call_yet() -> None:
    played = play(purchased(at(0), "pack-1"), observed(at(1), 4), observed(at(1), 6, "pack-1"), rules=TRIAL)
    assert booked(played) == [("", 4, 6, "observed"), ("pack-1", 6, 4, "observed")]
    own = play(observed(at(1), 4, capability="realtime"), rules=TRIALS)
    assert own.state.accounts[APP].realtime.trial_used_before == 4


@pytest.mark.parametrize("call", ["trial_charge", "charge", "uncovered", "exempt", "free", "past"])
def test_the_platforms_count_opens_nothing_in_an_app_that_counts_already(call: str) -> None:
    before = {
        "trial_charge": [succeeded(at(1))],
        "charge": [purchased(at(0), "pack-0"), succeeded(at(1))],
        "uncovered": [succeeded(at(1))],
        "exempt": [registered(at(0), "government"), succeeded(at(1)), registered(at(1), "company")],
        "free": [succeeded(at(-1))],
        "past": [purchased(at(0), "pack-0"), ticked(at(20)), succeeded(at(1))],
    }[call]
    rules = TRIAL if call == "trial_charge" else NO_TRIAL
    played = play(*before, purchased(at(20), "pack-1"), rules=rules)
    assert call == "past" or played.of(call)
    played.on(observed(at(21), 4), observed(at(21), 6, "pack-1"))
    assert booked(played) == []
    assert len(played.of("usage_observed")) == 2


def test_calls_of_the_other_capability_hinder_no_opening_of_a_pack() -> None:
    played = play(
        succeeded(at(0), capability="realtime"), purchased(at(1), "pack-1"), observed(at(2), 6, "pack-1")
    )
    assert booked(played) == [("pack-1", 6, 4, "observed")]


def test_of_two_counts_before_the_first_call_the_later_in_time_holds() -> None:
    played = play(
        purchased(at(0), "pack-1"),
        observed(at(2), 6, "pack-1"),
        observed(at(3), 8, "pack-1"),
        observed(at(1), 3, "pack-1"),
        succeeded(at(4)),
        observed(at(5), 9, "pack-1"),
    )
    assert booked(played) == [("pack-1", 6, 4, "observed"), ("pack-1", 2, 2, "observed")]
    assert [entry.remaining for entry in played.of("charge")] == [1]


def test_a_count_above_the_size_opens_the_quota_as_used_up_and_a_later_one_corrects_it() -> None:
    played = play(purchased(at(0), "pack-1"), observed(at(1), 99, "pack-1"))
    assert booked(played) == [("pack-1", 10, 0, "observed")]
    assert played.state.accounts[APP].quick.active_size == 0
    played.on(observed(at(2), 9, "pack-1"), succeeded(at(3)))
    assert booked(played)[-1] == ("pack-1", -1, 1, "observed")
    assert played.packs_charged() == ["pack-1"]


def test_a_count_holds_against_what_an_earlier_purchase_stated() -> None:
    played = play(purchased(at(1), "pack-1", used_before=3), observed(at(2), 5, "pack-1"))
    assert booked(played) == [("pack-1", 3, 7, "stated"), ("pack-1", 2, 5, "observed")]
    older = play(purchased(at(2), "pack-1", used_before=3), observed(at(1), 5, "pack-1"))
    assert booked(older) == [("pack-1", 3, 7, "stated")]


def test_a_count_of_a_whole_capability_opens_nothing() -> None:
    assert booked(play(observed(at(1), 6, covers="capability"), rules=TRIAL)) == []


def test_a_count_waits_for_the_purchase_of_its_pack() -> None:
    played = play(observed(at(1), 4, "pack-1"), observed(at(2), 6, "pack-1"), observed(at(1), 5, "pack-1"))
    assert booked(played) == []
    played.on(succeeded(at(3)), purchased(at(4), "pack-1", paid_at=at(0)))
    assert booked(played) == [("pack-1", 6, 4, "observed")]
    assert [entry.time_ms for entry in played.of("opening")] == [at(2)]
    assert [entry.remaining for entry in played.of("charge")] == [3]
    assert played.state.accounts[APP].early_observations == ()


def test_a_count_from_after_the_first_call_does_not_wait() -> None:
    played = play(succeeded(at(1)), observed(at(2), 4, "pack-1"), purchased(at(4), "pack-1", paid_at=at(3)))
    assert booked(played) == []


def test_a_waiting_count_of_another_capability_is_none_of_the_pack() -> None:
    played = play(observed(at(1), 4, "pack-1", capability="realtime"), purchased(at(2), "pack-1"))
    assert booked(played) == []


def test_an_app_has_a_limited_number_of_counts_that_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openings, "EARLY_OBSERVATIONS_MAX", 2)
    played = play(*(observed(at(1), 4, f"pack-{number}") for number in range(3)))
    played.on(observed(at(2), 5, "pack-0"), *(purchased(at(3), f"pack-{number}") for number in range(3)))
    assert booked(played) == [("pack-0", 5, 5, "observed"), ("pack-1", 4, 6, "observed")]


def test_a_count_of_a_pack_that_has_ended_opens_nothing() -> None:
    played = play(purchased(at(0), "pack-1", days=1), ticked(at(9)), observed(at(9), 5, "pack-1"))
    assert booked(played) == []
    assert played.state.accounts[APP].early_observations == ()


def test_a_pack_that_is_bought_nearly_used_up_alerts_once_and_recovers_at_every_level() -> None:
    played = play(purchased(at(0), "pack-1", calls=100, used_before=97))
    assert levels(played) == [("alert", "5", 3)]
    played.on(succeeded(at(0)), succeeded(at(0)), succeeded(at(0)))
    assert levels(played)[1:] == [("alert", "0", 0)]
    played.on(purchased(at(1), "pack-2", calls=100))
    assert [(kind, level) for kind, level, _ in levels(played)[2:]] == [
        ("recovery", level) for level in ("20", "10", "5", "0")
    ]


def test_a_pack_that_still_holds_enough_alerts_nothing_at_its_opening() -> None:
    played = play(purchased(at(0), "pack-1", calls=100), observed(at(0), 62, "pack-1"))
    assert levels(played) == []
    for _ in range(18):
        played.on(succeeded(at(0)))
    assert levels(played) == [("alert", "20", 20)]


def test_a_count_that_leaves_little_alerts_once() -> None:
    played = play(purchased(at(0), "pack-1", calls=100), observed(at(0), 97, "pack-1"))
    assert levels(played) == [("alert", "5", 3)]


def test_a_trial_quota_that_is_opened_nearly_used_up_alerts_once_with_its_first_call() -> None:
    played = play(opened(at(0), 97), rules=Rules(trial_calls=100))
    assert levels(played) == []
    assert levels(Play(played.rules, played.state).with_(succeeded(at(0)))) == [("alert", "5", 2)]


def test_an_opening_of_the_past_leaves_the_lowest_level_to_the_next_call() -> None:
    played = play(ticked(at(50)), purchased(at(40), "pack-1", calls=100, used_before=97))
    assert levels(played) == []
    played.on(succeeded(at(50)))
    assert levels(played) == [("alert", "5", 2)]
