"""Buying and giving back packs; late recorded packs take over calls (DESIGN rules 6, 7, 10 and 14)."""

import json

import pytest

from metering import purchasing
from metering.accounts import encode_account
from metering.rating import rate
from tests.metering.building import (
    APP,
    DAY_MS,
    NO_TRIAL,
    Play,
    alerting_set,
    at,
    pack_of,
    play,
    purchased,
    refunded,
    registered,
    succeeded,
    ticked,
    use_of,
)


def reasons(played: Play, kind: str) -> list[str]:
    return [entry.reason for entry in played.of(kind)]


def test_a_purchase_grants_the_calls_of_its_pack_and_says_its_terms() -> None:
    (line,) = play(purchased(at(3), "pack-1", calls=250, days=90, price=7_500_000, paid_at=at(2))).entries
    assert (line.kind, line.calls, line.remaining, line.amount_micro_yuan) == (
        "purchase",
        250,
        250,
        7_500_000,
    )
    assert (line.appid, line.capability, line.pack_id, line.time_ms) == (APP, "quick", "pack-1", at(3))
    assert json.loads(line.details) == {
        "order_id": "order-pack-1",
        "calls": 250,
        "validity_days": 90,
        "price_micro_yuan": 7_500_000,
        "paid_at_ms": at(2),
        "starts_at_ms": at(2),
        "expires_at_ms": at(92),
    }


def test_a_pack_recorded_twice_under_new_event_ids_is_refused() -> None:
    played = play(purchased(at(0), "pack-1"), purchased(at(1), "pack-1", calls=99, capability="realtime"))
    assert reasons(played, "purchase_refused") == ["known_pack"]
    refused = played.of("purchase_refused")[0]
    assert (refused.calls, refused.amount_micro_yuan, refused.remaining) == (0, 0, 0)


@pytest.mark.parametrize("day", [2, 8])
def test_a_pack_id_is_never_used_again_even_when_its_pack_has_ended(day: int) -> None:
    played = play(purchased(at(0), "pack-1", days=5), refunded(at(1), "pack-1"), purchased(at(day), "pack-1"))
    assert reasons(played, "purchase_refused") == ["known_pack"]


def test_two_apps_may_use_the_same_pack_id() -> None:
    played = play(purchased(at(0), "pack-1", app="wx-a"), purchased(at(0), "pack-1", app="wx-b"))
    assert [entry.kind for entry in played.entries] == ["purchase", "purchase"]


def test_an_app_can_have_only_so_many_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purchasing, "PACKS_MAX", 2)
    played = play(*[purchased(at(0), f"pack-{number}") for number in range(3)])
    assert reasons(played, "purchase_refused") == ["too_many_packs"]


def test_an_account_never_grows_beyond_what_the_broker_takes_as_one_record() -> None:
    longest = "次" * 118
    packs = [purchased(at(0), f"{longest}{number:04}", calls=1, days=1) for number in range(1_200)]
    played = play(*packs)
    assert reasons(played, "purchase_refused")[0] == "too_many_packs"
    played.on(ticked(at(50)), alerting_set(at(50), levels_percent=list(range(10))))
    assert len(encode_account(played.state.accounts[APP])) < 1_000_000


def test_a_pack_that_starts_later_is_pending_until_then() -> None:
    lines = [purchased(at(0), "pack-1", starts_at=at(10))]
    assert pack_of(rate(lines, NO_TRIAL, at_ms=at(10, ms=-1)), "pack-1").status == "pending"
    assert pack_of(rate(lines, NO_TRIAL, at_ms=at(10)), "pack-1").status == "active"


def test_a_pack_may_be_paid_after_the_time_of_its_event() -> None:
    played = play(purchased(at(0), "pack-1", paid_at=at(5)), succeeded(at(4)), succeeded(at(5)))
    assert [entry.kind for entry in played.of("charge", "uncovered")] == ["uncovered", "charge"]


def test_a_pack_recorded_late_takes_over_the_uncovered_calls_of_its_validity_as_pairs() -> None:
    played = play(succeeded(at(1), scene="card_claim", store="store-03", event_id="tap"))
    (bought, back, charge) = played.on(purchased(at(3), "pack-1", paid_at=at(0), price=7))[:3]
    assert bought.kind == "purchase"
    assert (back.kind, back.calls, back.reason, back.event_id) == ("uncovered", -1, "taken_over", "tap")
    assert (charge.kind, charge.calls, charge.reason, charge.event_id) == ("charge", 1, "taken_over", "tap")
    assert (charge.pack_id, charge.remaining, charge.time_ms) == ("pack-1", 9, at(1))
    assert (back.scene, back.store) == (charge.scene, charge.store) == ("card_claim", "store-03")
    assert [entry.line for entry in (bought, back, charge)] == [0, 1, 2]


