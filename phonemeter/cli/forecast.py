"""`phonemeter forecast [APPID]`: run-out of an app's calls, what will lapse, what to buy next."""

from functools import partial
from typing import Annotated, Final

import typer
from rich.text import Text

from dashboards.reads.forecast import AppForecast, find_forecast
from metering.catalogue import DEFAULT
from metering.forecast import HORIZON_DAYS, MICRO, Forecast, Pace
from metering.printable_text import one_line
from phonemeter.cli.app_choice import AppId, choose_app
from phonemeter.clickhouse import ledger_client, unknown_app
from phonemeter.formats import to_minute, yuan
from phonemeter.settings import load
from phonemeter.tables import print_table
from phonemeter.terminal import Table, Terminal, output, print_json
from sinks.connection import rows

WEEKDAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def forecast_app(
    appid: AppId = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Forecast an app: daily use, when its calls run out, what will lapse, which pack to buy next.

    Use and packs come from ClickHouse and are as fresh as the ledger there.
    How the forecast is made and how far it was off in simulated years:
    docs/explanation/forecast.md. Times are Shanghai's; in JSON they are UTC.
    """
    url = load().clickhouse
    forecast_of_app = read_forecast(url, choose_app(appid, url, "forecast"))
    if as_json:
        print_json(forecast_of_app)
    else:
        _show(forecast_of_app, output())


def read_forecast(url: str, appid: str) -> AppForecast:
    """The forecast of an app, from the ClickHouse at `url`.

    Raises:
        OperationError: the app is unknown, ClickHouse does not answer, or it has no ledger yet.
    """
    with ledger_client(url) as client:
        found = find_forecast(partial(rows, client), appid, DEFAULT)
    if found is None:
        raise unknown_app(appid)
    return found


def _show(forecast_of_app: AppForecast, console: Terminal) -> None:
    as_of = to_minute(forecast_of_app.as_of_ms)
    console.print(Text.assemble((one_line(forecast_of_app.appid), "bold"), f", as of {as_of} (Shanghai)"))
    for name, found in forecast_of_app.capabilities.items():
        _show_capability(name, found, console)


def _show_capability(name: str, found: Forecast, console: Terminal) -> None:
    pace = found.pace
    console.print()
    console.print(Text.assemble((name, "bold"), f": {_pace_text(pace)}"))
    if not pace.micro_calls_a_day:
        return
    console.print(f"runs out: {_run_out(found)}")
    if found.packs:
        print_table(console, _packs(found))
    if found.run_out_ms is None:
        console.print("buy next: nothing for now")
        return
    if not found.options:
        console.print(f"buy next: no {name} packs are in the catalogue, so no price can be given")
        return
    best = found.options[0]
    if best.micro_yuan_per_used_call is None:
        console.print("buy next: nothing; no call of any pack would be used before it expires")
        return
    console.print(
        f"buy next: {best.offer.calls:,} calls for {best.offer.validity_days} days at "
        f"¥{yuan(best.offer.price_micro_yuan)}; at least {best.used:,} of them will be used, "
        f"at ¥{yuan(best.micro_yuan_per_used_call)} per used call",
    )


def _pace_text(pace: Pace) -> str:
    if not pace.days:
        return "no charged call on a complete day yet"
    if not pace.micro_calls_a_day:
        return f"no call in the last {pace.days} complete days"
    days = " ".join(
        f"{weekday} {pace.micro_calls_a_day * share // 1_000 / MICRO:,.0f}"
        for weekday, share in zip(WEEKDAYS, pace.shape_permille, strict=True)
    )
    return f"{pace.micro_calls_a_day / MICRO:,.1f} calls a day (of {pace.days} days; {days})"


def _run_out(found: Forecast) -> str:
    if found.run_out_ms is None:
        soonest = "" if found.earliest_ms is None else f", {to_minute(found.earliest_ms)} at the earliest"
        return f"not within {HORIZON_DAYS // 365} years{soonest}"
    if found.earliest_ms == found.run_out_ms == found.latest_ms:
        return f"{to_minute(found.run_out_ms)} (the calls left expire then, whatever the use)"
    latest = "not within the forecast" if found.latest_ms is None else to_minute(found.latest_ms)
    earliest = to_minute(found.earliest_ms or found.run_out_ms)
    interval = f"four times in five between {earliest} and {latest}, if use stays as it is"
    return f"{to_minute(found.run_out_ms)} ({interval})"


def _packs(found: Forecast) -> Table:
    table = Table("pack", "order", box=None, padding=(0, 1, 0, 0))
    for title in ("left", "will be used", "will lapse"):
        table.add_column(title, justify="right")
    table.add_column("expires (Shanghai)")
    for place, pack in enumerate(found.packs, 1):
        figures = (f"{calls:,}" for calls in (pack.remaining, pack.used, pack.lapsing))
        table.add_row(pack.pack_id, str(place), *figures, to_minute(pack.expires_at_ms))
    return table
