"""Settlements applied to their app (rule 8), within the invariants (rule 14)."""

import msgspec
import pytest

from metering.accounts import NEVER_MS, CapabilityAccount
from metering.rules import Rules, rules_of_decisions
from tests.metering.building import (
    APP,
    DAY_MS,
    Play,
    at,
    move,
    play,
    purchased,
    refunded,
    registered,
    settled,
    succeeded,
    ticked,
)
from tests.metering.test_properties import assert_balanced

P1, P2 = "pack:P1", "pack:P2"


def late() -> Play:
    """Two packs, the first with a call too many: one from before it was used up came last."""
    return play(
        purchased(at(1), "P1", calls=1, price=30_000),
        purchased(at(3), "P2", calls=1, price=40_000, days=365),
        succeeded(at(3.1), store="b"),
        succeeded(at(1.5), store="a"),
    )


def quick(played: Play) -> CapabilityAccount:
    return played.state.accounts[APP].quick


def refusals(played: Play) -> list[str]:
    return [entry.reason for entry in played.of("settlement_refused")]


SHIFT = (
    move(at(3.1), P1, P2, store="b"),
    move(at(1.5), "uncovered", P1, store="a"),
)


@pytest.mark.parametrize("moves", [SHIFT, SHIFT[::-1]])
def test_all_moves_of_a_settlement_are_applied_together_in_any_order(
    moves: tuple[dict[str, object], ...],
) -> None:
    played = late()
    played.on(settled(at(4), *moves, as_of=3, from_ms=at(1)))
    assert [pack.pack_id for pack in quick(played).spent] == ["P1", "P2"]
    entries = [entry for entry in played.entries if entry.reason == "settled"]
    assert sum(entry.calls for entry in entries) == 0
    assert sorted((entry.kind, entry.pack_id, entry.store, entry.calls) for entry in entries) == [
        ("charge", "P1", "a", 1),
        ("charge", "P1", "b", -1),
        ("charge", "P2", "b", 1),
        ("uncovered", "", "a", -1),
    ]
    assert_balanced(played.state.accounts[APP], played.entries)
    assert [entry.amount_micro_yuan for entry in entries if entry.pack_id == "P2"] == [40_000]


def test_an_app_is_settled_by_a_settlement_that_finds_nothing_to_move() -> None:
    played = late()
    played.on(settled(at(4), *SHIFT, as_of=3, from_ms=at(1)))
    assert played.kinds()[-1] == "unsettled"
    assert played.state.accounts[APP].unsettled_ms < NEVER_MS
    played.on(settled(at(4), as_of=4, after=4, from_ms=at(1)))
    assert played.kinds()[-1] == "settlement"
    assert played.state.accounts[APP].unsettled_ms == NEVER_MS


def test_a_late_fact_after_the_offset_of_a_settlement_keeps_its_app_unsettled() -> None:
    played = late()
    played.on(settled(at(4), as_of=2, from_ms=at(1)))
    assert played.kinds()[-2:] == ["settlement", "unsettled"]


def test_a_settlement_that_was_worked_out_by_other_rules_is_refused() -> None:
    played = late()
    ours, others = (rules_of_decisions(rules) for rules in (played.rules, Rules(trial_calls=7)))
    played.on(settled(at(4), *SHIFT, as_of=3, from_ms=at(1), rules=others))
    assert refusals(played) == ["other_rules"]
    assert played.with_(settled(at(4), *SHIFT, as_of=3, from_ms=at(1), rules=ours)).of("settlement") != []


def test_a_repeated_settlement_is_overtaken_by_the_first() -> None:
    played = late()
    again = settled(at(4), *SHIFT, as_of=3, from_ms=at(1))
    played.on(again, again)
    assert refusals(played) == ["overtaken"]
    assert_balanced(played.state.accounts[APP], played.entries)


def test_a_settlement_of_calls_that_a_pack_took_over_since_is_refused() -> None:
    played = late()
    played.on(purchased(at(4), "P0", calls=1, paid_at=at(1.2), days=90))
    played.on(settled(at(4), move(at(1.5), "uncovered", P2, store="a"), as_of=3, from_ms=at(1)))
    assert refusals(played) == ["overtaken"]


@pytest.mark.parametrize(
    "moves",
    [
        (move(at(1.5), "uncovered", P1, store="a"),),
        (move(at(1.5), "uncovered", P2, store="a"),),
        (move(at(3.1), P2, "uncovered"),),
        (move(at(3.1), "trial", P2),),
        (move(at(3.1), "uncovered", "pack:unknown"),),
        (move(at(3.1), "uncovered", P2, capability="realtime"),),
        (move(at(3.1), P1, P1),),
    ],
    ids=["full", "before_its_start", "unused", "no_trial", "unknown", "other_capability", "to_itself"],
)
def test_a_settlement_that_would_break_an_invariant_changes_nothing(
    moves: tuple[dict[str, object], ...],
) -> None:
    played = late()
    before = msgspec.msgpack.encode(played.state.accounts[APP])
    played.on(settled(at(4), *moves, as_of=3, from_ms=at(1)))
    assert refusals(played) == ["does_not_fit"]
    assert msgspec.msgpack.encode(played.state.accounts[APP]) == before


def test_a_pack_that_gets_calls_back_is_open_again() -> None:
    played = late()
    played.on(settled(at(4), move(at(3.1), P1, "exempt", store="b"), as_of=3, from_ms=at(1)))
    assert [(pack.pack_id, pack.remaining) for pack in quick(played).open] == [("P1", 1), ("P2", 1)]
    assert (quick(played).active_size, quick(played).active_remaining) == (2, 2)
    assert_balanced(played.state.accounts[APP], played.entries)


