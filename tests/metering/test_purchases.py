"""Purchases, assignments and refunds; late packs take over calls (rules 6, 7, 10, 14 and 16)."""

import json
from collections.abc import Callable

import pytest

from metering import purchases
from metering.accounts import encode_account
from metering.rating import rate
from tests.metering.building import (
    APP,
    DAY_MS,
    NO_TRIAL,
    Play,
    alerting_set,
    assigned,
    at,
    cancelled,
    pack_of,
    play,
    purchased,
    refunded,
    registered,
    succeeded,
    taken_back,
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


@pytest.mark.parametrize(
    ("basis", "kept"), [("paid", None), ("catalogue", "catalogue"), ("unknown", "unknown")]
)
def test_a_price_that_was_not_paid_says_where_it_is_from(basis: str, kept: str | None) -> None:
    """Rule 11."""
    (line,) = play(purchased(at(3), "pack-1", price=0, price_basis=basis)).entries
    assert json.loads(line.details).get("price_basis") == kept


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
    monkeypatch.setattr(purchases, "PACKS_MAX", 2)
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


@pytest.mark.parametrize("back", [cancelled, refunded])
@pytest.mark.parametrize(("ms", "kind"), [(0, "refund"), (1, "refund_refused")])
def test_the_seven_days_of_an_assigned_pack_count_from_its_assignment_whatever_the_word(
    ms: int, kind: str, back: Callable[[int, str], bytes]
) -> None:
    assignment = assigned(at(41), "pack-1", paid_at=at(1), assigned_at=at(40))
    facts = [assignment, back(at(47, ms=ms), "pack-1")]
    for played in (play(*facts), play(*reversed(facts))):
        (entry,) = played.of("refund", "refund_refused")
        assert (entry.kind, entry.reason) == (kind, "after_7_days" if ms else "")
        assert ("cancels" in entry.details) == (back is cancelled)


def test_a_bought_pack_that_is_cancelled_is_refunded_by_its_own_deadline() -> None:
    played = play(purchased(at(0), "pack-1"), cancelled(at(8), "pack-1"), cancelled(at(7), "pack-1"))
    assert [entry.kind for entry in played.of("refund", "refund_refused")] == ["refund_refused", "refund"]


def test_an_assigned_pack_starts_with_its_assignment_and_its_entry_has_both_times() -> None:
    (pack,) = play(assigned(at(41), "pack-1", paid_at=at(1))).state.accounts[APP].quick.open
    assert (pack.starts_at_ms, pack.paid_at_ms) == (at(41), at(41))
    played = play(assigned(at(41), "pack-1", paid_at=at(1), assigned_at=at(40), starts_at=at(50)))
    (pack,) = played.state.accounts[APP].quick.open
    assert (pack.starts_at_ms, pack.paid_at_ms) == (at(50), at(40))
    said = json.loads(played.of("purchase")[0].details)
    assert (said["paid_at_ms"], said["assigned_at_ms"]) == (at(1), at(40))


def test_a_cancellation_by_the_platform_is_a_fact_and_marked() -> None:
    played = play(assigned(at(0), "pack-1"), succeeded(at(1)), cancelled(at(9), "pack-1", by="platform"))
    (entry,) = played.of("refund")
    assert (entry.calls, entry.reason, json.loads(entry.details)) == (
        9,
        "used",
        {"by": "platform", "cancels": "assignment"},
    )


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


def test_a_refund_waits_for_the_purchase_of_its_pack() -> None:
    played = play(purchased(at(0), "pack-1", app="wx-other"), refunded(at(1), "pack-1"))
    (waiting,) = played.of("refund_waiting")
    assert (waiting.reason, waiting.capability, waiting.pack_id, waiting.calls) == ("", "", "pack-1", 0)
    played.on(purchased(at(2), "pack-1", paid_at=at(0)), succeeded(at(3)))
    (given,) = played.of("refund")
    assert (given.event_id, given.time_ms, given.capability) == (waiting.event_id, at(1), "quick")
    assert (given.calls, given.amount_micro_yuan) == (10, 300_000)
    assert played.packs_charged() == []
    assert [entry.kind for entry in played.on(refunded(at(4), "pack-1"))] == ["refund_refused"]
    assert reasons(played, "refund_refused") == ["already_refunded"]


def test_a_refund_that_waits_is_decided_as_of_its_own_time() -> None:
    late = play(refunded(at(8), "pack-1"), purchased(at(9), "pack-1", paid_at=at(0)), succeeded(at(9)))
    assert reasons(late, "refund_refused") == ["after_7_days"]
    assert late.packs_charged() == ["pack-1"]
    lapsed = play(refunded(at(5), "pack-1"), purchased(at(6), "pack-1", paid_at=at(0), days=1))
    assert reasons(lapsed, "refund_refused") == ["lapsed"]


@pytest.mark.parametrize(("call_at", "kind"), [(1, "refund_refused"), (3, "refund")])
def test_a_call_that_the_pack_takes_over_from_before_its_refund_makes_it_used(
    call_at: int, kind: str
) -> None:
    call, refund = succeeded(at(call_at)), refunded(at(2), "pack-1")
    late = play(call, refund, purchased(at(4), "pack-1", paid_at=at(0)))
    assert [entry.kind for entry in late.of("refund", "refund_refused")] == [kind]
    assert late.packs_charged() == (["pack-1"] if kind == "refund_refused" else [])
    facts = (call, refund) if call_at < 2 else (refund, call)
    in_order = play(purchased(at(0), "pack-1"), *facts)
    assert [entry.kind for entry in in_order.of("refund", "refund_refused")] == [kind]
    assert in_order.packs_charged() == late.packs_charged()


def test_a_second_refund_does_not_wait_beside_the_first() -> None:
    played = play(refunded(at(1), "pack-1"), refunded(at(2), "pack-1"))
    assert reasons(played, "refund_refused") == ["already_waiting"]


def test_an_app_has_a_limited_number_of_refunds_that_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purchases, "EARLY_REFUNDS_MAX", 2)
    played = play(*(refunded(at(1), f"pack-{number}") for number in range(3)))
    assert reasons(played, "refund_refused") == ["unknown_pack"]
    assert len(played.of("refund_waiting")) == 2


