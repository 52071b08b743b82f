"""The explanation of a record: the reasons come from the code that decides."""

import json

import pytest
from hypothesis import given

from metering.alert_sentences import sentence_of
from metering.explanation import CapabilityBalance, Explanation, explain
from metering.partition import meter
from metering.partition_state import PartitionState
from metering.rules import Rules
from tests.metering.building import (
    APP,
    NO_TRIAL,
    Play,
    agreement_set,
    assigned,
    at,
    cancelled,
    corrected,
    denied,
    failed,
    move,
    play,
    purchased,
    records,
    refunded,
    registered,
    settled,
    succeeded,
    taken_back,
    ticked,
)
from tests.metering.logs import Log, logs

pytestmark = pytest.mark.usefixtures("small_chunks")


def explained(played: Play, value: bytes) -> Explanation:
    """Explain the next record of a log, and compare it with the result of the rules."""
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
    assert told.before == CapabilityBalance(12, 0, {"early": 5, "pending": 10, "late": 7})
    assert told.after == CapabilityBalance(11, 0, {"early": 4, "pending": 10, "late": 7})
    assert told.why.startswith("Pack early took the call")


def test_the_trial_comes_before_any_pack() -> None:
    played = play(purchased(at(1), "p", calls=5), rules=Rules(trial_calls=3))
    told = explained(played, succeeded(at(2)))
    assert (told.decision, verdicts(told)) == ("trial_charge", [("p", "not_needed")])
    assert told.why == "The trial quota took the call, before any pack; it holds 2 more."
    assert told.before == CapabilityBalance(8, 3, {"p": 5})
    assert told.after == CapabilityBalance(7, 2, {"p": 5})


def test_the_first_event_of_an_app_finds_its_trial_whole() -> None:
    told = explained(play(rules=Rules(trial_calls=3)), succeeded(at(2)))
    assert told.before == CapabilityBalance(3, 3, {})
    assert [entry.kind for entry in told.entries] == ["trial_grant", "trial_charge"]


def test_the_last_call_of_a_pack_and_the_one_after_it() -> None:
    played = play(purchased(at(1), "p", calls=1))
    last = explained(played, succeeded(at(2)))
    assert last.after == CapabilityBalance(0, 0, {"p": 0})
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
    """The pack lapses as the event advances the app's clock, before the call is charged."""
    played = play(purchased(at(1), "short", days=90, calls=5))
    told = explained(played, succeeded(at(100)))
    assert [entry.kind for entry in told.entries if entry.kind != "alert"] == ["lapse", "uncovered"]
    assert told.before == CapabilityBalance(0, 0, {})
    assert told.clock_ms == at(100)


def test_a_duplicate_says_when_its_id_was_seen() -> None:
    played = play(succeeded(at(2), event_id="tap"))
    told = explained(played, succeeded(at(2.5), event_id="tap"))
    assert (told.decision, told.seen_at_ms) == ("duplicate", at(2))
    assert "counted then, and only then" in told.why
    assert told.before == told.after


