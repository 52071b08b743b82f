"""`phonemeter alerts`: list alerts and their deliveries, acknowledge, retry, check and test routes."""

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
from rich.text import Text

from metering.alert_severity import severity_of
from metering.alerts import Alert
from metering.printable_text import one_line
from metering.times import format_time, parse_time, shanghai_time
from phonemeter.cli.alerts_log import DeliveryLog, DeliveryStatus, read_alerts, read_deliveries, write
from phonemeter.errors import OperationError, UserError
from phonemeter.formats import to_second
from phonemeter.settings import load, named
from phonemeter.tables import print_table
from phonemeter.terminal import Table, output, print_json, say
from phonemeter.topic_reader import TopicReader, open_reader
from sinks.notifier.channels import Message, deliverer
from sinks.notifier.errors import RoutesError
from sinks.notifier.records import Acknowledgement, Retry, RouteState, partition_of
from sinks.notifier.routes import Routes
from sinks.notifier.routes_file import read_routes

SHOWN_DEFAULT: Final = 50
SHOWN_MAX: Final = 10_000
SECRET_BYTES: Final = 32
OPEN: Final = frozenset({"held", "waiting", "sending"})
ALERT_NAME: Final = re.compile(r"\d+-\d+-\d+", re.ASCII)

GROUP = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="List alerts and their deliveries, acknowledge alerts, retry deliveries, check and test routes. The "
    "routes file (setting alert_routes) names the receivers.",
)

AlertId = Annotated[
    str, typer.Argument(metavar="ALERT_ID", help="Id of the alert as in list, such as 2-417-0.")
]
RouteName = Annotated[str, typer.Argument(metavar="ROUTE", help="Name of a route in the routes file.")]
File = Annotated[
    Path | None,
    typer.Option(
        "--file", metavar="FILE", help="The routes file; by default that of the setting alert_routes."
    ),
]