def test_after_a_takeover_a_call_is_charged_and_no_longer_uncovered() -> None:
    use = use_of(rate([succeeded(at(1)), purchased(at(3), "pack-1", paid_at=at(0))], NO_TRIAL))
    assert (use.succeeded, use.charged, use.uncovered) == (1, 1, 0)


@pytest.mark.parametrize(
    ("time_ms", "taken"), [(at(2, ms=-1), False), (at(2), True), (at(7, ms=-1), True), (at(7), False)]
)
def test_only_calls_within_the_validity_are_taken_over(time_ms: int, taken: bool) -> None:  # noqa: FBT001 - pytest names it
    played = play(succeeded(time_ms), purchased(at(7), "pack-1", paid_at=at(2), days=5))
    assert bool(played.of("charge")) is taken


def test_calls_are_taken_over_in_the_order_of_their_times_as_many_as_the_pack_holds() -> None:
    taps = [succeeded(at(day), event_id=f"day-{day}") for day in (3, 1, 2)]
    played = play(*taps, purchased(at(4), "pack-1", calls=2, paid_at=at(0), price=3))
    charges = played.of("charge")
    assert [(entry.event_id, entry.amount_micro_yuan) for entry in charges] == [("day-1", 1), ("day-2", 2)]
    played.on(purchased(at(4), "pack-2", calls=2, paid_at=at(0)))
    assert played.of("charge")[-1].event_id == "day-3"


def test_of_calls_at_the_same_time_the_one_that_arrived_first_is_taken_over_first() -> None:
    taps = [succeeded(at(1), event_id=name) for name in ("b", "a")]
    played = play(*taps, purchased(at(2), "pack-1", calls=1, paid_at=at(0)))
    assert [entry.event_id for entry in played.of("charge")] == ["b"]


def test_a_call_is_taken_over_once() -> None:
    packs = [purchased(at(2), name, paid_at=at(0)) for name in ("pack-1", "pack-2")]
    assert play(succeeded(at(1)), *packs).packs_charged() == ["pack-1"]


def test_another_capabilitys_calls_are_not_taken_over() -> None:
    pack = purchased(at(2), "pack-1", paid_at=at(0), capability="realtime")
    assert play(succeeded(at(1)), pack).of("charge") == []


def test_a_call_that_was_too_late_for_one_pack_is_taken_over_by_another() -> None:
    played = play(purchased(at(0), "pack-1", days=5), ticked(at(9)), succeeded(at(4)))
    assert reasons(played, "uncovered") == ["too_late"]
    played.on(purchased(at(9), "pack-2", paid_at=at(0)))
    assert played.packs_charged() == ["pack-2"]


def test_calls_that_were_free_exempt_or_the_trials_are_not_taken_over() -> None:
    played = play(
        succeeded(at(-1)),
        registered(at(0), "government"),
        succeeded(at(1)),
        registered(at(1), "company"),
        purchased(at(2), "pack-1", paid_at=at(0)),
    )
    assert played.of("charge", "uncovered") == []


@pytest.mark.parametrize(("days", "lapsed"), [(5, [9]), (90, [])])
def test_a_pack_recorded_after_its_end_takes_over_and_the_rest_lapses_at_once(
    days: int, lapsed: list[int]
) -> None:
    played = play(succeeded(at(1)), ticked(at(50)), purchased(at(50), "pack-1", paid_at=at(0), days=days))
    assert played.packs_charged() == ["pack-1"]
    assert [entry.calls for entry in played.of("lapse")] == lapsed


def test_a_pack_recorded_between_expiry_and_lapse_stays_open_for_late_calls() -> None:
    played = play(ticked(at(5.5)), purchased(at(5.5), "pack-1", paid_at=at(0), days=5), succeeded(at(4)))
    assert played.packs_charged() == ["pack-1"]
    assert [entry.calls for entry in played.on(ticked(at(6))) if entry.kind == "lapse"] == [9]


def test_a_late_pack_that_is_exhausted_by_its_takeovers_is_exhausted() -> None:
    lines = [succeeded(at(1)), ticked(at(50)), purchased(at(50), "pack-1", calls=1, paid_at=at(0), days=5)]
    pack = pack_of(rate(lines, NO_TRIAL), "pack-1")
    assert (pack.status, pack.remaining, pack.lapsed) == ("exhausted", 0, 0)


