"""Late facts as users meet them (rule 8): a file gives the same figures as its facts in order."""

from collections.abc import Callable

import pytest

from metering.rating import Rating, rate
from tests.metering.building import (
    DAY_MS,
    HOUR_MS,
    NO_TRIAL,
    assigned,
    at,
    cancelled,
    pack_of,
    purchased,
    refunded,
    registered,
    succeeded,
    use_of,
)
from tests.metering.settler import in_effective_order

OTHER = "wx49744e4b60b7a2c3"
YEAR = 365


def late_call_at_top_up() -> list[bytes]:
    """One call left before a top-up; the call that took it comes after one that is later."""
    return [
        purchased(at(1), "P1", calls=1, price=30_000),
        purchased(at(10), "P2", calls=1, price=30_000),
        succeeded(at(10) + HOUR_MS),
        succeeded(at(10) - HOUR_MS),
    ]


def backlog_of_one_back_end() -> list[bytes]:
    """One of two back ends sends its forty calls of two hours after the sixty of the other."""
    return [
        purchased(at(1), "P1", calls=50, price=1_500_000),
        purchased(at(10), "P2", calls=250, price=7_500_000),
        *(succeeded(at(10) + minute * 60_000) for minute in range(1, 61)),
        *(succeeded(at(10) - minute * 60_000) for minute in range(1, 41)),
    ]


def history(*, packs_first: bool) -> list[bytes]:
    """A pack of long ago and its sixty calls, imported behind live traffic."""
    pack = purchased(at(10), "H1", calls=250, price=7_500_000)
    calls = [succeeded(at(11 + day)) for day in range(60)]
    live = [purchased(at(500), "L1", calls=1_000, days=YEAR), succeeded(at(501))]
    return [*live, pack, *calls] if packs_first else [*live, *calls, pack]


def late_pack_that_is_used_first() -> list[bytes]:
    """A short pack, typed in after a hundred calls were taken from a pack of a year."""
    return [
        purchased(at(1), "YEAR", calls=1_000, days=YEAR),
        *(succeeded(at(3) + minute * 60_000) for minute in range(100)),
        purchased(at(20), "SHORT", calls=250, days=90, paid_at=at(2)),
        succeeded(at(200)),
    ]


def owner_told_late() -> list[bytes]:
    """A government office, registered after its first calls with the time from which it is one."""
    return [
        purchased(at(1), "P1", calls=250),
        *(succeeded(at(2) + day * DAY_MS) for day in range(5)),
        registered(at(1.5), "government"),
        succeeded(at(20)),
    ]


def refund_before_purchase() -> list[bytes]:
    """A refund on the queue ahead of its purchase, and one that is sent twice."""
    return [
        refunded(at(2), "P1"),
        purchased(at(2, ms=5_000), "P1", calls=250, paid_at=at(1)),
        succeeded(at(3)),
        purchased(at(4), "P2", calls=250, days=YEAR),
        refunded(at(5), "P2"),
        refunded(at(6), "P2"),
    ]


def moved_between_apps(*, paid_at_is_assignment: bool) -> list[bytes]:
    """An agency's pack, paid long ago, that is assigned to an app, cancelled, and assigned to another."""
    paid_ms = at(60) if paid_at_is_assignment else at(0)
    return [
        assigned(at(60), "ZY1", calls=10_000, days=YEAR, price=260_000_000, paid_at=paid_ms),
        cancelled(at(63), "ZY1"),
        assigned(
            at(63, ms=300_000), "ZY1", calls=10_000, days=YEAR, price=260_000_000, paid_at=paid_ms, app=OTHER
        ),
        succeeded(at(64)),
        succeeded(at(64), app=OTHER),
    ]


def cancelled_first() -> list[bytes]:
    """An assignment that was typed in after its cancellation and the calls of the app."""
    return [
        cancelled(at(63), "ZY1"),
        succeeded(at(62)),
        succeeded(at(64)),
        assigned(at(70), "ZY1", calls=10, assigned_at=at(62, hours=1), paid_at=at(1)),
        cancelled(at(64), "ZY2", by="platform"),
        assigned(at(70), "ZY2", calls=10, assigned_at=at(60), paid_at=at(1)),
    ]