@GROUP.command("list", short_help="The newest alerts and their deliveries, newest last.")
def list_alerts(
    *,
    app: Annotated[str | None, typer.Option(metavar="APPID", help="Only alerts of this app.")] = None,
    only_open: Annotated[
        bool, typer.Option("--open", help="Only alerts with a delivery that is held, waiting or under way.")
    ] = False,
    only_dead: Annotated[
        bool, typer.Option("--dead", help="Only alerts with a delivery of which all attempts failed.")
    ] = False,
    limit: Annotated[
        int, typer.Option(min=1, max=SHOWN_MAX, metavar="N", help="How many to list at most.")
    ] = SHOWN_DEFAULT,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List alerts, the newest last, with the state of their delivery on each route.

    `ack` acknowledges an alert, `retry` begins another round of attempts for a dead delivery.
    """
    total = 0

    def chosen(alerts: Iterator[Alert], log: DeliveryLog) -> Iterator[tuple[int, str, Alert]]:
        nonlocal total
        for alert in alerts:
            states = {status.state for status in log.statuses(alert.id)}
            if app not in {None, alert.appid}:
                continue
            if (only_open and not states & OPEN) or (only_dead and "dead" not in states):
                continue
            total += 1
            yield parse_time(alert.time), alert.id, alert

    with open_reader(load().kafka_access) as reader:
        log = read_deliveries(reader)
        newest = heapq.nlargest(limit, chosen(read_alerts(reader), log), key=lambda one: one[:2])
    alerts = [alert for _, _, alert in reversed(newest)]
    if as_json:
        print_json({"total": total, "alerts": [_described(alert, log) for alert in alerts]})
        return
    console = output()
    if alerts:
        print_table(console, _table(alerts, log))
    shown = f", the newest {len(alerts):,} shown" if len(alerts) < total else ""
    console.print(f"{total:,} alert{'' if total == 1 else 's'}{shown}.")


@GROUP.command(short_help="Acknowledge an alert.")
def ack(
    alert_id: AlertId,
    *,
    by: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who acknowledges; by default the user of this shell.")
    ] = None,
) -> None:
    """Acknowledge an alert: its deliveries end on every route, and list shows who acknowledged it."""
    _refuse_invalid_id(alert_id)
    settings = load()
    who = (by or _user())[:100]
    with open_reader(settings.kafka_access) as reader:
        log = read_deliveries(reader)
        partitions = {status.partition for status in log.statuses(alert_id)}
        if not partitions:
            _refuse_unknown(alert_id, reader)
            partitions = {min(log.partitions)}
    now_ms = time.time_ns() // 1_000_000
    acknowledgement = Acknowledgement(at_ms=now_ms, alert=alert_id, by=who)
    write(settings.kafka_access, [(partition, acknowledgement) for partition in sorted(partitions)])
    say(f"{alert_id} is acknowledged by {who}.")


@GROUP.command(short_help="Begin another round of attempts for a dead delivery.")
def retry(
    alert_id: AlertId,
    *,
    route: Annotated[str | None, typer.Option(metavar="ROUTE", help="Only on this route.")] = None,
) -> None:
    """Attempt the dead deliveries of an alert again for another 24 hours, with the same message id."""
    _refuse_invalid_id(alert_id)
    settings = load()
    with open_reader(settings.kafka_access) as reader:
        statuses = read_deliveries(reader).statuses(alert_id)
        if not statuses:
            _refuse_unknown(alert_id, reader)
    dead = [one for one in statuses if one.state == "dead" and route in {None, one.route}]
    if not dead:
        raise OperationError(
            f"Alert {alert_id[:60]!r} has no dead delivery"
            f"{f' on route {route}' if route else ''}; phonemeter alerts list --dead shows those that have."
        )
    now_ms = time.time_ns() // 1_000_000
    write(
        settings.kafka_access,
        [(one.partition, Retry(at_ms=now_ms, delivery_id=one.delivery_id)) for one in dead],
    )
    say(f"{alert_id} is tried again on {', '.join(one.route for one in dead)}.")


@GROUP.command(short_help="Enable a route that its receiver disabled.")
def enable(route: RouteName) -> None:
    """Enable a route that was disabled because its receiver answered 410 Gone.

    Deliveries that died meanwhile need `retry`.
    """
    settings = load()
    with open_reader(settings.kafka_access) as reader:
        partitions = read_deliveries(reader).partitions
    if not any(route in one.disabled_routes for one in partitions.values()):
        _refuse_unknown_route(route, {name for one in partitions.values() for _, name in one.requests})
        raise OperationError(f"Route {route[:60]!r} is not disabled.")
    now_ms = time.time_ns() // 1_000_000
    enabled = RouteState(at_ms=now_ms, route=route, disabled=False)
    write(settings.kafka_access, [(partition_of(route, len(partitions)), enabled)])
    say(f"{route} is enabled.")


@GROUP.command(short_help="Check the routes file and show its routes.")
def check(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE", help="By default that of the setting alert_routes.", show_default=False
        ),
    ] = None,
) -> None:
    """Check the routes file and the secrets that it refers to. Nothing is sent, and no address is shown."""
    routes = _routes(file)
    table = Table("route", "channel", "language", "apps", "owners", "alerts", "severities", "when")
    for route in routes.routes.values():
        when = ", ".join((*(("quiet hours",) if route.quiet else ()), *(("digest",) if route.digest else ())))
        filters = (route.apps, route.owners, route.alerts, route.severities)
        shown = (", ".join(one) or "all" for one in filters)
        table.add_row(route.name, route.channel, route.language, *shown, when or "at once")
    console = output()
    print_table(console, table)
    counts = ((len(routes.routes), "route"), (len(routes.apps), "app"))
    summary = ", ".join(f"{count:,} {name}{'' if count == 1 else 's'}" for count, name in counts)
    console.print(f"{summary}: valid.")


@GROUP.command("test", short_help="Send a test message through a route.")
def send_test(route: RouteName, *, file: File = None) -> None:
    """Send one test message through a route at once, ignoring its filters and quiet hours, in one attempt.

    The exit status is 0 if the receiver accepted it.
    """
    settings = load()
    routes = _routes(file)
    found = routes.routes.get(route)
    if found is None:
        known = ", ".join(routes.routes) or "none"
        raise OperationError(f"The file has no route {route[:60]!r}; it has: {known}.")
    now_ms = time.time_ns() // 1_000_000
    appid = next(iter(found.apps), "wx0000000000000000")
    message = Message.to_try(route, appid, routes.app(appid), now_ms)
    outcome = deliverer(settings.notifier_timeout_s)(found, message, now_ms)
    if not outcome.delivered:
        raise OperationError(f"Route {route} did not accept the test message: {outcome.reason}.")
    say(f"Route {route} accepted the test message: {outcome.reason}.")


@GROUP.command(short_help="Make a signing secret for a webhook.")
def secret() -> None:
    """Print a new signing secret; store it where the routes file refers to, and give it to the receiver."""
    say(f"whsec_{base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()}")


def _routes(file: Path | None) -> Routes:
    path = file or load().alert_routes
    if path is None:
        raise UserError(f"No routes file is set; name one, or set {named('alert_routes')}.")
    return read_routes(path)


def _refuse_invalid_id(alert_id: str) -> None:
    if ALERT_NAME.fullmatch(alert_id) is None:
        raise UserError(
            f"{alert_id[:60]!r} is not the id of an alert, such as 2-417-0; phonemeter alerts list shows "
            f"the ids."
        )


def _refuse_unknown(alert_id: str, reader: TopicReader) -> None:
    if all(alert.id != alert_id for alert in read_alerts(reader)):
        raise OperationError(f"There is no alert {alert_id[:60]!r}; phonemeter alerts list shows them.")


def _refuse_unknown_route(route: str, used: set[str]) -> None:
    """Refuse a route that is neither in the file nor among those that alerts went to."""
    if route in used:
        return
    path = load().alert_routes
    try:
        routes = used if path is None else used | read_routes(path).routes.keys()
    except RoutesError as error:
        raise OperationError(
            f"No alert went to a route {route[:60]!r}, and the routes file can't be read: {error}"
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
    acknowledgement = log.acknowledgement(alert.id)
    return {
        **msgspec.structs.asdict(alert),
        "severity": severity_of(alert),
        "acknowledged": None
        if acknowledgement is None
        else {"by": acknowledgement.by, "at": format_time(acknowledgement.at_ms)},
        "deliveries": [
            {
                "route": status.route,
                "state": status.state,
                "attempt": status.attempt,
                "due": format_time(status.due_ms),
                "reason": status.reason,
                "message": status.delivery_id,
            }
            for status in log.statuses(alert.id)
        ],
    }


def _table(alerts: list[Alert], log: DeliveryLog) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0))
    for title in ("alert", "time (Shanghai)", "app", "capability", "severity", "what", "left", "deliveries"):
        table.add_column(title)
    for alert in alerts:
        acknowledgement = log.acknowledgement(alert.id)
        deliveries = [_progress(status) for status in log.statuses(alert.id)]
        if acknowledgement is not None:
            deliveries.insert(0, f"acknowledged by {acknowledgement.by}")
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
            Text("\n".join(map(one_line, deliveries)) or "none"),
        )
    return table


def _detail(name: str, value: int | str) -> str:
    """A detail of an alert in words, times in Shanghai's."""
    if isinstance(value, int) and name.endswith("_at_ms"):
        return f"{name.removesuffix('_at_ms')} {shanghai_time(value)}"
    return f"{name} {value}"


def _progress(status: DeliveryStatus) -> str:
    text = f"{status.route}: {status.state}"
    if status.state == "held":
        return f"{text} until {shanghai_time(status.due_ms)}"
    if status.state == "not_sent":
        return f"{text}, {status.reason}"
    if status.attempt == 0 or status.state in {"delivered", "acknowledged"}:
        return text
    return f"{text}, attempt {status.attempt}: {status.reason or 'under way'}"
