"""`phonemeter apps`: every app in one list: calls left, run-out, next lapse, open alerts."""

from functools import partial
from typing import Annotated

import typer

from dashboards.reads.apps import AppList, AppOutlook
from dashboards.reads.outlooks import read_outlooks
from metering.times import parse_time
from phonemeter.clickhouse import ledger_client
from phonemeter.formats import to_minute
from phonemeter.settings import load
from phonemeter.tables import print_table
from phonemeter.terminal import Table, output, print_json
from sinks.connection import rows


def list_apps(
    *, as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False
) -> None:
    """List all apps, the one that runs out first at the top: calls left, run-out, next lapse, alerts.

    An alert is open until its recovery; one of an expiry or an abnormal burn rate, for a week. `balance` and
    `forecast` show more about one app. Times are Shanghai's; in JSON they are UTC.
    """
    found = read_apps(load().clickhouse)
    if as_json:
        print_json(found)
        return
    console = output()
    console.print(
        f"{len(found.apps):,} app{'' if len(found.apps) == 1 else 's'}, as of "
        f"{to_minute(parse_time(found.as_of))} (Shanghai)"
    )
    if found.apps:
        print_table(console, _table(found))


def read_apps(url: str) -> AppList:
    """All apps, at most 10,000, from the ClickHouse at `url`.

    Raises:
        OperationError: ClickHouse does not answer, or it has no ledger yet.
    """
    with ledger_client(url) as client:
        return read_outlooks(partial(rows, client))


def _table(found: AppList) -> Table:
    table = Table("app", "name", "capability", box=None, padding=(0, 1, 0, 0))
    table.add_column("left", justify="right")
    for title in ("runs out", "next expiry", "will lapse", "alerts"):
        table.add_column(title)
    for app in found.apps:
        for capability, one in app.capabilities.items():
            lapse = f"{one.lapsing:,} on {_minute(one.lapses_at)}" if one.lapsing else ""
            table.add_row(
                app.appid,
                _described(app),
                capability,
                f"{one.calls_left:,}",
                _minute(one.run_out_at),
                _minute(one.next_expires_at),
                lapse,
                ", ".join(one.alerts),
            )
    return table


def _described(app: AppOutlook) -> str:
    exempt = " (exempt)" if app.exempt else ""
    unsettled = " (unsettled)" if app.unsettled_from else ""
    to = f" (migrated to {app.migrated_to})" if app.migrated_to else ""
    since = f" (migrated from {', '.join(app.migrated_from)})" if app.migrated_from else ""
    return f"{app.name}{exempt}{unsettled}{to}{since}"


def _minute(time: str | None) -> str:
    return "" if time is None else to_minute(parse_time(time))
