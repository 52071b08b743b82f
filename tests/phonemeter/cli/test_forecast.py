"""`phonemeter forecast`: read from the real engine, told to people and to programs."""

import json
from pathlib import Path

import pytest

from dashboards.views import statements
from metering.ledger import Entry
from metering.times import DAY_MS, HOUR_MS, format_time
from phonemeter.audit.apps_summary import read_summary
from phonemeter.cli.forecast import read_forecast
from phonemeter.errors import OperationError
from sinks.connection import connect
from sinks.migrations import migrate
from tests.conftest import RunningEngine
from tests.phonemeter.cli.calling import Phonemeter
from tests.phonemeter.cli.storing import stored
from tests.sinks.parts import START_MS, purchase

DAYS = 21
A_DAY = 10


def used(appid: str, capability: str, first: int) -> list[Entry]:
    """Ten calls out of pack `own` on each of 21 days, up to the day before the newest line."""
    return [
        Entry(
            first + day * A_DAY + n, 0, "charge", START_MS + day * DAY_MS + n * HOUR_MS // 2, START_MS, appid,
            capability, f"{appid}-{day}-{n}", 1, 30_000, "own",
        )
        for day in range(DAYS)
        for n in range(A_DAY)
    ]  # fmt: skip


def grant(appid: str, offset: int, capability: str = "", calls: int = 100) -> Entry:
    return Entry(
        offset, 0, "trial_grant", START_MS, START_MS, appid, capability, calls=calls, remaining=calls
    )


NOW_MS = START_MS + DAYS * DAY_MS
ENTRIES = [
    grant("wx1", 0),
    purchase("wx1", "own", 1, calls=310),
    purchase("wx1", "lapses", 2, calls=5_000),
    grant("wx2", 3, "quick"),
    grant("wx2", 4, "realtime"),
    *used("wx1", "quick", 100),
    *used("wx2", "realtime", 1_000),
    Entry(2_000, 0, "denied", NOW_MS, NOW_MS, "wx1", "quick", "newest"),
]


@pytest.fixture(scope="module")
def url(engine: RunningEngine) -> str:
    """A database whose ledger holds `ENTRIES`."""
    return stored(engine.url("forecasts"), ENTRIES)


def test_use_trial_and_packs_are_played_forward(url: str) -> None:
    found = read_forecast(url, "wx1")
    assert found.as_of_ms == NOW_MS
    quick = found.capabilities["quick"]
    assert quick.pace.micro_calls_a_day == A_DAY * 1_000_000
    assert quick.pace.days == DAYS
    # Both packs expire after 90 days. Until then the trial goes first, then the pack whose id sorts first.
    days_left = 90 - DAYS
    lapsing = 5_000 - (days_left * A_DAY - 100)
    assert {pack.pack_id: pack.lapsing for pack in quick.packs} == {"lapses": lapsing, "own": 100}
    assert quick.run_out_ms == START_MS + 90 * DAY_MS
    assert quick.options[0].offer.calls == 1_000
    assert found.capabilities["realtime"].run_out_ms is None


def test_a_trial_quota_per_capability_is_used_by_its_own_alone(url: str) -> None:
    found = read_forecast(url, "wx2").capabilities
    assert found["realtime"].run_out_ms is not None
    assert found["realtime"].run_out_ms == pytest.approx(NOW_MS + 10 * DAY_MS, abs=HOUR_MS)
    assert found["quick"].run_out_ms is None


def test_people_and_programs_are_told_the_same(phonemeter: Phonemeter, url: str, tmp_path: Path) -> None:
    shown = phonemeter("forecast", "wx1", cwd=tmp_path, PHONEMETER_CLICKHOUSE=url, COLUMNS="200")
    assert shown.returncode == 0, shown.stderr
    assert "quick: 10.0 calls a day" in shown.stdout
    assert "runs out: 2024-08-30 08:00 (the calls left expire then, whatever the use)\n" in shown.stdout
    assert "buy next: 1,000 calls for 365 days at ¥30.00" in shown.stdout
    assert "realtime: no call in the last 21 complete days" in shown.stdout
    told = phonemeter("forecast", "wx1", "--json", cwd=tmp_path, PHONEMETER_CLICKHOUSE=url)
    quick = json.loads(told.stdout)["capabilities"]["quick"]
    assert quick["run_out_at"] == format_time(START_MS + 90 * DAY_MS)
    assert quick["options"][0]["micro_yuan_per_used_call"] == 30_000


def test_a_database_without_a_ledger_says_what_makes_one(engine: RunningEngine) -> None:
    with pytest.raises(OperationError, match="has no ledger yet: start the sink"):
        read_forecast(engine.url("nothing_here"), "wx1")


def test_the_metrics_name_the_apps_that_run_out_first_at_the_times_of_the_forecast(url: str) -> None:
    fleet = read_summary(url)
    assert fleet.apps == 2
    forecast = {
        (appid, capability): (one.run_out_ms - NOW_MS) / 1_000
        for appid in ("wx1", "wx2")
        for capability, one in read_forecast(url, appid).capabilities.items()
        if one.run_out_ms is not None
    }
    assert {(near.appid, near.capability): near.run_out_s for near in fleet.nearest} == forecast
    assert [near.run_out_s for near in fleet.nearest] == sorted(forecast.values())


def test_an_empty_ledger_has_no_app_near_trouble(engine: RunningEngine) -> None:
    empty = engine.url("forecasts_of_none")
    migrate(empty)
    with connect(empty) as client:
        for statement in statements():
            client.execute(statement)
    assert read_summary(empty).apps == 0