@pytest.mark.parametrize(
    ("value", "decision", "why"),
    [
        (succeeded(at(-5)), "free", "before billing began"),
        (denied(at(1)), "denied", "errno 103"),
        (failed(at(1)), "failed", "errno 1400001"),
        (purchased(at(1), "p", calls=250), "purchase", "Pack p of 250 calls was added."),
        (refunded(at(1), "p"), "refund_waiting", "has not been recorded yet: its refund waits for it"),
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
    assert explained(played, taken_back(at(6), "p")).why == (
        "The platform took back pack p, with the 8 calls that it held. A request would have been refused: "
        "calls of the pack have been used."
    )
    again = explained(play(purchased(at(5), "q")), purchased(at(6), "q"))
    assert again.why == "The purchase of pack q was refused: the app has, or had, a pack of that id."


def test_an_assignment_and_its_cancellation_are_explained_by_their_own_words() -> None:
    assignment = assigned(at(5), "p", paid_at=at(1))
    assert explained(play(), assignment).why == (
        "Pack p of 10 calls, which an agency assigned on 2023-08-31 00:00:00 (Shanghai), was added."
    )
    assert explained(play(assignment), cancelled(at(6), "p")).why == (
        "Pack p was given back: it was untouched and assigned within 7 days."
    )
    played = play(assignment)
    assert explained(played, cancelled(at(13), "p")).why == (
        "The cancellation of pack p was refused: it was paid, or assigned, more than 7 days before."
    )
    assert explained(played, cancelled(at(13), "p", by="platform")).why.startswith(
        "The platform cancelled the assignment of pack p, with the 10 calls that it held. A request"
    )
    assert explained(play(), cancelled(at(6), "p")).why == (
        "Pack p has not been recorded yet: its cancellation waits for it."
    )
    again = explained(play(assignment), assigned(at(6), "p"))
    assert again.why == "The assignment of pack p was refused: the app has, or had, a pack of that id."


def test_without_a_trial_the_balance_is_the_packs() -> None:
    assert NO_TRIAL.trial_calls == 0
    assert explained(play(), succeeded(at(1))).before == CapabilityBalance(0, 0, {})


@given(logs)
def test_the_pack_that_is_said_to_take_a_call_is_the_one_that_is_charged(log: Log) -> None:
    """Packs are listed in consumption order, for every log."""
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
        "No call was left, which is 20 % or less.",
        "No call was left, which is 10 % or less.",
        "No call was left, which is 5 % or less.",
        "No call was left, which is 0 % or less.",
    ]
    assert explained(played, succeeded(at(3))).alerts == ["Calls began to be uncovered (exhausted)."]
    assert explained(played, ticked(at(400))).alerts == []


def test_an_alert_of_a_level_names_what_is_left_and_of_what() -> None:
    played = play(purchased(at(1), "p", calls=1_250), *[succeeded(at(1)) for _ in range(999)])
    played.on(succeeded(at(1)))
    assert [sentence_of(alert) for alert in played.of("alert")] == [
        "250 of 1,250 calls were left, which is 20 % or less."
    ]


def test_every_kind_of_alert_has_a_sentence() -> None:
    rules = Rules(trial_calls=0, burn_minute_calls=2, burn_client_calls=2)
    played = play(purchased(at(0), "p", calls=4, days=20), succeeded(at(0)), ticked(at(8)), rules=rules)
    played.on(*[succeeded(at(9), client="bot") for _ in range(5)], purchased(at(9), "q", calls=50))
    played.on(*[succeeded(at(10 + day)) for day in range(3) for _ in range(12)])
    played.on(failed(at(12)), purchased(at(12, ms=1), "r", calls=5_000))
    told = {(e.kind, e.reason): sentence_of(e) for e in played.of("alert", "recovery")}
    assert told == {
        ("alert", "expiry"): "Pack p held 3 calls that expire within 15 days.",
        ("alert", "minute_burn"): "6 calls were charged in one minute; the busiest of 7 days before had 2.",
        ("alert", "client_burn"): "Client bot took 2 calls in one hour; the busiest of 7 days before took 0.",
        ("alert", "level"): "No call was left, which is 0 % or less.",
        ("alert", "uncovered"): "Calls began to be uncovered (exhausted).",
        ("recovery", "level"): "A top-up lifted the balance clear of 0 %: 48 of 50 calls.",
        ("recovery", "uncovered"): "Packs cover calls again: 48 are left.",
        ("alert", "run_out"): "23 calls were left, for about 133 hours at the use of the last days.",
        (
            "recovery",
            "run_out",
        ): "After a top-up 5,012 calls were left, enough for now at the use of the last days.",
        ("alert", "refused"): (
            "The platform refused an authorization (errno 1400001): members cannot sign up. 12 calls are "
            "left by the ledger."
        ),
        ("recovery", "refused"): "The platform grants calls again: 5,012 are left by the ledger.",
    }


def test_a_late_fact_tells_that_its_app_is_unsettled_and_what_comes_after_that_it_was() -> None:
    played = play(purchased(at(1), "p", calls=1), succeeded(at(2)))
    late = explained(played, succeeded(at(1.5)))
    assert late.decision == "uncovered"
    assert late.settlement == (
        "The app is unsettled from 2023-08-27 (Shanghai) on, until a settlement finds nothing left to move."
    )
    after = explained(played, succeeded(at(3)))
    assert after.settlement.startswith("The app was unsettled from 2023-08-27 (Shanghai) on")


def test_a_fact_beyond_the_settlement_horizon_tells_that_it_changes_nothing_before() -> None:
    rules = Rules(trial_calls=0, settle_horizon_ms=0)
    played = play(purchased(at(1), "p", calls=1), succeeded(at(2)), rules=rules)
    told = explained(played, succeeded(at(1.5)))
    assert told.settlement.startswith("It came later than the settlement horizon allows")


def test_a_settlement_tells_how_much_it_corrects_and_one_that_is_refused_why() -> None:
    played = play(purchased(at(1), "p", calls=1), succeeded(at(2), store="a"), succeeded(at(1.5)))
    moves = (move(at(2), "pack:p", "uncovered", store="a"), move(at(1.5), "uncovered", "pack:p"))
    told = explained(played, settled(at(3), *moves, as_of=2, from_ms=at(1)))
    assert told.decision == "settlement"
    assert told.why == (
        "The app was worked out in the order of effective time: 2 corrections bring it to what the same "
        "facts give in that order."
    )
    again = explained(played, settled(at(3), *moves, as_of=2, from_ms=at(1)))
    assert again.decision == "settlement_refused"
    assert again.why.startswith("The settlement was not applied: the app was settled otherwise")
    nothing = explained(played, settled(at(3), as_of=4, after=3, from_ms=at(1)))
    assert nothing.why.endswith("and nothing differed.")


def test_following_the_platform_tells_what_is_booked_and_why_not() -> None:
    moved = move(at(1, ms=1), "followed", "pack:p", 2)
    booking = settled(at(2), moved, as_of=0, follows="")
    played = play(purchased(at(1), "p", calls=10))
    assert explained(played, booking).why == (
        "The settlement was not applied: it was to book a difference to the platform's count, which the app "
        "does not follow."
    )
    follow = agreement_set(at(2))
    assert explained(played, follow).why == (
        "From now on a difference to the platform's count that stays is booked."
    )
    again = settled(at(2), moved, as_of=0, follows=json.loads(booking)["id"])
    assert explained(played.with_(booking, follow), again).why == (
        "The platform's count had differed for an hour: the difference was booked, at no store."
    )
    assert explained(played, agreement_set(at(3), "report")).why == (
        "From now on a difference to the platform's count is shown, and not booked."
    )


def test_a_correction_tells_what_it_is_about_and_why() -> None:
    played = play(purchased(at(1), "p", event_id="typo"))
    void = explained(played, corrected(at(2), "typo", void=True, note="a test"))
    assert (void.decision, void.reason) == ("correction", "void")
    assert void.why == "Event typo is void: it is taken as if it had never been. Note: a test"
    assert void.settlement.startswith("The app is unsettled from")
    changed = explained(played, corrected(at(3), "typo", set={"calls": 7, "order_id": "o"}))
    assert changed.why == "Event typo is taken as if it had said calls = 7, order_id = o."


def test_a_correction_too_many_tells_what_it_waits_for() -> None:
    played = play(*(corrected(at(1), f"unknown-{number}", void=True) for number in range(100)))
    told = explained(played, corrected(at(2), "unknown", void=True))
    assert told.decision == "correction_refused"
    assert told.why.startswith("The correction of event unknown was refused: the app has no such event")


def test_the_sentences_of_alerts_are_told_in_chinese_too() -> None:
    played = play(purchased(at(1), "p", calls=1_250), *[succeeded(at(1)) for _ in range(1_000)])
    played.on(failed(at(2)), *[succeeded(at(2, ms=one)) for one in range(251)])
    told = [sentence_of(alert, "zh") for alert in played.of("alert")]
    assert told[0] == "剩余 250 次，总量 1,250 次，已降到 20% 或以下。"
    assert "微信拒绝授权（错误码 1400001），会员无法注册；按台账还剩 250 次。" in told
    played.on(purchased(at(3), "q", calls=5_000))
    assert {sentence_of(one, "zh")[-1] for one in played.of("alert", "recovery")} == {"。"}
