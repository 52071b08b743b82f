"""What one record did, and why: the reasons come from the code that decides."""

import pytest
from hypothesis import given

from metering.alerts import sentence_of
from metering.explaining import Balance, Explanation, explain
from metering.partition import PartitionState, meter
from metering.rules import Rules
from tests.metering.building import (
    APP,
    NO_TRIAL,
    Play,
    at,
    denied,
    failed,
    play,
    purchased,
    records,
    refunded,
    registered,
    succeeded,
    ticked,
)
from tests.metering.logs import Log, logs


def explained(played: Play, value: bytes) -> Explanation:
    """Explain the next record of a log, and hold it against what the rules then do."""
    (record,) = records([value], played.state.next_offset)
    explanation = explain(played.state, record, played.rules)
    assert explanation.entries == played.on(value)
    return explanation


def verdicts(explanation: Explanation) -> list[tuple[str, str]]:
    return [(pack.pack_id, pack.verdict) for pack in explanation.considered]


def test_a_charged_call_tells_the_packs_in_burn_order_and_the_balance() -> None:
    played = play(
        purchased(at(1), "late", days=365, calls=7),
        purchased(at(1), "early", days=90, calls=5),
        purchased(at(1), "pending", starts_at=at(20)),
    )
    told = explained(played, succeeded(at(2), event_id="tap"))
    assert (told.decision, told.pack_id, told.event_id, told.appid) == ("charge", "early", "tap", APP)
    assert verdicts(told) == [("early", "taken"), ("pending", "not_started"), ("late", "not_needed")]
    assert [pack.remaining for pack in told.considered] == [5, 10, 7]
    assert told.before == Balance(12, 0, {"early": 5, "pending": 10, "late": 7})
    assert told.after == Balance(11, 0, {"early": 4, "pending": 10, "late": 7})
    assert told.why.startswith("Pack early took the call")


def test_the_trial_comes_before_any_pack() -> None:
    played = play(purchased(at(1), "p", calls=5), rules=Rules(trial_calls=3))
    told = explained(played, succeeded(at(2)))
    assert (told.decision, verdicts(told)) == ("trial_charge", [("p", "not_needed")])
    assert told.why == "The trial quota took the call, before any pack; it holds 2 more."
    assert told.before == Balance(8, 3, {"p": 5})
    assert told.after == Balance(7, 2, {"p": 5})


def test_the_first_event_of_an_app_finds_its_trial_whole() -> None:
    told = explained(play(rules=Rules(trial_calls=3)), succeeded(at(2)))
    assert told.before == Balance(3, 3, {})
    assert [entry.kind for entry in told.entries] == ["trial_grant", "trial_charge"]


def test_the_last_call_of_a_pack_and_the_one_after_it() -> None:
    played = play(purchased(at(1), "p", calls=1))
    last = explained(played, succeeded(at(2)))
    assert last.after == Balance(0, 0, {"p": 0})
    told = explained(played, succeeded(at(3)))
    assert (told.decision, told.reason, verdicts(told)) == ("uncovered", "exhausted", [("p", "exhausted")])
    assert told.why == (
        "Nothing could cover the call: the trial quota is used up, and the packs that were valid at its time "
        "held no calls any more."
    )


def test_a_call_without_any_pack_is_told() -> None:
    told = explained(play(), succeeded(at(3)))
    assert (told.decision, told.reason, told.considered) == ("uncovered", "no_pack", [])


def test_a_pack_that_expired_is_passed_over_and_one_that_lapsed_came_too_late() -> None:
    played = play(purchased(at(1), "short", days=90, calls=5), purchased(at(1), "long", days=180, calls=5))
    told = explained(played, succeeded(at(91.5)))
    assert verdicts(told) == [("short", "expired"), ("long", "taken")]
    played = play(purchased(at(1), "short", days=90, calls=5), ticked(at(100)))
    told = explained(played, succeeded(at(50)))
    assert (told.reason, verdicts(told)) == ("too_late", [("short", "lapsed")])


def test_time_that_passes_with_the_event_is_part_of_the_decision() -> None:
    """The pack lapses as the event moves the app's clock, before the call looks for a pack."""
    played = play(purchased(at(1), "short", days=90, calls=5))
    told = explained(played, succeeded(at(100)))
    assert [entry.kind for entry in told.entries if entry.kind != "alert"] == ["lapse", "uncovered"]
    assert told.before == Balance(0, 0, {})
    assert told.clock_ms == at(100)


def test_a_duplicate_says_when_its_id_was_seen() -> None:
    played = play(succeeded(at(2), event_id="tap"))
    told = explained(played, succeeded(at(2.5), event_id="tap"))
    assert (told.decision, told.seen_at_ms) == ("duplicate", at(2))
    assert "less than 24 h before" in told.why
    assert told.before == told.after