def test_an_untouched_pack_can_be_given_back() -> None:
    played = play(purchased(at(0), "pack-1", price=7), refunded(at(1), "pack-1"))
    (line,) = played.of("refund")
    assert (line.calls, line.amount_micro_yuan, line.remaining, line.capability) == (10, 7, 0, "quick")


@pytest.mark.parametrize(("ms", "kind"), [(0, "refund"), (1, "refund_refused")])
def test_a_refund_is_possible_up_to_seven_days_after_the_payment_and_no_longer(ms: int, kind: str) -> None:
    played = play(purchased(at(5), "pack-1", paid_at=at(1)), refunded(at(1) + 7 * DAY_MS + ms, "pack-1"))
    assert [entry.kind for entry in played.of("refund", "refund_refused")] == [kind]
    if kind == "refund_refused":
        assert reasons(played, "refund_refused") == ["after_7_days"]


def test_the_seven_days_count_from_the_payment_and_not_from_the_start() -> None:
    played = play(purchased(at(0), "pack-1", starts_at=at(20)), refunded(at(10), "pack-1"))
    assert reasons(played, "refund_refused") == ["after_7_days"]


def test_a_pending_pack_can_be_given_back() -> None:
    played = play(purchased(at(0), "pack-1", starts_at=at(20)), refunded(at(1), "pack-1"), ticked(at(21)))
    assert played.kinds() == ["purchase", "refund"]


@pytest.mark.parametrize("calls", [1, 5])
def test_a_pack_of_which_anything_was_used_cannot_be_given_back(calls: int) -> None:
    played = play(purchased(at(0), "pack-1", calls=calls), succeeded(at(1)), refunded(at(2), "pack-1"))
    assert reasons(played, "refund_refused") == ["used"]


def test_an_exhausted_pack_cannot_be_given_back_after_its_expiry_either() -> None:
    played = play(purchased(at(0), "pack-1", calls=1, days=1), succeeded(at(0)), refunded(at(3), "pack-1"))
    assert reasons(played, "refund_refused") == ["used"]


def test_a_pack_that_took_over_a_call_cannot_be_given_back() -> None:
    played = play(succeeded(at(1)), purchased(at(2), "pack-1", paid_at=at(0)), refunded(at(2), "pack-1"))
    assert reasons(played, "refund_refused") == ["used"]


def test_a_lapsed_pack_cannot_be_given_back() -> None:
    played = play(purchased(at(0), "pack-1", days=1), refunded(at(2), "pack-1"))
    assert reasons(played, "refund_refused") == ["lapsed"]


def test_a_pack_is_given_back_once() -> None:
    played = play(purchased(at(0), "pack-1"), refunded(at(1), "pack-1"), refunded(at(1), "pack-1"))
    assert reasons(played, "refund_refused") == ["already_refunded"]


def test_an_unknown_pack_cannot_be_given_back() -> None:
    played = play(purchased(at(0), "pack-1", app="wx-other"), refunded(at(1), "pack-1"))
    (line,) = played.of("refund_refused")
    assert (line.reason, line.capability, line.pack_id, line.calls) == ("unknown_pack", "", "pack-1", 0)


def test_a_refusal_is_a_ledger_line_and_no_rejection() -> None:
    rating = rate([refunded(at(1), "pack-1")], NO_TRIAL)
    assert (rating.rejected, list(rating.apps)) == (0, [APP])


def test_a_refunded_packs_figures_are_all_zero_but_its_size() -> None:
    pack = pack_of(rate([purchased(at(0), "pack-1"), refunded(at(1), "pack-1")], NO_TRIAL), "pack-1")
    assert (pack.status, pack.calls, pack.remaining, pack.lapsed, pack.amount_micro_yuan) == (
        "refunded",
        10,
        0,
        0,
        0,
    )


def test_thousands_of_packs_burn_in_their_order() -> None:
    packs = [purchased(at(0), f"pack-{number:04}", calls=1, days=90 + number % 7) for number in range(1_500)]
    played = play(*packs, *[succeeded(at(1)) for _ in range(1_501)])
    charged = played.packs_charged()
    assert charged == sorted(charged, key=lambda name: (int(name[5:]) % 7, name))
    assert (len(charged), reasons(played, "uncovered")) == (1_500, ["exhausted"])