CASES: list[Callable[[], list[bytes]]] = [
    late_call_at_top_up,
    backlog_of_one_back_end,
    lambda: history(packs_first=True),
    lambda: history(packs_first=False),
    late_pack_that_is_used_first,
    owner_told_late,
    refund_before_purchase,
    lambda: moved_between_apps(paid_at_is_assignment=False),
    lambda: moved_between_apps(paid_at_is_assignment=True),
    cancelled_first,
]


def settled(values: list[bytes]) -> Rating:
    return rate(values, NO_TRIAL, settled=True)


def test_a_call_that_came_after_the_top_up_is_taken_from_the_pack_before_it() -> None:
    rating = settled(late_call_at_top_up())
    assert use_of(rating).uncovered == 0
    assert {pack.pack_id: pack.remaining for pack in use_of(rating).packs} == {"P1": 0, "P2": 0}
    assert use_of(rate(late_call_at_top_up(), NO_TRIAL)).uncovered == 1


def test_a_backlog_takes_the_calls_of_its_own_time() -> None:
    rating = settled(backlog_of_one_back_end())
    assert use_of(rating).uncovered == 0
    assert {pack.pack_id: pack.remaining for pack in use_of(rating).packs} == {"P1": 0, "P2": 200}


@pytest.mark.parametrize("packs_first", [True, False])
def test_history_gives_one_answer_whatever_the_order_of_its_lines(*, packs_first: bool) -> None:
    rating = settled(history(packs_first=packs_first))
    old, new = pack_of(rating, "H1"), pack_of(rating, "L1")
    assert (old.lapsed, old.amount_micro_yuan, new.remaining) == (190, 1_800_000, 999)
    assert use_of(rating).uncovered == 0


def test_a_pack_that_is_told_late_and_expires_first_is_used_first_and_lapses() -> None:
    rating = settled(late_pack_that_is_used_first())
    short, year = pack_of(rating, "SHORT"), pack_of(rating, "YEAR")
    assert (short.status, short.lapsed, year.remaining) == ("lapsed", 150, 999)


def test_calls_between_an_exemption_and_its_recording_are_not_charged() -> None:
    rating = settled(owner_told_late())
    assert (use_of(rating).charged, use_of(rating).exempt) == (0, 6)
    assert pack_of(rating, "P1").remaining == 250


def test_a_refund_that_comes_before_its_purchase_is_given() -> None:
    rating = settled(refund_before_purchase())
    assert [pack_of(rating, name).status for name in ("P1", "P2")] == ["refunded", "refunded"]
    assert use_of(rating).uncovered == 1


@pytest.mark.parametrize("paid_at_is_assignment", [False, True])
def test_a_pack_whose_assignment_was_cancelled_has_left_its_app(*, paid_at_is_assignment: bool) -> None:
    rating = settled(moved_between_apps(paid_at_is_assignment=paid_at_is_assignment))
    assert (pack_of(rating, "ZY1").status, use_of(rating).uncovered) == ("refunded", 1)
    there = pack_of(rating, "ZY1", app=OTHER)
    assert (there.remaining, there.amount_micro_yuan) == (9_999, 26_000)
    assert use_of(rating, app=OTHER).uncovered == 0


def test_a_cancellation_that_comes_before_its_assignment_waits_for_it() -> None:
    rating = settled(cancelled_first())
    assert (pack_of(rating, "ZY1").status, pack_of(rating, "ZY2").status) == ("refunded", "refunded")
    assert (pack_of(rating, "ZY2").amount_micro_yuan, use_of(rating).uncovered) == (30_000, 1)


@pytest.mark.parametrize("case", CASES)
def test_the_settled_figures_are_those_of_the_facts_in_order(case: Callable[[], list[bytes]]) -> None:
    assert settled(case()) == rate(in_effective_order(case()), NO_TRIAL)