@pytest.mark.parametrize(
    ("value", "decision", "why"),
    [
        (succeeded(at(-5)), "free", "before billing began"),
        (denied(at(1)), "denied", "errno 103"),
        (failed(at(1)), "failed", "errno 1400001"),
        (purchased(at(1), "p", calls=250), "purchase", "Pack p of 250 calls was added."),
        (refunded(at(1), "p"), "refund_refused", "the app never bought that pack"),
        (registered(at(1), "government"), "registration", "are exempt"),
        (b"{broken", "rejection", "The record is no event. The event is not a JSON object"),
        (ticked(at(1)), "tick", "Time passed."),
    ],
)
def test_every_other_record_is_explained_too(value: bytes, decision: str, why: str) -> None:
    told = explained(play(), value)
    assert told.decision == decision
    assert why in told.why


def test_an_exempt_app_says_whose_it_is() -> None:
    told = explained(play(registered(at(1), "government")), succeeded(at(2)))
    assert (told.decision, told.considered) == ("exempt", [])
    assert "(government)" in told.why


def test_a_purchase_says_what_it_took_over_and_refunds_say_why_not() -> None:
    played = play(succeeded(at(3)), succeeded(at(4)))
    told = explained(played, purchased(at(5), "p", paid_at=at(2)))
    assert told.why == "Pack p of 10 calls was added and took over 2 uncovered calls."
    assert explained(played, refunded(at(6), "p")).why == (
        "The refund of pack p was refused: calls of the pack have been used."
    )
    assert explained(play(purchased(at(5), "q")), refunded(at(6), "q")).decision == "refund"
    again = explained(play(purchased(at(5), "q")), purchased(at(6), "q"))
    assert again.why == "The purchase of pack q was refused: a pack of that id was bought before."


def test_without_a_trial_the_balance_is_the_packs() -> None:
    assert NO_TRIAL.trial_calls == 0
    assert explained(play(), succeeded(at(1))).before == Balance(0, 0, {})


@given(logs)
def test_the_pack_that_is_said_to_take_a_call_is_the_one_that_is_charged(log: Log) -> None:
    """The order in which packs are told is the order of charging, whatever happens in a log."""
    state = PartitionState(0)
    for record in records(log.values):
        told = explain(state, record, log.rules)
        metered = meter(state, [record], log.rules)
        assert told.entries == metered.entries
        taken = [pack.pack_id for pack in told.considered if pack.verdict == "taken"]
        assert taken == ([told.pack_id] if told.decision == "charge" else [])
        if told.decision == "charge":
            assert told.before is not None
            assert told.after is not None
            assert told.before.packs[told.pack_id] - told.after.packs.get(told.pack_id, 0) == 1
        state = metered.state


def test_the_alerts_of_a_record_are_told() -> None:
    played = play(purchased(at(1), "p", calls=2), succeeded(at(1)))
    assert explained(played, succeeded(at(1))).alerts == [
        "0 of 2 calls were left, which is 20 % or less.",
        "0 of 2 calls were left, which is 10 % or less.",
        "0 of 2 calls were left, which is 5 % or less.",
        "0 of 2 calls were left, which is 0 % or less.",
    ]
    assert explained(played, succeeded(at(3))).alerts == ["Calls began to be uncovered (exhausted)."]
    assert explained(played, ticked(at(400))).alerts == []


def test_every_kind_of_alert_has_a_sentence() -> None:
    rules = Rules(trial_calls=0, burn_minute_calls=2, burn_client_calls=2)
    played = play(purchased(at(0), "p", calls=4, days=20), succeeded(at(0)), ticked(at(8)), rules=rules)
    played.on(*[succeeded(at(9), client="bot") for _ in range(5)], purchased(at(9), "q", calls=50))
    played.on(*[succeeded(at(10 + day)) for day in range(3) for _ in range(12)])
    played.on(purchased(at(12), "r", calls=5_000))
    told = {(e.kind, e.reason): sentence_of(e) for e in played.of("alert", "recovery")}
    assert told == {
        ("alert", "expiry"): "Pack p held 3 calls that expire within 15 days.",
        ("alert", "minute_burn"): "6 calls were charged in one minute; the busiest of 7 days before had 2.",
        ("alert", "client_burn"): "Client bot took 2 calls in one hour; the busiest of 7 days before took 0.",
        ("alert", "level"): "0 of 4 calls were left, which is 0 % or less.",
        ("alert", "uncovered"): "Calls began to be uncovered (exhausted).",
        ("recovery", "level"): "A top-up lifted the balance clear of 0 %: 48 of 54 calls.",
        ("recovery", "uncovered"): "Packs cover calls again: 48 are left.",
        ("alert", "run_out"): "23 calls were left, for about 133 hours at the use of the last days.",
        (
            "recovery",
            "run_out",
        ): "After a top-up 5,012 calls were left, enough for now at the use of the last days.",
    }
