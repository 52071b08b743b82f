from datetime import UTC, datetime, timedelta

from rich.console import Console

from metering.rating import Rating, rate
from metering.rules import Rules
from phonemeter.demo.report import APPS_SHOWN_MAX, rows_of, table_of, yuan
from phonemeter.demo.traffic import with_packs
from producers.events import account_registered, authorization_succeeded, to_json
from tests.phonemeter.demo.test_totals import as_stored

START = datetime(2026, 10, 1, tzinfo=UTC)
RULES = Rules(trial_calls=3)


def rated(apps: int) -> Rating:
    """The n-th app makes n calls."""
    calls = [
        to_json(
            authorization_succeeded(
                appid=f"wx{app:02d}", code=f"{app}-{n}", capability="quick", time=START + timedelta(seconds=n)
            )
        )
        for app in range(1, apps + 1)
        for n in range(app)
    ]
    return rate(with_packs(calls, RULES)[0], RULES)


def shown(rating: Rating, columns: int = 160) -> list[list[str]]:
    console = Console(width=columns)
    with console.capture() as captured:
        console.print(table_of(rows_of(as_stored(rating), rating), rating, columns))
    return [line.split() for line in captured.get().splitlines() if line.strip()]


def test_the_busiest_app_comes_first_with_what_covered_its_calls() -> None:
    row = next(line for line in shown(rated(5)) if line[0].startswith("wx"))
    assert row[:10] == ["wx05", "quick", "5", "3", "2", "0", "0", "248", "0", "0.06"]
    assert row[10:] == ["250", "to", "2026-12-30"]


def test_the_busiest_fifteen_apps_are_shown_and_all_are_in_the_total() -> None:
    lines = shown(rated(17))
    assert sum(line[0].startswith("wx") for line in lines) == APPS_SHOWN_MAX
    total = lines[-1]
    assert total[:4] == ["17", "apps,", "2", "hidden"]
    assert total[4] == str(17 * 18 // 2)


def test_an_app_without_packs_says_so() -> None:
    row = next(line for line in shown(rated(2)) if line[0] == "wx02")
    assert row[7] == "-"


def test_money_is_shown_to_the_fen() -> None:
    assert yuan(7_500_000) == "7.50"
    assert yuan(1_234_567_890_000) == "1,234,567.89"


def test_calls_of_an_exempt_app_are_named_as_such() -> None:
    owner = account_registered(appid="wxcity", entity_type="government", time=START)
    call = authorization_succeeded(appid="wxcity", code="a", capability="quick", time=START)
    row = next(line for line in shown(rate([to_json(owner), to_json(call)], RULES)) if line[0] == "wxcity")
    assert row[2:] == ["1", "0", "0", "0", "3", "-", "0", "0.00", "1", "exempt"]


def test_eighty_columns_are_enough_for_every_figure() -> None:
    lines = shown(rated(17), 80)
    busiest = next(line for line in lines if line[0] == "wx17")
    assert busiest == ["wx17", "quick", "17", "3", "14", "0", "0", "236", "0"]
    assert ["wx17", "quick:", "250", "to", "2026-12-30;", "¥0.42"] in lines
    assert not any("…" in word for line in lines for word in line)
