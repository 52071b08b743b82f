"""Openings and refunds by the platform in the views (rules 10, 14 and 16)."""

from collections.abc import Iterator

import pytest

from dashboards.cookbook import recipe
from metering.rules import Rules
from tests.dashboards.conftest import Ledger, some_of_everything
from tests.metering.building import APP, at, observed, opened, play, purchased, succeeded, taken_back

MICRO = 1_000_000


@pytest.fixture(scope="module")
def in_use(ledger: Ledger) -> Iterator[Ledger]:
    """The ledger of an app that went live with used quotas, and of which the platform took a pack back."""
    played = play(
        purchased(at(90), "ZY9", calls=10_000, days=365, price=300 * MICRO, paid_at=at(0)),
        purchased(at(90), "OLD", calls=100, days=100, price=3 * MICRO, paid_at=at(0), used_before=40),
        observed(at(90, ms=1), 900),
        observed(at(90, ms=2), 6_200, "ZY9"),
        opened(at(90, ms=3), 950),
        *(succeeded(at(91, ms=number)) for number in range(70)),
        taken_back(at(92), "OLD"),
        observed(at(93), 6_200, "ZY9"),
        observed(at(93), 1_003),
        rules=Rules(),
    )
    ledger.replace(played.entries)
    yield ledger
    ledger.replace(some_of_everything())


def test_a_pack_holds_what_was_not_used_before(in_use: Ledger) -> None:
    found = in_use.query(
        "SELECT pack_id, status, calls, used_before, charged, lapsed, refunded, remaining, amount_micro_yuan "
        "FROM packs ORDER BY pack_id"
    )
    assert found == [
        ("OLD", "refunded", 100, 40, 20, 0, 40, 0, 600_000),
        ("ZY9", "active", 10_000, 6_200, 0, 0, 0, 3_800, 0),
    ]


def test_the_balance_is_less_by_what_was_used_before(in_use: Ledger) -> None:
    found = in_use.query(
        "SELECT capability, calls_left, trial_size, trial_used_before, trial_remaining, packs_remaining "
        "FROM balances_now ORDER BY capability"
    )
    assert found == [("quick", 3_800, 1_000, 950, 0, 3_800), ("realtime", 0, 1_000, 950, 0, 0)]


def test_what_was_used_before_was_so_on_every_day_of_a_burn_down(in_use: Ledger) -> None:
    found = in_use.query(
        "SELECT pack_id, min(pack_burndown.used_before), max(pack_burndown.used_before), "
        "argMin(pack_burndown.remaining, day), argMax(pack_burndown.remaining, day), count() "
        "FROM pack_burndown GROUP BY pack_id ORDER BY pack_id"
    )
    assert found == [("OLD", 40, 40, 60, 0, 94), ("ZY9", 6_200, 6_200, 3_800, 3_800, 94)]


def test_the_platforms_count_agrees_from_the_opening_on(in_use: Ledger) -> None:
    found = in_use.query(
        "SELECT pack_id, used, charged, difference FROM platform_usage ORDER BY observed_at, pack_id"
    )
    assert found == [
        ("", 900, 900, 0),
        ("ZY9", 6_200, 6_200, 0),
        ("", 1_003, 1_000, 3),
        ("ZY9", 6_200, 6_200, 0),
    ]


def test_a_month_closes_without_what_was_used_before(in_use: Ledger) -> None:
    rows = in_use.query(recipe("month_close").sql)
    assert {row[1] for row in rows} == {APP}
    for _, _, _, closing, opening, bought, charged, lapsed, refunded, *_ in rows:
        assert opening + bought == charged + lapsed + refunded + closing
    assert sum(row[5] for row in rows) == 10_000 - 6_200 + 100 - 40
    assert rows[-1][3] == 3_800


def test_an_order_that_the_platform_took_back_is_refunded(in_use: Ledger) -> None:
    found = in_use.query("SELECT pack_id, status, refund_refused_because FROM orders ORDER BY pack_id")
    assert found == [("OLD", "refunded", ""), ("ZY9", "paid", "")]


def test_a_lapse_that_a_refund_reversed_is_none(in_use: Ledger) -> None:
    played = play(
        purchased(at(0), "pack-1", days=5),
        succeeded(at(50), capability="realtime"),
        taken_back(at(4), "pack-1"),
    )
    assert [entry.calls for entry in played.of("lapse")] == [10, -10]
    before = in_use.entries
    in_use.replace(played.entries)
    assert in_use.query("SELECT * FROM lapses") == []
    assert in_use.query("SELECT status, refunded, lapsed FROM packs") == [("refunded", 10, 0)]
    in_use.replace(before)
