"""Corrections as they meet settled days, other purchases, owners and lapses (rule 15)."""

import pytest

from tests.metering.building import (
    APP,
    NO_TRIAL,
    Play,
    at,
    call_kinds,
    corrected,
    id_of,
    observed,
    purchased,
    registered,
    succeeded,
    taken_back,
    text_of,
    ticked,
)
from tests.metering.settler import Settler


def settled(*values: bytes) -> Play:
    played = Play(NO_TRIAL)
    return settle(played, *values)


def settle(played: Play, *values: bytes) -> Play:
    played.on(*values)
    Settler(played).settle()
    return played


def test_a_correction_of_a_settled_day_is_not_made_again_by_a_later_one() -> None:
    call, free = succeeded(at(1)), succeeded(at(-1))
    played = settled(call, free, corrected(at(4), id_of(call), set={"store": "b"}))
    settle(played, corrected(at(5), id_of(free), void=True))
    assert call_kinds(played) == {"free": 1, "uncovered": 1}


def test_a_call_that_is_set_to_before_the_start_of_billing_is_nowhere() -> None:
    call = succeeded(at(1))
    played = settled(call, corrected(at(2), id_of(call), set={"time": text_of(at(-1))}))
    assert call_kinds(played) == {"corrected": 1}


def test_of_two_purchases_of_a_pack_the_earlier_says_what_was_used_before() -> None:
    played = settled(
        purchased(at(2), "P", calls=5), purchased(at(3), "P", calls=5, paid_at=at(1), used_before=2)
    )
    (pack,) = played.state.accounts[APP].quick.open
    assert (pack.starts_at_ms, pack.used_before, pack.remaining) == (at(1), 2, 3)


@pytest.mark.parametrize("corrected_use", [0, 1])
@pytest.mark.parametrize("counted_at", [at(1), at(4), at(6)])
def test_a_corrected_use_before_the_log_holds_against_the_platforms_count_whichever_comes_first(
    corrected_use: int, counted_at: int
) -> None:
    pack, count = purchased(at(2), "P", calls=9), observed(counted_at, 3, pack_id="P")
    correction = corrected(at(5), id_of(pack), set={"used_before": corrected_use})
    played = [
        settled(count, pack, correction),
        settled(pack, count, correction),
        settled(pack, correction, count),
        settle(settled(pack, correction), count),
    ]
    for each in played:
        (held,) = each.state.accounts[APP].quick.open
        assert (held.used_before, held.remaining) == (corrected_use, 9 - corrected_use)


def test_of_two_purchases_of_a_pack_with_the_same_terms_the_earlier_says_the_capability() -> None:
    played = settled(
        purchased(at(1), "P", event_id="b"), purchased(at(1), "P", capability="realtime", event_id="a")
    )
    assert [pack.pack_id for pack in played.state.accounts[APP].realtime.open] == ["P"]


def test_a_late_call_of_before_the_corrected_time_of_the_owner_is_charged() -> None:
    owner = registered(at(1), "government")
    played = settled(owner, corrected(at(4), id_of(owner), set={"time": text_of(at(3))}))
    settle(played, succeeded(at(2)))
    assert call_kinds(played) == {"uncovered": 1}


def test_a_corrected_pack_that_was_taken_back_after_it_lapsed_lapsed_all_the_same() -> None:
    pack = purchased(at(1), "P", calls=5, days=1)
    played = settled(pack, ticked(at(9)), taken_back(at(9), "P"))
    settle(played, corrected(at(10), id_of(pack), set={"price_micro_yuan": 7}))
    (closed,) = played.state.accounts[APP].quick.closed
    assert (closed.status, closed.lapsed, closed.refunded) == ("refunded", 5, 0)


def test_a_refund_that_was_after_the_lapse_gives_nothing_back() -> None:
    pack, refund = purchased(at(1), "P", calls=5, days=3), taken_back(at(2), "P")
    played = settled(pack, refund, ticked(at(9)))
    settle(played, corrected(at(10), id_of(refund), set={"time": text_of(at(9))}))
    (closed,) = played.state.accounts[APP].quick.closed
    assert (closed.status, closed.lapsed, closed.refunded) == ("refunded", 5, 0)