def test_a_move_into_a_lapsed_pack_corrects_what_lapsed() -> None:
    played = play(
        purchased(at(1), "P1", calls=3, days=1, price=90_000),
        ticked(at(9)),
        succeeded(at(1.5)),
        succeeded(at(1.6)),
    )
    played.on(settled(at(9), move(at(1.5), "uncovered", P1, 2), as_of=3, from_ms=at(1)))
    (lapse,) = [entry for entry in played.of("lapse") if entry.reason == "settled"]
    assert (lapse.calls, lapse.amount_micro_yuan, lapse.time_ms) == (-2, -60_000, at(2))
    assert [(closed.status, closed.lapsed) for closed in quick(played).closed] == [("lapsed", 1)]
    assert_balanced(played.state.accounts[APP], played.entries)
    played.on(settled(at(9), move(at(1.5), P1, "uncovered", 2), as_of=4, after=4, from_ms=at(1)))
    assert [(closed.status, closed.lapsed) for closed in quick(played).closed] == [("lapsed", 3)]
    assert_balanced(played.state.accounts[APP], played.entries)


def test_a_refund_that_turns_out_otherwise_flips() -> None:
    played = play(purchased(at(1), "P1", calls=2), succeeded(at(3)), refunded(at(2), "P1"))
    played.on(settled(at(4), move(at(3), P1, "uncovered"), as_of=2, from_ms=at(2), refunded=["P1"]))
    assert [closed.status for closed in quick(played).closed] == ["refunded"]
    assert [(entry.calls, entry.reason) for entry in played.of("refund")] == [(2, "settled")]
    assert_balanced(played.state.accounts[APP], played.entries)
    back = settled(at(4), move(at(3), "uncovered", P1), as_of=3, after=3, from_ms=at(2), not_refunded=["P1"])
    played.on(back)
    assert [pack.remaining for pack in quick(played).open] == [1]
    assert_balanced(played.state.accounts[APP], played.entries)
    again = settled(at(4), as_of=4, after=4, from_ms=at(2), not_refunded=["P1"])
    assert refusals(played.with_(again)) == ["does_not_fit"]


def test_trial_calls_move_within_the_trial_quota() -> None:
    played = play(registered(at(2), "media"), succeeded(at(3)), rules=Rules(trial_calls=2))
    played.on(settled(at(4), move(at(3), "trial", "exempt"), as_of=1, from_ms=at(2)))
    assert played.state.accounts[APP].trial == 2
    played.on(settled(at(4), move(at(3), "exempt", "trial", 3), as_of=2, after=2, from_ms=at(2)))
    assert refusals(played) == ["does_not_fit"]


def test_remembered_calls_that_were_moved_are_not_taken_over_later() -> None:
    played = late()
    played.on(settled(at(4), *SHIFT, as_of=3, from_ms=at(1)))
    played.on(purchased(at(5), "P0", calls=5, paid_at=at(1)))
    assert [entry for entry in played.of("charge") if entry.reason == "taken_over"] == []


def test_parts_are_applied_in_their_order_only() -> None:
    played = late()
    first = settled(at(4), move(at(3.1), P1, P2, store="b"), as_of=3, from_ms=at(1), part=1, parts=2)
    second = settled(
        at(4), move(at(1.5), "uncovered", P1, store="a"), as_of=3, from_ms=at(1), part=2, parts=2
    )
    assert refusals(played.with_(second)) == ["overtaken"]
    played.on(first, second)
    assert refusals(played) == []
    assert [pack.pack_id for pack in quick(played).spent] == ["P2", "P1"]
    assert refusals(played.with_(second)) == ["overtaken"]


def test_a_settlement_moves_no_clock_and_makes_no_account() -> None:
    played = late()
    clock_ms = played.state.accounts[APP].clock_ms
    played.on(settled(at(400), as_of=3), settled(at(400), as_of=3, app="wx-unknown"))
    assert played.state.accounts[APP].clock_ms == clock_ms
    assert "wx-unknown" not in played.state.accounts
    assert refusals(played) == ["does_not_fit"]


def test_moved_calls_count_in_their_own_day() -> None:
    played = late()
    assert (quick(played).calls_today, quick(played).calls_before) == (1, ())
    moves = move(at(3.1), P1, "uncovered", store="b")
    played.on(settled(at(4), moves, as_of=3, from_ms=at(1)))
    assert quick(played).calls_today == 0


def test_levels_are_looked_at_once_after_a_settlement() -> None:
    played = play(purchased(at(1), "P1", calls=10), *(succeeded(at(2)) for _ in range(7)))
    played.on(settled(at(3), move(at(2), "uncovered", P1, 3), as_of=7, from_ms=at(2)))
    told = [(entry.kind, entry.remaining) for entry in played.of("alert", "recovery")]
    assert told == [("alert", 0)] * 4
    played.on(settled(at(3), move(at(2), P1, "uncovered", 9), as_of=8, after=8, from_ms=at(2)))
    assert {entry.remaining for entry in played.of("recovery")} == {9}


def test_time_between_settlements_is_not_needed_to_lapse_a_reopened_pack() -> None:
    played = play(purchased(at(1), "P1", calls=1, days=1), succeeded(at(1.5)))
    played.on(settled(at(1.6), move(at(1.5), P1, "exempt"), as_of=1, from_ms=at(1)))
    played.on(ticked(at(2) + DAY_MS))
    assert [entry.calls for entry in played.of("lapse")] == [1]
