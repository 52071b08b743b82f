"""Corrections as events (rules 8 and 14): cut into parts of which each fits, with ids that are derived."""

import pytest

from metering.event_validation import read_event
from metering.events import MOVES_MAX, VALUE_BYTES_MAX, Settled, SettlementData
from metering.settlement import settlement_id
from metering.settlement_events import settlement_event
from metering.times import from_ms
from tests.metering.building import APP, NO_TRIAL, Play, at, purchased, registered, succeeded
from tests.metering.settler import Settler
from tests.metering.test_properties import assert_balanced


def parts_of(played: Play) -> list[SettlementData]:
    events = [read_event(value, now_ms=None) for value in Settler(played).events(Settler(played).read(APP))]
    assert all(isinstance(event, Settled) for event in events)
    return [event.data for event in events if isinstance(event, Settled)]


def many_stores(calls: int) -> list[bytes]:
    return [succeeded(at(10) + number, store=f"store-{number}", scene="场景" * 16) for number in range(calls)]


def test_nothing_to_move_is_one_event_without_moves() -> None:
    played = Play(NO_TRIAL)
    played.on(purchased(at(1), "P1", calls=1), succeeded(at(3) + 1), succeeded(at(3)))
    (data,) = parts_of(played)
    assert (data.moves, data.part, data.parts, data.as_of, data.after) == ([], 1, 1, 2, -1)


@pytest.mark.parametrize(
    "late",
    [
        purchased(at(20), "SHORT", calls=1_000, days=30, paid_at=at(2)),
        registered(at(5), "government"),
        purchased(at(20), "SHORT", calls=600, days=30, paid_at=at(2)),
    ],
    ids=["all", "exempt", "some"],
)
def test_many_moves_are_cut_into_parts_of_which_each_fits(late: bytes) -> None:
    played = Play(NO_TRIAL)
    played.on(purchased(at(1), "YEAR", calls=700, days=365), *many_stores(650), late)
    parts = parts_of(played)
    assert len(parts) > 2
    assert [part.part for part in parts] == list(range(1, len(parts) + 1))
    assert max(len(part.moves) for part in parts) <= MOVES_MAX
    values = Settler(played).events(Settler(played).read(APP))
    assert max(map(len, values)) <= VALUE_BYTES_MAX
    for value in values:
        played.on(value)
        assert_balanced(played.state.accounts[APP], played.entries)
    assert played.of("settlement_refused") == []
    assert Settler(played).settle() == 1


def test_moves_that_fit_in_no_order_go_through_uncovered_calls() -> None:
    """Two full packs exchange their calls: neither has room before the other."""
    played = Play(NO_TRIAL)
    first = [succeeded(at(10) + n, store=f"a-{n}") for n in range(150)]
    second = [succeeded(at(12) + n, store=f"b-{n}") for n in range(150)]
    played.on(purchased(at(1), "YEAR", calls=150, days=365), *second)
    played.on(purchased(at(13), "OTHER", calls=150, days=300, starts_at=at(9)), *first)
    played.on(*(succeeded(at(12) + n, store=f"c-{n}") for n in range(150)))
    settler = Settler(played)
    for value in settler.events(settler.read(APP)):
        played.on(value)
        assert_balanced(played.state.accounts[APP], played.entries)
    settler.settle()
    assert played.of("settlement_refused") == []


def test_whoever_works_out_a_settlement_gives_it_the_same_id() -> None:
    data = SettlementData(as_of=7, after=-1, from_=from_ms(at(1)))
    event = read_event(settlement_event(APP, data, time_ms=at(1), source="/settler"), now_ms=None)
    assert isinstance(event, Settled)
    assert event.id == settlement_id(APP, 7, -1, 1)
    assert len({settlement_id(APP, 7, -1, part) for part in (1, 2)} | {settlement_id("b", 7, -1, 1)}) == 3
