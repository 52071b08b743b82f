"""Corrections of earlier facts (rule 15), and the settlements that carry them out."""

import json
from collections import Counter
from itertools import permutations

import pytest

from metering.corrections import EARLY_CORRECTIONS_MAX
from metering.ledger import CALL_KINDS, Entry
from metering.rating import rate
from metering.remembered_ids import CHUNK_IDS
from metering.rules import Rules
from tests.metering.building import (
    NO_TRIAL,
    Play,
    at,
    corrected,
    event,
    failed,
    pack_of,
    play,
    purchased,
    refunded,
    registered,
    succeeded,
    taken_back,
    text_of,
    use_of,
)
from tests.metering.settler import Settler, figures_of

MINUTE_MS = 60_000


def id_of(value: bytes) -> str:
    return str(json.loads(value)["id"])


def settled(*values: bytes, rules: Rules = NO_TRIAL) -> Play:
    played = play(*values, rules=rules)
    Settler(played).settle()
    check(played)
    return played


def check(played: Play) -> None:
    """Check what holds after every settlement: sums, balances and the packs (rule 14)."""
    for offset in {entry.offset for entry in played.of("settlement")}:
        of_event = [entry for entry in played.entries if entry.offset == offset]
        moved = [entry for entry in of_event if entry.kind in {*CALL_KINDS, "corrected"}]
        assert sum(entry.calls for entry in moved) == 0
    balances: Counter[tuple[str, str]] = Counter()
    money: Counter[tuple[str, str]] = Counter()
    for entry in played.entries:
        if entry.pack_id and entry.kind in {"purchase", "charge", "lapse", "refund", "opening"}:
            sign = 1 if entry.kind == "purchase" else -1
            balances[entry.appid, entry.pack_id] += sign * entry.calls
            assert balances[entry.appid, entry.pack_id] == entry.remaining, entry
            money[entry.appid, entry.pack_id] += entry.amount_micro_yuan if entry.kind == "charge" else 0
    for account in played.state.accounts.values():
        for use in account.capabilities.values():
            closed = {each.pack.pack_id: each for each in use.closed}
            for pack in use.packs:
                assert balances[account.appid, pack.pack_id] >= 0
                used = closed[pack.pack_id].used if pack.pack_id in closed else pack.used
                assert money[account.appid, pack.pack_id] == pack.cost(used) - pack.cost(pack.used_before)


def sums(entries: list[Entry]) -> dict[tuple[str, str, str], int]:
    found: Counter[tuple[str, str, str]] = Counter()
    for entry in entries:
        if entry.kind in {*CALL_KINDS, "corrected"}:
            found[entry.kind, entry.capability, entry.store] += entry.calls
    return {key: calls for key, calls in found.items() if calls}


def test_a_correction_makes_its_app_unsettled_and_is_kept() -> None:
    call = succeeded(at(1))
    played = play(call, corrected(at(2), id_of(call), void=True, note="a test"))
    correction, unsettled = played.entries[-2:]
    assert (correction.kind, correction.reason) == ("correction", "void")
    assert json.loads(correction.details) == {"event_id": id_of(call), "note": "a test"}
    assert (unsettled.kind, unsettled.reason) == ("unsettled", "correction")


def test_a_call_is_taken_back_and_every_other_attempt_is_refused() -> None:
    call = succeeded(at(2))
    again = json.loads(failed(at(2, ms=1))) | {"id": id_of(call)}
    values = [
        purchased(at(1), "P1", calls=250, price=7_500_000),
        call,
        corrected(at(2, ms=1), id_of(call), void=True),
        json.dumps(again).encode(),
        succeeded(at(2, ms=2), calls=-1),
        event("balance.adjusted", at(2, ms=3), {"capability": "quick", "calls": 1}),
        event("pack.purchased", at(2, ms=4), json.loads(purchased(at(2), "CREDIT"))["data"] | {"calls": -1}),
        purchased(at(2, ms=5), "GOODWILL", calls=1, price=0),
    ]
    played = settled(*values)
    assert [letter.reason for letter in played.dead_letters] == [
        "invalid_field",
        "unknown_type",
        "invalid_field",
    ]
    rating = rate(values, NO_TRIAL, settled=True)
    assert (use_of(rating).charged, use_of(rating).succeeded, use_of(rating).duplicates) == (0, 0, 1)
    assert [pack_of(rating, name).remaining for name in ("P1", "GOODWILL")] == [250, 1]
    assert sums(played.entries) == {("corrected", "quick", ""): 1}


def test_a_purchase_with_a_typo_gets_the_size_and_the_price_that_it_has() -> None:
    typo = purchased(at(1), "ZY5", calls=100_000, days=365, price=3_000_000_000)
    correction = corrected(at(1, ms=1), id_of(typo), set={"calls": 10_000, "price_micro_yuan": 300_000_000})
    played = settled(typo, correction, succeeded(at(2)))
    (pack,) = played.state.accounts["wxfb1f3d218d111092"].quick.open
    assert (pack.calls, pack.remaining, pack.price_micro_yuan) == (10_000, 9_999, 300_000_000)