def test_the_platform_takes_back_what_a_used_pack_holds_and_what_was_charged_stays() -> None:
    played = play(purchased(at(0), "pack-1", price=10), succeeded(at(1)), taken_back(at(9), "pack-1"))
    (line,) = played.of("refund")
    assert (line.calls, line.amount_micro_yuan, line.reason, line.details) == (
        9,
        9,
        "used",
        '{"by":"platform"}',
    )
    played.on(succeeded(at(10)))
    assert [entry.kind for entry in played.of("charge", "uncovered")] == ["charge", "uncovered"]
    (closed,) = played.state.accounts[APP].quick.closed
    assert (closed.status, closed.pack.remaining, played.state.accounts[APP].quick.active_size) == (
        "refunded",
        0,
        0,
    )


@pytest.mark.parametrize(
    ("day", "by", "kind", "reason"),
    [
        (7, "owner", "refund", ""),
        (7, "platform", "refund", ""),
        (8, "owner", "refund_refused", "after_7_days"),
        (8, "platform", "refund", "after_7_days"),
    ],
)
def test_what_the_platform_did_is_marked_where_a_request_would_have_been_refused(
    day: int, by: str, kind: str, reason: str
) -> None:
    played = play(purchased(at(0), "pack-1"), refunded(at(day), "pack-1", by=by))
    assert [(entry.kind, entry.reason) for entry in played.of("refund", "refund_refused")] == [(kind, reason)]


def test_the_platform_takes_back_a_pack_that_holds_nothing() -> None:
    played = play(purchased(at(0), "pack-1", calls=1), succeeded(at(1)), taken_back(at(2), "pack-1"))
    assert [(entry.calls, entry.reason) for entry in played.of("refund")] == [(0, "used")]
    played.on(taken_back(at(3), "pack-1"))
    assert reasons(played, "refund_refused") == ["already_refunded"]


@pytest.mark.parametrize(
    ("day", "entries"),
    [
        (4, [("lapse", 9, ""), ("lapse", -9, "refunded"), ("refund", 9, "used")]),
        (6, [("lapse", 9, ""), ("refund", 0, "lapsed")]),
    ],
)
def test_what_lapsed_is_refunded_instead_if_the_platform_took_the_pack_back_before(
    day: int, entries: list[tuple[str, int, str]]
) -> None:
    pack = purchased(at(0), "pack-1", days=5, price=1_000_003)
    played = play(pack, succeeded(at(1)), ticked(at(20)), taken_back(at(day), "pack-1"))
    ends = played.of("lapse", "refund")
    assert [(entry.kind, entry.calls, entry.reason) for entry in ends] == entries
    assert sum(entry.amount_micro_yuan for entry in (*ends, *played.of("charge"))) == 1_000_003


def test_a_refund_by_the_platform_waits_for_its_purchase_beside_a_request() -> None:
    played = play(
        refunded(at(8), "pack-1"), succeeded(at(1)), succeeded(at(9)), taken_back(at(8.5), "pack-1")
    )
    assert len(played.of("refund_waiting")) == 2
    played.on(taken_back(at(8.6), "pack-1"))
    assert reasons(played, "refund_refused") == ["already_waiting"]
    late = played.on(purchased(at(10), "pack-1", paid_at=at(0), price=10))
    assert [(entry.kind, entry.calls, entry.reason, entry.time_ms) for entry in late] == [
        ("purchase", 10, "", at(10)),
        ("refund_refused", 0, "used", at(8)),
        ("uncovered", -1, "taken_over", at(1)),
        ("charge", 1, "taken_over", at(1)),
        ("refund", 9, "used", at(8.5)),
    ]


def test_of_two_refunds_that_wait_the_earlier_is_given() -> None:
    played = play(
        taken_back(at(2), "pack-1"), refunded(at(1), "pack-1"), purchased(at(3), "pack-1", paid_at=at(0))
    )
    assert [(entry.time_ms, entry.details) for entry in played.of("refund")] == [(at(1), "")]
    assert reasons(played, "refund_refused") == ["already_refunded"]


def test_a_waiting_refund_by_the_platform_from_after_the_lapse_finds_nothing() -> None:
    played = play(taken_back(at(7), "pack-1"), succeeded(at(1)))
    late = played.on(purchased(at(8), "pack-1", paid_at=at(0), days=5))
    assert [(entry.kind, entry.calls) for entry in late[3:]] == [("lapse", 9), ("refund", 0)]
    assert late[-1].reason == "lapsed"


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
