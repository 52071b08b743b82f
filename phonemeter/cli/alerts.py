"""`phonemeter alerts`: what was alerted and what became of it; acknowledge, retry, check and test routes."""

import base64
import getpass
import heapq
import re
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer
from rich.table import Table

from metering.alerts import Alert
from metering.times import format_time, parse_time
from phonemeter.cli.alerts_log import Delivery, DeliveryLog, read_alerts, read_deliveries, write
from phonemeter.cli.telling import output, print_json, print_whole, to_second
from phonemeter.errors import OperationError, UserError
from phonemeter.replay.reading import TopicReader, reading
from phonemeter.settings import load, named
from sinks.notifier.channels import Message, deliverer
from sinks.notifier.errors import RoutesError
from sinks.notifier.records import Acknowledged, Retry, RouteState, partition_of
from sinks.notifier.routes import Routes
from sinks.notifier.routes_file import read_routes
from sinks.notifier.severity import severity_of

SHOWN_DEFAULT: Final = 50
SHOWN_MAX: Final = 10_000
SECRET_BYTES: Final = 32
OPEN: Final = frozenset({"held", "waiting", "sending"})
ALERT_NAME: Final = re.compile(r"\d+-\d+-\d+", re.ASCII)

GROUP = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Alerts and their deliveries: what was alerted, where it went, what failed; acknowledge it, try it "
    "again. The file of routes (setting alert_routes) says who gets what.",
)

AlertId = Annotated[str, typer.Argument(metavar="ALERT_ID", help="Such as 2-417-0; list tells it.")]
RouteName = Annotated[str, typer.Argument(metavar="ROUTE", help="Name of a route in the file.")]
File = Annotated[
    Path | None, typer.Option("--file", metavar="FILE", help="The file of routes; the setting's by default.")
]


