"""`phonemeter status`: health, lag and freshness, for people and for scripts."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Final

import typer

from metering.times import format_time, shanghai_time
from phonemeter.settings import load, named
from phonemeter.stack.health import ConsumerHealth, StackHealth, examine
from phonemeter.tables import print_table
from phonemeter.terminal import Table, output, print_json

UNHEALTHY: Final = 1
NO_APPS: Final = f"not running: no apps are configured; set {named('wechat_apps')}"
NO_ROUTES: Final = f"not running: no routes are configured; set {named('alert_routes')}"


def status(
    *, as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False
) -> None:
    """Show whether phonemeter is healthy, how far behind it is and how fresh the ledger is.

    Healthy means: an event is in ClickHouse within a minute, every partition with new records makes progress,
    the positions of all services agree, and the settings of the topics are right. Works on the stack of this
    machine and on any Kafka and ClickHouse that the settings name. The exit status is 0 if healthy, 1 if not.
    """
    settings = load()
    health = examine(settings)
    if as_json:
        found = asdict(health)
        newest_ms = max(found.pop("horizons_ms").values(), default=0)
        since = format_time(newest_ms) if newest_ms else None
        print_json({"healthy": health.healthy, **found, "repeats_recognised_since_at": since})
    else:
        routed, reads_wechat = settings.alert_routes is not None, settings.wechat_apps is not None
        print_table(output(), _table(health, routed=routed, reads_wechat=reads_wechat))
        for problem in health.problems:
            output(stderr=True).print(problem, style="red")
        for notice in health.notices:
            output(stderr=True).print(notice)
    raise typer.Exit(0 if health.healthy else UNHEALTHY)


def _table(health: StackHealth, *, routed: bool, reads_wechat: bool) -> Table:
    title = "phonemeter is healthy" if health.healthy else "phonemeter is not healthy"
    table = Table("what", "how", title=title, title_justify="left")
    table.add_row("Kafka", health.kafka)
    table.add_row("ClickHouse", health.clickhouse)
    table.add_row("worker", _consumer(health.worker, "event"))
    table.add_row("sink", _consumer(health.sink, "ledger record"))
    needless = health.notifier is None and not routed
    table.add_row("notifier", NO_ROUTES if needless else _consumer(health.notifier, "alert"))
    table.add_row("wechat", health.wechat or ("unknown" if reads_wechat else NO_APPS))
    table.add_row("ledger", _ledger(health))
    table.add_row("apps", _settled(health.unsettled_apps))
    table.add_row("duplicates", recognised_repeats(health.horizons_ms))
    for name, service in (health.services or {}).items():
        pid = f", process {service['pid']}" if service["pid"] else ""
        table.add_row(f"service {name}", f"{service['state']}{pid}, restarts: {service['restarts']}")
    if health.services is None:
        table.add_row("stack", "not running on this data directory")
    return table


def _consumer(consumer: ConsumerHealth | None, unit: str) -> str:
    if consumer is None:
        return "unknown"
    processes = "1 process" if consumer.members == 1 else f"{consumer.members} processes"
    units = unit if consumer.lag == 1 else f"{unit}s"
    waits = f", the oldest for {consumer.waited_s:,.1f} s" if consumer.lag else ""
    return f"{processes}, {consumer.lag:,} {units} behind{waits}"


def _ledger(health: StackHealth) -> str:
    if health.ledger_rows is None:
        return "unknown"
    if health.newest_row_age_s is None:
        return "empty"
    return f"{health.ledger_rows:,} rows, the newest recorded {health.newest_row_age_s:,.1f} s ago"


def _settled(unsettled: int | None) -> str:
    if unsettled is None:
        return "unknown"
    return f"{unsettled:,} unsettled: a fact arrived late" if unsettled else "all are settled"


def recognised_repeats(since_ms: Mapping[int, int]) -> str:
    """The time back to which repeats are recognised in every partition, given the horizon of each."""
    if not since_ms:
        return "unknown"
    newest_ms = max(since_ms.values())
    since = shanghai_time(newest_ms) if newest_ms else "the beginning of the log"
    return f"repeats are recognised back to {since}"
