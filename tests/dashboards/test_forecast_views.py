"""The forecast in SQL is the forecast of metering/forecast.py, to the call and to the millisecond."""

from collections import defaultdict
from random import Random

import pytest
from msgspec.structs import replace

from dashboards.reads.asking import iso_or_none
from dashboards.reads.outlooks import read_outlooks
from metering.events import CAPABILITIES
from metering.forecast import MICRO, WEEK
from metering.ledger import Entry, EntryKind
from metering.money import cost_of_first
from metering.times import DAY_MS, to_ms
from phonemeter.cli.forecast import read_forecast
from sinks.connection import connect
from tests.dashboards.conftest import Ledger, some_of_everything
from tests.sinks.parts import START_MS, purchase

BOTH = """
SELECT forecasts.appid, forecasts.capability, paces.micro_calls_a_day, shape_permille, days,
    run_out_at, arrayZip(pack_ids, pack_lapsing)
FROM forecasts INNER JOIN paces ON paces.appid = forecasts.appid AND paces.capability = forecasts.capability
"""


def assert_as_python_says(ledger: Ledger) -> None:
    found = ledger.query(BOTH)
    assert found
    by_app = {
        appid: read_forecast(ledger.engine.url, appid).capabilities for appid in {row[0] for row in found}
    }
    for appid, capability, micro_calls, shape, days, run_out_at, packs in found:
        told = by_app[appid][capability]
        assert (micro_calls, tuple(shape), days) == (
            told.pace.micro_calls_a_day,
            told.pace.shape_permille,
            told.pace.days,
        )
        assert (run_out_at and to_ms(run_out_at)) == told.run_out_ms, (appid, capability)
        assert packs == [(pack.pack_id, pack.lapsing) for pack in told.packs], (appid, capability)


def test_a_simulated_half_year_is_forecast_as_by_the_rules(simulated: Ledger) -> None:
    assert_as_python_says(simulated)


def test_the_outlooks_of_all_apps_are_those_of_the_views(simulated: Ledger) -> None:
    """Outlooks are worked out by the rules, of many apps at once, without these views."""
    with connect(simulated.engine.url) as client:
        listed = read_outlooks(lambda query, given=None: client.execute(query, given)).apps
    found = {
        (app.appid, of): (one.run_out_at, one.lapses_at, one.lapsing)
        for app in listed
        for of, one in app.capabilities.items()
    }
    lapsing = {
        (appid, of): (iso_or_none(expires_at), calls)
        for appid, of, expires_at, calls in simulated.query(
            "SELECT appid, capability, min(expires_at), argMin(lapsing, (expires_at, lapsing))"
            " FROM forecast_packs WHERE lapsing > 0 GROUP BY appid, capability"
        )
    }
    expected = {
        (appid, of): (iso_or_none(run_out_at), *lapsing.get((appid, of), (None, 0)))
        for appid, of, run_out_at in simulated.query("SELECT appid, capability, run_out_at FROM forecasts")
    }
    assert found == expected
    assert lapsing
    first = [
        min(filter(None, (one.run_out_at for one in app.capabilities.values())), default="9")
        for app in listed
    ]
    assert first == sorted(first)


def test_each_day_to_come_has_the_use_that_is_expected_and_what_is_left_then(simulated: Ledger) -> None:
    by_series: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for appid, capability, expected, left in simulated.query(
        "SELECT appid, capability, expected, calls_left FROM forecast_daily ORDER BY day"
    ):
        by_series[appid, capability].append((expected, left))
    pace = {
        row[:2]: row[2] / MICRO
        for row in simulated.query("SELECT appid, capability, micro_calls_a_day FROM paces")
    }
    for key, days in by_series.items():
        week = sum(expected for expected, _ in days[1 : 1 + WEEK])
        assert week == pytest.approx(WEEK * pace.get(key, 0), abs=0.001)
        left = [calls for _, calls in days]
        assert left == sorted(left, reverse=True)
    run_out = simulated.query(
        "SELECT appid, capability, max(day) AS last_day, toDate(any(run_out_at), 'Asia/Shanghai') "
        "FROM forecast_daily INNER JOIN forecasts USING (appid, capability) "
        "WHERE forecast_daily.calls_left > 0.001 AND run_out_at IS NOT NULL "
        "GROUP BY appid, capability HAVING last_day > '2024-07-01'"
    )
    # What is left is used up on the day of the run-out, or is gone with an expiry on it.
    assert run_out
    assert all((day - last_day).days == 1 for _, _, last_day, day in run_out)


def test_lapsing_calls_cost_what_the_last_calls_of_their_pack_cost(simulated: Ledger) -> None:
    found = simulated.query(
        "SELECT lapsing, lapsing_micro_yuan, packs.calls, price_micro_yuan FROM forecast_packs "
        "INNER JOIN packs USING (appid, capability, pack_id)"
    )
    assert any(lapsing for lapsing, *_ in found)
    for lapsing, micro_yuan, size, price in found:
        assert micro_yuan == price - cost_of_first(size - lapsing, price_micro_yuan=price, size=size)


@pytest.mark.parametrize("seed", range(3))
def test_odd_stocks_are_forecast_as_by_the_rules(ledger: Ledger, seed: int) -> None:
    """Packs that start after a gap or expire soon, a trial quota each, short histories."""
    chance = Random(seed)  # noqa: S311 - a simulation, not a secret
    entries = [
        Entry(n, 0, "trial_grant", START_MS, START_MS, "wx1", capability, calls=300, remaining=300)
        for n, capability in enumerate(CAPABILITIES)
    ]
    for n in range(9):
        starts_ms = START_MS - 60 * DAY_MS + chance.randrange(120) * DAY_MS + chance.randrange(DAY_MS)
        calls = chance.choice((40, 250, 1_000))
        pack = purchase("wx1", f"p{n}", 10 + n, calls=calls, starts_at_ms=starts_ms)
        entries.append(replace(pack, time_ms=START_MS, recorded_at_ms=START_MS))
    times = sorted(chance.randrange(chance.choice((5, 20, 60)) * DAY_MS) for _ in range(400))
    for n, time_ms in enumerate(times):
        kind: EntryKind = "trial_charge" if n < 100 else "uncovered"
        at_ms = START_MS + time_ms
        entries.append(
            Entry(100 + n, 0, kind, at_ms, at_ms, "wx1", chance.choice(CAPABILITIES), f"e{n}", calls=1)
        )
    ledger.replace(entries)
    assert_as_python_says(ledger)
    ledger.replace(some_of_everything())