@GROUP.command("list", short_help="The newest alerts and their deliveries, newest last.")
def list_alerts(
    *,
    app: Annotated[str | None, typer.Option(metavar="APPID", help="Only alerts of this app.")] = None,
    only_open: Annotated[
        bool, typer.Option("--open", help="Only alerts with a delivery that is held, waiting or under way.")
    ] = False,
    only_dead: Annotated[bool, typer.Option("--dead", help="Only alerts with a delivery given up.")] = False,
    limit: Annotated[
        int, typer.Option(min=1, max=SHOWN_MAX, metavar="N", help="How many to list at most.")
    ] = SHOWN_DEFAULT,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List alerts, the newest last, with what became of each on each route.

    `ack` says that somebody has taken care of one, `retry` begins another round of attempts for a dead one.
    """
    total = 0

    def chosen(alerts: Iterator[Alert], log: DeliveryLog) -> Iterator[tuple[int, str, Alert]]:
        nonlocal total
        for alert in alerts:
            states = {one.state for one in log.of(alert.id)}
            if app not in {None, alert.appid}:
                continue
            if (only_open and not states & OPEN) or (only_dead and "dead" not in states):
                continue
            total += 1
            yield parse_time(alert.time), alert.id, alert

    with reading(load().kafka) as reader:
        log = read_deliveries(reader)
        newest = heapq.nlargest(limit, chosen(read_alerts(reader), log), key=lambda one: one[:2])
    alerts = [alert for _, _, alert in reversed(newest)]
    if as_json:
        print_json({"total": total, "alerts": [_described(alert, log) for alert in alerts]})
        return
    console = output()
    if alerts:
        print_whole(console, _table(alerts, log))
    shown = f", the newest {len(alerts):,} shown" if len(alerts) < total else ""
    console.print(f"{total:,} alert{'' if total == 1 else 's'}{shown}.")


@GROUP.command(short_help="Say that somebody takes care of an alert.")
def ack(
    alert_id: AlertId,
    *,
    by: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who; the user of this shell by default.")
    ] = None,
) -> None:
    """Acknowledge an alert: it is not attempted any further, on any route, and the list says by whom."""
    _refuse_what_names_no_alert(alert_id)
    settings = load()
    who = (by or _user())[:100]
    with reading(settings.kafka) as reader:
        log = read_deliveries(reader)
        places = {one.partition for one in log.of(alert_id)}
        if not places:
            _refuse_unknown(alert_id, reader)
            places = {min(log.known)}
    now_ms = time.time_ns() // 1_000_000
    said = Acknowledged(at_ms=now_ms, alert=alert_id, by=who)
    write(settings.kafka, [(place, said) for place in sorted(places)])
    typer.echo(f"{alert_id} is acknowledged by {who}.")


@GROUP.command(short_help="Begin another round of attempts for a dead delivery.")
def retry(
    alert_id: AlertId,
    *,
    route: Annotated[str | None, typer.Option(metavar="ROUTE", help="Only on this route.")] = None,
) -> None:
    """Try an alert again that was given up, with the same message id, for another 24 hours."""
    _refuse_what_names_no_alert(alert_id)
    settings = load()
    with reading(settings.kafka) as reader:
        deliveries = read_deliveries(reader).of(alert_id)
        if not deliveries:
            _refuse_unknown(alert_id, reader)
    dead = [one for one in deliveries if one.state == "dead" and route in {None, one.route}]
    if not dead:
        raise OperationError(
            f"Alert {alert_id[:60]!r} has no delivery that was given up"
            f"{f' on route {route}' if route else ''}; phonemeter alerts list --dead shows those that have."
        )
    now_ms = time.time_ns() // 1_000_000
    write(settings.kafka, [(one.partition, Retry(at_ms=now_ms, chain=one.chain)) for one in dead])
    typer.echo(f"{alert_id} is tried again on {', '.join(one.route for one in dead)}.")


@GROUP.command(short_help="Enable a route again that its receiver has disabled.")
def enable(route: RouteName) -> None:
    """Enable a route again whose receiver had answered 410 Gone.

    What was given up meanwhile stays so until retry.
    """
    settings = load()
    with reading(settings.kafka) as reader:
        known = read_deliveries(reader).known
    if not any(route in one.disabled for one in known.values()):
        _refuse_unknown_route(route, {name for one in known.values() for _, name in one.asked})
        raise OperationError(f"Route {route[:60]!r} is not disabled.")
    now_ms = time.time_ns() // 1_000_000
    said = RouteState(at_ms=now_ms, route=route, disabled=False)
    write(settings.kafka, [(partition_of(route, len(known)), said)])
    typer.echo(f"{route} is enabled.")


@GROUP.command(short_help="Check the file of routes, and say what is in it.")
def check(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="The setting's by default.", show_default=False)
    ] = None,
) -> None:
    """Check the file of routes with everything it refers to. Nothing is sent; no address is shown."""
    routes = _routes(file)
    table = Table("route", "channel", "language", "apps", "owners", "alerts", "severities", "when")
    for route in routes.routes.values():
        when = ", ".join((*(("quiet hours",) if route.quiet else ()), *(("digest",) if route.digest else ())))
        filters = (route.apps, route.owners, route.alerts, route.severities)
        shown = (", ".join(one) or "all" for one in filters)
        table.add_row(route.name, route.channel, route.language, *shown, when or "at once")
    console = output()
    console.print(table)
    counts = ((len(routes.routes), "route"), (len(routes.apps), "app"))
    told = ", ".join(f"{count:,} {name}{'' if count == 1 else 's'}" for count, name in counts)
    console.print(f"{told}: valid.")


@GROUP.command("test", short_help="Send a test message through a route.")
def send_test(route: RouteName, *, file: File = None) -> None:
    """Send one test message through a route, at once, whatever its filters and hours; one attempt is made.

    The exit status is 0 if the receiver took it.
    """
    settings = load()
    routes = _routes(file)
    found = routes.routes.get(route)
    if found is None:
        known = ", ".join(routes.routes) or "none"
        raise OperationError(f"The file has no route {route[:60]!r}; it has: {known}.")
    now_ms = time.time_ns() // 1_000_000
    alert = Alert(
        id=f"test-{now_ms}-0",
        kind="alert",
        appid=next(iter(found.apps), "wx0000000000000000"),
        capability="quick",
        reason="test",
        time=format_time(now_ms),
        remaining=0,
        pack_id="",
        details={},
    )
    message = Message(f"test_{now_ms}_{route}", [alert], [routes.app(alert.appid)], held=False)
    outcome = deliverer(settings.notifier_timeout_s)(found, message, now_ms)
    if not outcome.delivered:
        raise OperationError(f"Route {route} did not take the test message: {outcome.reason}.")
    typer.echo(f"Route {route} took the test message: {outcome.reason}.")


@GROUP.command(short_help="Make a signing secret for a webhook.")
def secret() -> None:
    """Print a new signing secret; put it where the file of routes refers to, and give it to the receiver."""
    typer.echo(f"whsec_{base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()}")


def _routes(file: Path | None) -> Routes:
    path = file or load().alert_routes
    if path is None:
        raise UserError(f"No file of routes is set; name it, or set {named('alert_routes')}.")
    return read_routes(path)


def _refuse_what_names_no_alert(alert_id: str) -> None:
    if ALERT_NAME.fullmatch(alert_id) is None:
        raise UserError(
            f"{alert_id[:60]!r} does not name an alert; its name is such as 2-417-0, and phonemeter alerts "
            f"list tells it."
        )


def _refuse_unknown(alert_id: str, reader: TopicReader) -> None:
    if all(alert.id != alert_id for alert in read_alerts(reader)):
        raise OperationError(f"There is no alert {alert_id[:60]!r}; phonemeter alerts list shows them.")


def _refuse_unknown_route(route: str, used: set[str]) -> None:
    """Refuse a route that is not in the file and to which, as far as `used` says, no alert went either."""
    if route in used:
        return
    path = load().alert_routes
    try:
        routes = used if path is None else used | read_routes(path).routes.keys()
    except RoutesError as error:
        raise OperationError(
            f"No alert went to a route {route[:60]!r}, and whether there is one can't be told: {error}"
        ) from None
    if route not in routes:
        unset = "" if path is not None else f", and {named('alert_routes')} names no file with more"
        there = ", ".join(sorted(routes)) or "none"
        raise OperationError(f"There is no route {route[:60]!r}; there are: {there}{unset}.")


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def _described(alert: Alert, log: DeliveryLog) -> dict[str, Any]:
    said = log.acknowledgement(alert.id)
    return {
        **msgspec.structs.asdict(alert),
        "severity": severity_of(alert),
        "acknowledged": None if said is None else {"by": said.by, "at": format_time(said.at_ms)},
        "deliveries": [
            {
                "route": one.route,
                "state": one.state,
                "attempt": one.attempt,
                "due": format_time(one.due_ms),
                "reason": one.reason,
                "message": one.chain,
            }
            for one in log.of(alert.id)
        ],
    }


def _table(alerts: list[Alert], log: DeliveryLog) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0))
    for title in ("alert", "time (Shanghai)", "app", "capability", "severity", "what", "left", "deliveries"):
        table.add_column(title)
    for alert in alerts:
        said = log.acknowledgement(alert.id)
        deliveries = [_told(one) for one in log.of(alert.id)]
        if said is not None:
            deliveries.insert(0, f"acknowledged by {said.by}")
        details = " ".join(_detail(name, value) for name, value in alert.details.items())
        recovered = "recovered " if alert.kind == "recovery" else ""
        table.add_row(
            alert.id,
            to_second(parse_time(alert.time)),
            alert.appid,
            alert.capability,
            severity_of(alert),
            " ".join(filter(None, (f"{recovered}{alert.reason}", alert.pack_id, details))),
            f"{alert.remaining:,}",
            "\n".join(deliveries) or "none",
        )
    return table


def _detail(name: str, value: int | str) -> str:
    """A detail of an alert; a time as people have it."""
    if isinstance(value, int) and name.endswith("_at_ms"):
        return f"{name.removesuffix('_at_ms')} {to_second(value)}"
    return f"{name} {value}"


def _told(delivery: Delivery) -> str:
    told = f"{delivery.route}: {delivery.state}"
    if delivery.state == "held":
        return f"{told} until {to_second(delivery.due_ms)}"
    if delivery.attempt == 0 or delivery.state in {"delivered", "acknowledged"}:
        return told
    return f"{told}, attempt {delivery.attempt}: {delivery.reason or 'under way'}"
