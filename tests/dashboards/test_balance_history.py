"""The balance over time and what was changed afterwards: both end with the figures of now."""

import json
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from dashboards.reads.agreements import read_agreements
from dashboards.reads.asking import Ask
from dashboards.reads.balance import find_balance
from dashboards.reads.balance_history import read_balance_ahead, read_balance_history
from dashboards.reads.clock import read_clock
from dashboards.reads.recent_use import EPOCH
from dashboards.reads.revisions import QuotaMove, read_corrections, read_revisions
from metering.events import CAPABILITIES
from metering.ledger import Entry
from metering.times import DAY_MS, HOUR_MS, shanghai_date, shanghai_day
from sinks.connection import connect
from tests.dashboards.conftest import Ledger
from tests.sinks.parts import START_MS, purchase

BEGAN = shanghai_date(START_MS)


def asking(ledger: Ledger) -> Iterator[Ask]:
    with connect(ledger.engine.url) as client:
        yield lambda query, given=None: client.execute(query, given)


@pytest.fixture
def ask(kept: Ledger) -> Iterator[Ask]:
    yield from asking(kept)


@pytest.fixture
def ask_half_year(simulated: Ledger) -> Iterator[Ask]:
    yield from asking(simulated)


def test_the_last_day_has_what_is_left_now_and_the_forecast_goes_on_from_there(
    ask_half_year: Ask, simulated: Ledger
) -> None:
    today = shanghai_date(read_clock(ask_half_year).now_ms)
    for (appid,) in simulated.query("SELECT appid FROM apps"):
        found = find_balance(ask_half_year, appid)
        assert found is not None
        for of in CAPABILITIES:
            left = found.balance.capabilities[of].calls_left
            history = read_balance_history(ask_half_year, appid, of, today - timedelta(days=90), today)
            assert [one.day for one in history] == [today - timedelta(days=n) for n in range(90, -1, -1)]
            assert history[-1].left == left
            ahead = read_balance_ahead(ask_half_year, appid, of, today + timedelta(days=5))
            assert len(ahead) == 6
            assert next(iter(ahead)) == today
            assert min(ahead.values()) >= 0


def at(day: float, offset: int, kind: Any, **fields: Any) -> Entry:  # noqa: ANN401 - a kind, and columns
    time_ms = START_MS + int(day * DAY_MS)
    common: dict[str, Any] = {"capability": "quick", "recorded_at_ms": time_ms} | fields
    return Entry(offset, 0, kind, time_ms, appid="wx1", **common)


def test_each_day_has_what_the_trial_quota_and_the_packs_held_that_were_valid_at_its_end(
    kept: Ledger, ask: Ask
) -> None:
    expiry_day = 90
    kept.replace(
        [
            at(0, 0, "trial_grant", capability="", calls=1_000, remaining=1_000),
            purchase("wx1", "p1", 1),
            at(0.1, 2, "trial_charge", calls=990, event_id="a"),
            at(1.1, 3, "trial_charge", calls=10, event_id="b"),
            at(2.1, 4, "charge", calls=50, pack_id="p1", event_id="c"),
            at(expiry_day + 2, 5, "denied", event_id="d"),
        ]
    )
    last = BEGAN + timedelta(days=expiry_day + 2)
    history = {
        (one.day - BEGAN).days: one.left
        for one in read_balance_history(ask, "wx1", "quick", BEGAN - timedelta(days=1), last)
    }
    assert history[-1] is None
    assert [history[day] for day in (0, 1, 2, 3, expiry_day - 1)] == [10 + 250, 250, 200, 200, 200]
    # Nobody can use any more what an expired pack holds until it lapses.
    assert history[expiry_day] == history[expiry_day + 2] == 0


def test_an_app_that_nobody_knows_has_no_balance(ask: Ask) -> None:
    assert read_balance_history(ask, "wx-nobody", "quick", BEGAN, BEGAN) == []
    assert read_revisions(ask, "wx-nobody", "quick", 10) == []
    assert read_corrections(ask, "wx-nobody", 10) == []
    assert read_agreements(ask, "wx-nobody", "quick", 10) == []


def test_a_settlement_and_a_takeover_say_what_they_moved_and_why(kept: Ledger, ask: Ask) -> None:
    later = {"recorded_at_ms": START_MS + 2 * DAY_MS}
    kept.replace(
        [
            at(0, 0, "trial_grant", capability="", calls=1_000, remaining=1_000),
            at(0, 1, "uncovered", calls=1, event_id="a", reason="no_pack"),
            purchase("wx1", "p1", 2),
            at(1, 3, "uncovered", calls=-1, event_id="a", reason="taken_over"),
            replace(at(1, 3, "charge", calls=1, event_id="a", reason="taken_over", pack_id="p1"), line=1),
            at(0, 4, "unsettled", capability="", reason="late_call"),
            at(0, 5, "unsettled", capability="", reason="late_purchase"),
            at(2, 6, "settlement", capability="", details=json.dumps({"as_of": 5})),
            replace(at(0, 6, "charge", calls=-3, reason="settled", pack_id="p1", **later), line=1),
            replace(at(0, 6, "charge", calls=3, reason="settled", pack_id="p2", **later), line=2),
            replace(at(0, 6, "unsettled", capability="", reason="settlement", **later), line=3),
            at(3, 7, "settlement", capability="", details=json.dumps({"as_of": 6})),
        ]
    )
    settlement, takeover = read_revisions(ask, "wx1", "quick", 10)
    assert (settlement.kind, settlement.calls, settlement.reasons) == (
        "settlement",
        3,
        ("late_call", "late_purchase"),
    )
    assert (settlement.from_ms, settlement.at_ms) == (START_MS, START_MS + 2 * DAY_MS)
    assert settlement.moves == (QuotaMove("charge", "p2", 3), QuotaMove("charge", "p1", -3))
    assert (takeover.kind, takeover.calls, takeover.reasons) == ("takeover", 1, ())
    assert takeover.moves == (QuotaMove("charge", "p1", 1), QuotaMove("uncovered", "", -1))
    assert len(read_revisions(ask, "wx1", "quick", 1)) == 1
    assert read_revisions(ask, "wx1", "realtime", 10) == []


def test_the_days_of_a_balance_are_those_of_shanghai(kept: Ledger, ask: Ask) -> None:
    evening_ms = START_MS + DAY_MS - HOUR_MS
    kept.replace(
        [
            at(0, 0, "trial_grant", capability="", calls=1_000, remaining=1_000),
            Entry(1, 0, "trial_charge", evening_ms, evening_ms, "wx1", "quick", "a", calls=7),
            at(2, 2, "denied", event_id="b"),
        ]
    )
    day = EPOCH + timedelta(days=shanghai_day(evening_ms))
    found = {
        one.day: one.left
        for one in read_balance_history(ask, "wx1", "quick", date(2024, 1, 1), BEGAN + timedelta(days=2))
    }
    assert found[day] == 993
