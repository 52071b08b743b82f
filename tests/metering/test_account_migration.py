"""An app gets another appid: what it holds leaves it, once (rule 16)."""

from itertools import permutations

import pytest

from metering.accounts import decode_account, encode_account
from metering.explanation import explain
from metering.rules import Rules
from tests.metering.building import (
    APP,
    NO_TRIAL,
    Play,
    assigned,
    at,
    corrected,
    id_of,
    migrated,
    play,
    purchased,
    records,
    refunded,
    succeeded,
    text_of,
    ticked,
)
from tests.metering.settler import Settler, figures_of
from tests.metering.test_properties import assert_balanced

NEW = "wx-new"
LEAVES = migrated(at(20), NEW)


def left(played: Play) -> list[tuple[str, str, int, int]]:
    """The entries by which calls left: their kind, pack, number, and what remained."""
    return [
        (entry.kind, entry.pack_id, entry.calls, entry.remaining)
        for entry in played.of("refund", "opening")
        if entry.reason == "migrated"
    ]


def test_what_packs_and_trial_quota_hold_leaves_and_what_was_charged_stays() -> None:
    played = Play(Rules(trial_calls=2))
    facts = [
        purchased(at(1), "used", calls=5),
        assigned(at(2), "to-come", starts_at=at(40)),
        purchased(at(1), "full", calls=1, days=30),
        purchased(at(1), "other", capability="realtime"),
        succeeded(at(3), event_id="tap"),
    ]
    played.on(*facts, LEAVES)
    assert sorted(left(played)) == [
        ("opening", "", 1, 0),
        ("refund", "full", 1, 0),
        ("refund", "other", 10, 0),
        ("refund", "to-come", 10, 0),
        ("refund", "used", 5, 0),
    ]
    account = played.state.accounts[APP]
    assert (account.trial, account.balance(account.quick), account.quick.open) == (0, 0, ())
    assert_balanced(account, played.entries)
    assert decode_account(encode_account(account)) == account


def test_a_pack_that_holds_none_any_more_leaves_as_well_and_an_expired_one_lapses() -> None:
    played = play(
        purchased(at(1), "spent", calls=1),
        succeeded(at(2)),
        purchased(at(3), "expired", days=5),
        migrated(at(8, hours=1), NEW),
        ticked(at(10)),
    )
    assert left(played) == [("refund", "spent", 0, 0)]
    assert [(entry.pack_id, entry.calls) for entry in played.of("lapse")] == [("expired", 10)]


def test_it_raises_no_alert() -> None:
    played = play(purchased(at(1), "p"), *(succeeded(at(2)) for _ in range(2)))
    assert [entry.kind for entry in played.on(LEAVES)] == ["migration", "refund"]


def test_a_call_of_later_is_uncovered() -> None:
    played = play(purchased(at(1), "p"), LEAVES, succeeded(at(21)))
    assert [entry.reason for entry in played.of("uncovered")] == ["no_pack"]


def test_it_happens_once() -> None:
    played = play(purchased(at(1), "p"), LEAVES, migrated(at(21), "wx-third"), purchased(at(30), "q"))
    (refused,) = played.of("migration_refused")
    assert refused.reason == "already_migrated"
    assert [pack.pack_id for pack in played.state.accounts[APP].quick.open] == ["q"]


def test_a_pack_that_is_recorded_later_leaves_with_the_others() -> None:
    played = play(LEAVES, purchased(at(22), "p", paid_at=at(1)), purchased(at(23), "q"))
    assert left(played) == [("refund", "p", 10, 0)]
    assert [pack.pack_id for pack in played.state.accounts[APP].quick.open] == ["q"]


FACTS = (purchased(at(1), "p"), succeeded(at(2)), succeeded(at(19)), LEAVES, succeeded(at(21)))


def test_whatever_the_order_of_arrival_the_figures_are_those_of_the_order_in_time() -> None:
    expected = None
    for facts in permutations(FACTS):
        played = Play(NO_TRIAL)
        played.on(*facts, ticked(at(22)))
        Settler(played).settle()
        assert_balanced(played.state.accounts[APP], played.entries)
        figures = figures_of(played)
        expected = expected or figures
        assert figures == expected
    assert expected is not None
    assert expected[APP]["packs"] == [("quick", "p", "refunded", 8, 0)]


@pytest.mark.parametrize(("again", "why"), [(False, NEW), (True, "another appid before")])
def test_it_is_explained(*, again: bool, why: str) -> None:
    played = play(purchased(at(1), "p"), *([LEAVES] if again else []))
    (record,) = records([migrated(at(21), NEW)], played.state.next_offset)
    assert why in explain(played.state, record, played.rules).why


TAKEN_BACK = refunded(at(3), "p")


@pytest.mark.parametrize(
    ("facts", "correction", "held"),
    [
        (
            (purchased(at(1), "p"),),
            {"set": {"pack_id": "renamed"}},
            [("quick", "renamed", "refunded", 10, 0)],
        ),
        (
            (purchased(at(1), "p", days=5),),
            {"set": {"validity_days": 90}},
            [("quick", "p", "refunded", 10, 0)],
        ),
        ((purchased(at(1), "p"),), {"set": {"paid_at": text_of(at(21))}}, [("quick", "p", "held", 10, 0)]),
        ((TAKEN_BACK, purchased(at(1), "p")), {"void": True}, [("quick", "p", "refunded", 10, 0)]),
    ],
)
def test_a_pack_that_is_corrected_leaves_as_if_it_had_been_so(
    facts: tuple[bytes, ...], correction: dict[str, object], held: list[tuple[object, ...]]
) -> None:
    told = corrected(at(22), id_of(facts[0]), app=APP, **correction)
    for order in permutations([*facts, LEAVES, told]):
        played = Play(NO_TRIAL)
        played.on(ticked(at(22)), *order)
        Settler(played).settle()
        assert_balanced(played.state.accounts[APP], played.entries)
        assert figures_of(played)[APP]["packs"] == held


def test_a_migration_is_not_corrected() -> None:
    played = play(purchased(at(1), "p"), LEAVES, corrected(at(22), id_of(LEAVES), void=True))
    Settler(played).settle()
    assert figures_of(played)[APP]["packs"] == [("quick", "p", "refunded", 10, 0)]
