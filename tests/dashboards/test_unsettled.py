"""The views where facts arrived late: apps that are unsettled, and what settlements make of the others."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from metering.ledger import Entry
from metering.times import DAY_MS, HOUR_MS, from_ms
from tests.dashboards.conftest import Ledger, some_of_everything
from tests.sinks.parts import START_MS, purchase

MIDNIGHT_MS = START_MS - 8 * HOUR_MS


@pytest.fixture(autouse=True, scope="module")
def restored(ledger: Ledger) -> Iterator[None]:
    """Leave the ledger as the other modules expect it."""
    yield
    ledger.replace(some_of_everything())


def entry(offset: int, kind: Any, line: int = 0, **fields: Any) -> Entry:  # noqa: ANN401 - fields of an entry
    given = {"time_ms": START_MS, "recorded_at_ms": START_MS + offset, "appid": "wx1", **fields}
    return Entry(offset, line, kind, **given)


def of_quick(offset: int, kind: Any, line: int = 0, **fields: Any) -> Entry:  # noqa: ANN401 - as above
    return entry(offset, kind, line, **{"capability": "quick", "calls": 1, **fields})


def test_an_app_is_unsettled_from_its_earliest_late_fact_on_until_it_is_settled(ledger: Ledger) -> None:
    ledger.replace(
        [
            entry(1, "unsettled", reason="late_call", time_ms=MIDNIGHT_MS),
            entry(2, "unsettled", reason="late_purchase", time_ms=MIDNIGHT_MS - DAY_MS),
            entry(3, "settlement"),
            entry(3, "unsettled", 1, reason="settlement", time_ms=MIDNIGHT_MS - DAY_MS),
            entry(4, "unsettled", appid="wx2", reason="late_refund", time_ms=MIDNIGHT_MS),
            entry(5, "settlement", appid="wx2"),
            entry(6, "unsettled", appid="wx3", reason="too_old"),
        ]
    )
    found = ledger.query("SELECT appid, changes_from, unsettled_at, reason, settlements FROM unsettled")
    arrived = from_ms(START_MS + 2)
    assert found == [("wx1", from_ms(MIDNIGHT_MS - DAY_MS), arrived, "late_purchase", 1)]
    assert found[0][1].astimezone(UTC) == datetime(2024, 5, 30, 16, tzinfo=UTC)


def test_a_pack_whose_refund_or_lapse_was_taken_back_is_what_its_calls_say(ledger: Ledger) -> None:
    ledger.replace(
        [
            purchase("wx1", "p1", 1, calls=10),
            purchase("wx1", "p2", 2, calls=10, starts_at_ms=START_MS - 90 * DAY_MS),
            of_quick(3, "refund", pack_id="p1", calls=10, amount_micro_yuan=300_000),
            of_quick(4, "lapse", pack_id="p2", calls=10, amount_micro_yuan=300_000),
            of_quick(5, "refund", pack_id="p1", calls=-10, amount_micro_yuan=-300_000, reason="settled"),
            of_quick(5, "lapse", 1, pack_id="p2", calls=-10, amount_micro_yuan=-300_000, reason="settled"),
            of_quick(5, "charge", 2, pack_id="p2", calls=10, reason="settled"),
        ]
    )
    packs = ledger.query("SELECT pack_id, status, remaining FROM packs ORDER BY pack_id")
    assert packs == [("p1", "active", 10), ("p2", "exhausted", 0)]
    orders = ledger.query("SELECT pack_id, status, refunded_at FROM orders ORDER BY pack_id")
    assert orders == [("p1", "paid", None), ("p2", "paid", None)]
    assert ledger.query("SELECT * FROM lapses") == []


@pytest.mark.parametrize(
    ("moves", "left"),
    [
        ([], ["e1", "e2", "e3"]),
        ([-2], ["e3"]),
        ([-3], []),
        ([-2, 1], ["e2", "e3"]),
        ([2], ["", "", "e1", "e2", "e3"]),
    ],
)
def test_uncovered_calls_are_as_many_as_settlements_left(
    ledger: Ledger, moves: list[int], left: list[str]
) -> None:
    ledger.replace(
        [
            *(
                of_quick(n, "uncovered", event_id=f"e{n}", reason="no_pack", time_ms=START_MS + n)
                for n in (1, 2, 3)
            ),
            *(of_quick(4 + n, "uncovered", calls=calls, reason="settled") for n, calls in enumerate(moves)),
        ]
    )
    assert [
        event_id for (event_id,) in ledger.query("SELECT event_id FROM uncovered ORDER BY event_id")
    ] == left


def test_a_settlement_moves_only_calls_of_its_own_day_and_place(ledger: Ledger) -> None:
    calls = [
        of_quick(1, "uncovered", event_id="a", store="store-1"),
        of_quick(2, "uncovered", event_id="b", store="store-2"),
        of_quick(3, "uncovered", event_id="c", store="store-1", time_ms=START_MS + DAY_MS),
    ]
    ledger.replace([*calls, of_quick(4, "uncovered", calls=-1, reason="settled", store="store-1")])
    assert ledger.query("SELECT event_id FROM uncovered ORDER BY event_id") == [("b",), ("c",)]


def test_every_authorization_stays_one_row_and_usage_has_where_calls_were_taken_from(ledger: Ledger) -> None:
    ledger.replace(
        [
            of_quick(1, "uncovered", event_id="a"),
            of_quick(2, "trial_charge", event_id="b"),
            of_quick(3, "uncovered", calls=-1, reason="settled"),
            of_quick(3, "charge", 1, calls=1, reason="settled", pack_id="p1"),
        ]
    )
    rows = ledger.query("SELECT event_id, charged_to, calls FROM authorizations ORDER BY event_id")
    assert rows == [("a", "uncovered", 1), ("b", "trial", 1)]
    usage = ledger.query("SELECT succeeded, charged, trial_charged, uncovered FROM usage_daily")
    assert usage == [(2, 1, 1, 0)]
