"""Packs that are assigned to the same app again (rules 8, 10 and 16)."""

from itertools import permutations

import pytest

from metering.rating import rate
from tests.metering.building import (
    APP,
    DAY_MS,
    NO_TRIAL,
    Play,
    assigned,
    at,
    cancelled,
    pack_of,
    purchased,
    refunded,
    succeeded,
    ticked,
    use_of,
)
from tests.metering.settler import Settler, figures_of
from tests.metering.test_properties import assert_balanced

FIRST = assigned(at(1), "p")
BACK = cancelled(at(3), "p")
AGAIN = assigned(at(5), "p")
Holdings = list[tuple[int, int, str]]


def settled(*values: bytes) -> Play:
    played = Play(NO_TRIAL)
    played.on(*values)
    Settler(played).settle()
    assert_balanced(played.state.accounts[APP], played.entries)
    return played


def holdings(played: Play) -> Holdings:
    """Of each pack of the app: its start, the calls that it holds, and what became of it."""
    use = played.state.accounts[APP].quick
    held = [(pack.starts_at_ms, pack.remaining, "held") for pack in (*use.open, *use.spent)]
    return held + [(each.pack.starts_at_ms, 0, each.status) for each in use.closed]


@pytest.mark.parametrize("back", [BACK, refunded(at(3), "p"), cancelled(at(3), "p", by="platform")])
def test_a_pack_that_was_given_back_untouched_is_assigned_again(back: bytes) -> None:
    assert holdings(settled(FIRST, back, AGAIN, succeeded(at(6)))) == [(at(5), 9, "held")]


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ((FIRST, AGAIN), [(at(1), 10, "held")]),
        ((FIRST, succeeded(at(2)), BACK, AGAIN), [(at(1), 9, "held")]),
        ((FIRST, succeeded(at(2)), cancelled(at(3), "p", by="platform"), AGAIN), [(at(1), 0, "refunded")]),
        ((assigned(at(1), "p", used_before=4), cancelled(at(3), "p", by="platform"), AGAIN),
         [(at(1), 0, "refunded")]),
        ((FIRST, BACK, purchased(at(5), "p")), [(at(1), 0, "refunded")]),
        ((FIRST, BACK, assigned(at(2), "p")), [(at(1), 0, "refunded")]),
    ],
)  # fmt: skip
def test_one_that_was_not_given_back_before_or_was_used_is_not(
    facts: tuple[bytes, ...], expected: Holdings
) -> None:
    assert holdings(settled(*facts)) == expected


def test_an_assignment_that_is_recorded_twice_is_one() -> None:
    played = settled(FIRST, assigned(at(1), "p"), succeeded(at(2)))
    assert holdings(played) == [(at(1), 9, "held")]
    assert played.of("unsettled") == []


def late_pack_that_is_used_first(paid_day: int) -> list[bytes]:
    """A call, and a pack told later that should have covered it: the app is unsettled from its day on."""
    pack = purchased(at(40), "late", days=20, paid_at=at(paid_day))
    return [succeeded(at(paid_day + 1)), pack]


def test_a_cancellation_from_before_an_assignment_is_about_an_earlier_one() -> None:
    for facts in permutations([cancelled(at(3), "p", by="platform"), AGAIN]):
        played = settled(*facts, *late_pack_that_is_used_first(6))
        assert played.of("settlement") != []
        assert (holdings(played)[0], len(played.of("refund_waiting"))) == ((at(5), 10, "held"), 1)


def test_an_assignment_that_was_refused_long_ago_is_found_when_the_earlier_one_is_cancelled() -> None:
    played = settled(FIRST, AGAIN)
    played.on(BACK)
    Settler(played).settle()
    assert holdings(played) == [(at(5), 10, "held")]


FACTS = (FIRST, BACK, AGAIN, succeeded(at(4), store="b"), succeeded(at(6)), succeeded(at(7)))


@pytest.mark.parametrize("first", range(len(FACTS)))
def test_whatever_the_order_of_arrival_the_later_assignment_has_the_calls(first: int) -> None:
    expected = figures_of(settled(*FACTS, ticked(at(8))))
    assert expected[APP]["packs"] == [("quick", "p", "held", 8, 0)]
    for rest in permutations([*FACTS[:first], *FACTS[first + 1 :]]):
        played = settled(FACTS[first], *rest, ticked(at(8)))
        assert holdings(played) == [(at(5), 8, "held")]
        assert figures_of(played) == expected


TWICE = (FIRST, BACK, AGAIN, cancelled(at(7), "p"), succeeded(at(2) + 2 * DAY_MS), succeeded(at(8)))


@pytest.mark.parametrize("first", range(len(TWICE)))
def test_whatever_the_order_of_arrival_a_pack_that_was_cancelled_twice_is_gone(first: int) -> None:
    for rest in permutations([*TWICE[:first], *TWICE[first + 1 :]]):
        played = settled(TWICE[first], *rest)
        assert holdings(played) == [(at(5), 0, "refunded")]
        assert sum(entry.calls for entry in played.of("uncovered")) == 2


def test_a_late_call_that_used_the_first_assignment_undoes_the_second() -> None:
    """Its cancellation was only asked for, and would have been refused."""
    played = settled(FIRST, BACK, AGAIN, succeeded(at(6)), ticked(at(7)))
    played.on(succeeded(at(2)))
    Settler(played).settle()
    assert holdings(played) == [(at(1), 8, "held")]


def test_calls_of_long_before_the_unsettled_days_stay_with_the_later_assignment() -> None:
    played = settled(FIRST, BACK, AGAIN, *(succeeded(at(6), event_id=f"tap-{n}") for n in range(4)))
    played.on(*late_pack_that_is_used_first(25))
    Settler(played).settle()
    assert sorted(holdings(played)) == [(at(5), 6, "held"), (at(25), 9, "held")]


def test_the_settled_figures_of_a_file_have_one_pack() -> None:
    rating = rate([BACK, AGAIN, FIRST, succeeded(at(6)), succeeded(at(2))], NO_TRIAL, settled=True)
    assert (pack_of(rating, "p").remaining, use_of(rating).uncovered) == (8, 0)
    rating = rate([BACK, AGAIN, FIRST, succeeded(at(6))], NO_TRIAL, settled=True)
    assert (pack_of(rating, "p").remaining, use_of(rating).uncovered) == (9, 0)
