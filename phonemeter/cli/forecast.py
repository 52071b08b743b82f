"""`phonemeter forecast APPID`: until when an app's calls last, what will lapse, what to buy next."""

from collections.abc import Sequence
from datetime import date
from typing import Annotated, Any, Final

import typer
from clickhouse_driver import Client
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from metering.catalogue import DEFAULT
from metering.events import CAPABILITIES
from metering.forecasting import HISTORY_WEEKS, HORIZON_DAYS, MICRO, Forecast, Held, Pace, forecast, pace_of
from metering.times import shanghai_day, to_ms
from phonemeter.cli.asking import asking
from phonemeter.cli.telling import output, print_json, to_minute, unknown_app, yuan
from phonemeter.settings import load
from sinks.connection import rows

HISTORY_DAYS: Final = HISTORY_WEEKS * 7
EPOCH: Final = date(1970, 1, 1)
WEEKDAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

_NOW: Final = "SELECT max(time) FROM ledger"

_BALANCES: Final = """
SELECT capability, trial_remaining, trial_shared FROM balances_now WHERE appid = %(appid)s ORDER BY capability
"""

_PACKS: Final = """
SELECT capability, expires_at, starts_at, pack_id, remaining FROM packs
WHERE appid = %(appid)s AND status IN ('active', 'pending') AND remaining > 0
"""

# The first day is that of the app's first call: days before it are no days without use.
_USED: Final = """
SELECT capability, day, sum(usage_daily.charged + usage_daily.trial_charged + usage_daily.uncovered) AS used
FROM usage_daily WHERE appid = %(appid)s GROUP BY capability, day HAVING used != 0
"""


class Told(Struct):
    """What is told of an app: as of when, and the forecast of each capability."""

    appid: str
    as_of_ms: int
    capabilities: dict[str, Forecast]


def forecast_app(
    appid: Annotated[str, typer.Argument(help="The app, for example wxfb1f3d218d111092.", metavar="APPID")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Forecast an app: daily use, when its calls run out, what will lapse, which pack to buy next.

    Use and packs come from ClickHouse and are as fresh as the ledger there.
    How the forecast is made and how far it was off in simulated years:
    docs/forecast.md. Times are Shanghai's; in JSON they are UTC milliseconds.
    """
    told = read_forecast(load().clickhouse, appid)
    if as_json:
        print_json(told)
    else:
        _show(told, output(markup=True, soft_wrap=False))


def read_forecast(url: str, appid: str) -> Told:
    """The forecast of an app, from the ClickHouse at `url`.

    Raises:
        OperationError: the app is unknown, ClickHouse does not answer, or it has no ledger yet.
    """
    with asking(url) as client:
        return _read(client, appid)


def _read(client: Client, appid: str) -> Told:
    about: dict[str, object] = {"appid": appid}
    balances = rows(client, _BALANCES, about)
    if not balances:
        raise unknown_app(appid)
    now_ms = to_ms(rows(client, _NOW)[0][0])
    paces = _paces(rows(client, _USED, about), shanghai_day(now_ms) - 1)
    held: dict[str, list[Held]] = {name: [] for name in CAPABILITIES}
    for capability, expires_at, starts_at, pack_id, remaining in rows(client, _PACKS, about):
        held[capability].append(Held(to_ms(expires_at), to_ms(starts_at), pack_id, remaining))
    found: dict[str, Forecast] = {}
    for names, trial in _quotas(balances):
        own = {name: paces[name] for name in names}
        found |= forecast(own, trial, {name: held[name] for name in names}, now_ms, DEFAULT)
    return Told(appid, now_ms, found)


def _quotas(balances: Sequence[tuple[Any, ...]]) -> list[tuple[Sequence[str], int]]:
    """The trial quotas: the capabilities that each serves, and what is left of it."""
    _, left, shared = balances[0]
    if shared:
        return [(CAPABILITIES, left)]
    return [((capability,), left) for capability, left, _ in balances]


def _paces(used: Sequence[tuple[Any, ...]], last_day: int) -> dict[str, Pace]:
    """The pace of each capability over complete days, from the app's first call on."""
    by_day = {(capability, (day - EPOCH).days): calls for capability, day, calls in used}
    first_day = max(min((day for _, day in by_day), default=last_day + 1), last_day + 1 - HISTORY_DAYS)
    return {
        name: pace_of([by_day.get((name, day), 0) for day in range(first_day, last_day + 1)], last_day)
        for name in CAPABILITIES
    }


def _show(told: Told, console: Console) -> None:
    as_of = to_minute(told.as_of_ms)
    console.print(f"[bold]{told.appid}[/bold], as of {as_of} (Shanghai)", highlight=False)
    for name, found in told.capabilities.items():
        _show_capability(name, found, console)


def _show_capability(name: str, found: Forecast, console: Console) -> None:
    pace = found.pace
    console.print(f"\n[bold]{name}[/bold]: {_about(pace)}", highlight=False)
    if not pace.micro_calls_a_day:
        return
    console.print(f"runs out: {_run_out(found)}", highlight=False)
    if found.packs:
        console.print(_packs(found))
    if found.run_out_ms is None:
        console.print("buy next: nothing for now")
        return
    if not found.options:
        console.print(f"buy next: no {name} packs are in the catalogue, so no price can be told")
        return
    best = found.options[0]
    if best.micro_yuan_per_used_call is None:
        console.print("buy next: nothing; not one call would be used of any pack in its validity")
        return
    console.print(
        f"buy next: {best.offer.calls:,} calls for {best.offer.validity_days} days at "
        f"¥{yuan(best.offer.price_micro_yuan)}; {best.used:,} of them will be used, or more, "
        f"at ¥{yuan(best.micro_yuan_per_used_call)} per used call",
        highlight=False,
    )


def _about(pace: Pace) -> str:
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
        return f"{to_minute(found.run_out_ms)} (what is left expires then, at more use or less)"
    latest = "no end in sight" if found.latest_ms is None else to_minute(found.latest_ms)
    earliest = to_minute(found.earliest_ms or found.run_out_ms)
    interval = f"four times in five between {earliest} and {latest}, if use stays as it is"
    return f"{to_minute(found.run_out_ms)} ({interval})"


def _packs(found: Forecast) -> Table:
    table = Table("burns", "pack", highlight=False)
    for title in ("left", "will be used", "will lapse"):
        table.add_column(title, justify="right")
    table.add_column("expires (Shanghai)")
    for place, pack in enumerate(found.packs, 1):
        figures = (f"{calls:,}" for calls in (pack.remaining, pack.used, pack.lapsing))
        table.add_row(str(place), pack.pack_id, *figures, to_minute(pack.expires_at_ms))
    return table