def test_a_pack_and_a_call_of_the_wrong_capability_are_put_where_they_belong() -> None:
    pack = purchased(at(1), "ZY6", calls=1_000, price=40_000_000, capability="realtime")
    call = succeeded(at(1, hours=1), capability="realtime")
    values = [
        pack,
        call,
        corrected(at(2), id_of(pack), set={"capability": "quick", "price_micro_yuan": 30_000_000}),
        corrected(at(2), id_of(call), set={"capability": "quick"}),
    ]
    rating = rate(values, NO_TRIAL, settled=True)
    assert use_of(rating, "realtime").packs == []
    assert use_of(rating, "realtime").succeeded == 0
    assert (use_of(rating).charged, pack_of(rating, "ZY6").remaining) == (1, 999)
    assert pack_of(rating, "ZY6").amount_micro_yuan == 30_000
    settled(*values)


def test_a_call_whose_id_begins_with_that_of_a_void_one_stays() -> None:
    played = settled(
        purchased(at(1), "P1"),
        succeeded(at(2), event_id="order-10"),
        succeeded(at(2, ms=1), event_id="order-100"),
        corrected(at(3), "order-10", void=True),
    )
    assert sums(played.entries) == {("charge", "quick", ""): 1, ("corrected", "quick", ""): 1}


def test_a_call_that_is_set_to_another_store_and_day_is_counted_there() -> None:
    call = succeeded(at(2), store="a")
    fields = {"store": "b", "time": text_of(at(5))}
    played = settled(
        purchased(at(1), "P1"), call, succeeded(at(2), store="c"), corrected(at(6), id_of(call), set=fields)
    )
    assert sums(played.entries) == {
        ("charge", "quick", "b"): 1,
        ("charge", "quick", "c"): 1,
        ("corrected", "quick", "a"): 1,
        ("corrected", "quick", "b"): -1,
    }


@pytest.mark.parametrize("stores", [3, 450])
def test_a_pack_with_calls_of_many_places_is_charged_anew(stores: int) -> None:
    bought = purchased(at(1), "P1", calls=1_000, price=1_000_000)
    later = purchased(at(2), "P2", calls=1_000, price=5_000_000, days=180)
    calls = [succeeded(at(3) + each * MINUTE_MS, store=f"store-{each % stores}") for each in range(900)]
    cheaper = corrected(at(4), id_of(bought), set={"calls": 500, "price_micro_yuan": 400_000})
    played = settled(bought, later, *calls, cheaper)
    held = {pack.pack_id: pack for pack in played.state.accounts["wxfb1f3d218d111092"].quick.packs}
    assert (held["P1"].used, held["P2"].used) == (500, 400)
    charged = [entry for entry in played.of("charge") if entry.pack_id == "P1"]
    assert sum(entry.amount_micro_yuan for entry in charged) == 400_000


def test_a_void_purchase_leaves_its_pack_to_the_next_with_that_id() -> None:
    wrong = purchased(at(1), "P1", calls=100)
    played = settled(
        wrong, purchased(at(2), "P1", calls=10), succeeded(at(3)), corrected(at(4), id_of(wrong), void=True)
    )
    (pack,) = played.state.accounts["wxfb1f3d218d111092"].quick.open
    assert (pack.calls, pack.remaining) == (10, 9)


def test_of_two_purchases_with_one_pack_id_the_earlier_holds_whichever_arrives_first() -> None:
    earlier, later = purchased(at(1), "P1", calls=100), purchased(at(2), "P1", calls=10)
    in_order = settled(earlier, later, succeeded(at(3)))
    assert figures_of(settled(later, succeeded(at(3)), earlier)) == figures_of(in_order)


def test_a_purchase_that_is_told_again_makes_nothing_unsettled() -> None:
    played = play(purchased(at(1), "P1"), purchased(at(2), "P1", paid_at=at(1)))
    assert played.kinds() == ["purchase", "purchase_refused"]


def test_a_refund_by_the_platform_that_was_none_is_undone() -> None:
    back = taken_back(at(3), "P1")
    call = succeeded(at(4))
    played = settled(purchased(at(1), "P1", calls=2), back, call, corrected(at(5), id_of(back), void=True))
    (pack,) = played.state.accounts["wxfb1f3d218d111092"].quick.open
    assert pack.remaining == 1


def test_a_refund_of_an_empty_pack_that_was_none_is_undone() -> None:
    back = taken_back(at(3), "P1")
    played = settled(
        purchased(at(1), "P1", calls=1), succeeded(at(2)), back, corrected(at(5), id_of(back), void=True)
    )
    account = played.state.accounts["wxfb1f3d218d111092"].quick
    assert ([pack.pack_id for pack in account.spent], account.closed) == (["P1"], ())


