"""The pack: validity and consumption order (rules 5 and 6)."""

import pytest

from metering.event_validation import read_event
from metering.events import Purchased
from metering.packs import Pack
from metering.rules import Rules
from metering.times import parse_time
from tests.metering.building import DAY_MS, at, purchased


def bought(value: bytes, rules: Rules | None = None) -> Pack:
    event = read_event(value, now_ms=None)
    assert isinstance(event, Purchased)
    return Pack.bought(event.data, event.had_from, rules or Rules())


def test_a_pack_starts_when_it_was_paid() -> None:
    pack = bought(purchased(at(20), "pack-1", paid_at=at(10)))
    assert (pack.starts_at_ms, pack.paid_at_ms) == (at(10), at(10))


def test_a_pack_starts_when_the_agency_said_if_it_did() -> None:
    assert bought(purchased(at(0), "pack-1", starts_at=at(30))).starts_at_ms == at(30)
    assert bought(purchased(at(30), "pack-1", starts_at=at(20))).starts_at_ms == at(20)


@pytest.mark.parametrize("given", [None, at(-5)])
def test_no_pack_starts_before_billing_does(given: int | None) -> None:
    assert bought(purchased(at(-10), "pack-1", starts_at=given)).starts_at_ms == at(0)
    late = Rules(billing_start_ms=at(2))
    assert bought(purchased(at(-10), "pack-1", starts_at=given), late).starts_at_ms == at(2)


@pytest.mark.parametrize("days", [90, 180, 365])
def test_a_pack_is_valid_for_days_of_86400_seconds(days: int) -> None:
    pack = bought(purchased(at(3), "pack-1", days=days))
    assert pack.expires_at_ms - pack.starts_at_ms == days * 86_400_000


def test_a_leap_day_makes_no_pack_valid_for_longer() -> None:
    paid = parse_time("2024-01-15T09:30:00+08:00")
    pack = bought(purchased(paid, "pack-1", days=365))
    assert pack.expires_at_ms == paid + 31_536_000_000 == parse_time("2025-01-14T09:30:00+08:00")


def test_a_pack_covers_its_start_and_not_its_expiry() -> None:
    pack = bought(purchased(at(3), "pack-1", days=90))
    assert [pack.covers(pack.starts_at_ms + ms) for ms in (-1, 0, 90 * DAY_MS - 1, 90 * DAY_MS)] == [
        False,
        True,
        True,
        False,
    ]


def test_packs_sort_by_expiry_then_start_then_id() -> None:
    last = bought(purchased(at(0), "a", days=91))
    third = bought(purchased(at(1), "a", days=89))
    second = bought(purchased(at(0), "b", days=90))
    first = bought(purchased(at(0), "a", days=90))
    assert sorted([last, third, second, first]) == [first, second, third, last]


def test_neither_size_nor_price_decides_the_burn_order() -> None:
    cheap, dear = (bought(purchased(at(0), name, price=price)) for name, price in (("b", 1), ("a", 9)))
    assert dear < cheap


def test_what_is_left_lapses_once_late_calls_are_no_longer_waited_for() -> None:
    pack = bought(purchased(at(0), "pack-1", days=90))
    assert pack.lapses_at_ms(Rules()) == at(91)
    assert pack.lapses_at_ms(Rules(allowed_lateness_ms=0)) == at(90)
