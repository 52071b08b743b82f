"""`phonemeter status`: health, lag and freshness, for people and for scripts."""

import json
import sys
from dataclasses import asdict
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

from phonemeter.settings import load, named
from phonemeter.stack.health import Consumer, Health, examine

UNHEALTHY: Final = 1
NO_ROUTES: Final = f"not running: no routes are configured; set {named('alert_routes')}"


def status(
    *, as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False
) -> None:
    """Show whether phonemeter is healthy, how far behind it is and how fresh the ledger is.

    Works on the stack of this machine and on any Kafka and ClickHouse that the settings name. The exit status
    is 0 if everything is as it should be, 1 if not.
    """
    settings = load()
    health = examine(settings)
    if as_json:
        sys.stdout.write(f"{json.dumps({'healthy': health.healthy, **asdict(health)})}\n")
    else:
        Console().print(_table(health, routed=settings.alert_routes is not None))
        for problem in health.problems:
            Console(stderr=True).print(problem, style="red", highlight=False)
    raise typer.Exit(0 if health.healthy else UNHEALTHY)


def _table(health: Health, *, routed: bool) -> Table:
    title = "phonemeter is healthy" if health.healthy else "phonemeter is not healthy"
    table = Table("what", "how", title=title, title_justify="left", highlight=False)
    table.add_row("Kafka", health.kafka)
    table.add_row("ClickHouse", health.clickhouse)
    table.add_row("worker", _consumer(health.worker, "event"))
    table.add_row("sink", _consumer(health.sink, "ledger record"))
    needless = health.notifier is None and not routed
    table.add_row("notifier", NO_ROUTES if needless else _consumer(health.notifier, "alert"))
    table.add_row("ledger", _ledger(health))
    for name, service in (health.services or {}).items():
        pid = f", process {service['pid']}" if service["pid"] else ""
        table.add_row(
            f"service {name}", f"{service['state']}{pid}, started again {service['restarts']} times"
        )
    if health.services is None:
        table.add_row("stack", "none runs on this data directory")
    return table


def _consumer(consumer: Consumer | None, unit: str) -> str:
    if consumer is None:
        return "unknown"
    processes = "1 process" if consumer.members == 1 else f"{consumer.members} processes"
    units = unit if consumer.lag == 1 else f"{unit}s"
    return f"{processes}, {consumer.lag:,} {units} behind"


def _ledger(health: Health) -> str:
    if health.ledger_rows is None:
        return "unknown"
    if health.newest_row_age_s is None:
        return "empty"
    return f"{health.ledger_rows:,} rows, the newest recorded {health.newest_row_age_s:,.1f} s ago"