def test_an_owner_that_was_wrong_is_charged_for_what_was_exempt() -> None:
    wrong = registered(at(2), "government")
    played = settled(
        purchased(at(1), "P1"),
        registered(at(1), "company"),
        wrong,
        succeeded(at(3)),
        corrected(at(4), id_of(wrong), void=True),
    )
    account = played.state.accounts["wxfb1f3d218d111092"]
    assert (account.exempt, account.entity_type) == (False, "company")
    assert sums(played.entries) == {("charge", "quick", ""): 1}


def test_a_correction_can_be_voided_and_what_it_said_is_undone() -> None:
    call = succeeded(at(2))
    wrong = corrected(at(3), id_of(call), void=True)
    played = play(purchased(at(1), "P1"), call, wrong)
    Settler(played).settle()
    assert sums(played.entries) == {("corrected", "quick", ""): 1}
    played.on(corrected(at(4), id_of(wrong), void=True))
    Settler(played).settle()
    check(played)
    assert sums(played.entries) == {("charge", "quick", ""): 1}


def test_what_is_set_restores_a_fact_that_was_void_with_what_was_set_before() -> None:
    bought = purchased(at(1), "P1", calls=10)
    played = settled(
        bought,
        corrected(at(2), id_of(bought), set={"calls": 20}),
        corrected(at(3), id_of(bought), void=True),
        corrected(at(4), id_of(bought), set={"order_id": "O-9"}),
    )
    (pack,) = played.state.accounts["wxfb1f3d218d111092"].quick.open
    assert (pack.calls, pack.order_id) == (20, "O-9")


def test_a_field_that_the_fact_does_not_have_changes_nothing() -> None:
    call = succeeded(at(2))
    played = settled(purchased(at(1), "P1"), call, corrected(at(3), id_of(call), set={"calls": 5}))
    assert sums(played.entries) == {("charge", "quick", ""): 1}


def test_a_correction_of_what_is_never_told_waits_and_its_number_is_limited() -> None:
    early = [corrected(at(1), f"nobody-{number}", void=True) for number in range(EARLY_CORRECTIONS_MAX + 1)]
    played = play(purchased(at(1), "P1"), *early)
    assert len(played.of("correction")) == EARLY_CORRECTIONS_MAX
    (refused,) = played.of("correction_refused")
    assert refused.reason == "too_many_waiting"


def test_old_facts_whose_ids_were_forgotten_can_be_corrected_in_any_number() -> None:
    rules = Rules(trial_calls=0, remembered_ids_max=CHUNK_IDS)
    calls = [succeeded(at(1) + number, event_id=f"old-{number}") for number in range(120)]
    newer = [succeeded(at(2) + number) for number in range(3 * CHUNK_IDS)]
    voids = [corrected(at(3), f"old-{number}", void=True) for number in range(120)]
    played = play(purchased(at(0), "P1", calls=5_000), *calls, *newer, *voids, rules=rules)
    assert not played.of("correction_refused")
    Settler(played).settle()
    assert sum(entry.calls for entry in played.of("corrected")) == 120


def test_a_fact_that_comes_after_its_correction_is_corrected_once_it_is_there() -> None:
    call = succeeded(at(2), event_id="late")
    played = play(purchased(at(1), "P1"), corrected(at(3), "late", set={"time": text_of(at(1.5))}))
    Settler(played).settle()
    played.on(call)
    Settler(played).settle()
    check(played)
    assert played.state.accounts["wxfb1f3d218d111092"].early_corrections == ()
    days = Counter((entry.kind, entry.time_ms // 86_400_000) for entry in played.of("corrected"))
    assert sum(days.values()) == 2 or sum(entry.calls for entry in played.of("corrected")) == 0


ORDERED = [
    [
        purchased(at(1), "P1", calls=3, event_id="p1"),
        purchased(at(2), "P2", calls=9, days=365, event_id="p2"),
        succeeded(at(3), event_id="c1"),
        succeeded(at(4), event_id="c2"),
        corrected(at(5), "p1", set={"calls": 1}),
        corrected(at(6), "c1", void=True),
    ],
    [
        purchased(at(1), "P1", calls=1, event_id="q1"),
        succeeded(at(2), event_id="d1"),
        succeeded(at(3), event_id="d2"),
        corrected(at(4), "q1", set={"pack_id": "P2", "calls": 2, "paid_at": text_of(at(2.5))}),
        refunded(at(2.2), "P1"),
        purchased(at(2.1), "P1", calls=5, event_id="q2"),
    ],
    [
        registered(at(1), "company"),
        purchased(at(1), "P1", calls=2, event_id="r1"),
        succeeded(at(2), event_id="e1", store="a"),
        corrected(at(4), "e1", set={"capability": "realtime", "time": text_of(at(3))}),
        corrected(at(5), "r1", set={"capability": "realtime"}),
        taken_back(at(2.5), "P1"),
    ],
]


@pytest.mark.parametrize("facts", ORDERED)
def test_the_order_of_arrival_does_not_decide_the_end(facts: list[bytes]) -> None:
    expected = figures_of(settled(*facts))
    for order in list(permutations(facts))[::7]:
        assert figures_of(settled(*order)) == expected, order
