"""The program behind `phonemeter`: one module per command, loaded only when it is called."""

import logging
import os
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Annotated, Any, Final, NamedTuple

import typer

from http_service.build_info import build
from phonemeter import log_lines
from phonemeter.cli.failures import report


class Command(NamedTuple):
    """A command: its name, its function (`module:function`), its summary and its panel in the list."""

    name: str
    where: str
    summary: str
    panel: str


STACK: Final = "One machine"
EVENTS: Final = "Events"
SERVICES: Final = "Services, as the stack and the containers run them"

COMMANDS: Final[tuple[Command, ...]] = (
    Command("demo", "phonemeter.cli.demo:demo", "Start everything and meter simulated traffic.", STACK),
    Command("up", "phonemeter.cli.up:up", "Run everything on this machine until Ctrl-C.", STACK),
    Command("emit", "phonemeter.cli.emit:emit", "Publish events from a file or stdin.", EVENTS),
    Command(
        "import",
        "phonemeter.cli.import_history:import_history",
        "Publish past facts from CSV, JSON Lines or Parquet.",
        EVENTS,
    ),
    Command("open", "phonemeter.cli.open:open_app", "Take up an app that is in use already.", EVENTS),
    Command("migrate", "phonemeter.cli.migrate:migrate", "Carry an app over to its new appid.", EVENTS),
    Command("correct", "phonemeter.cli.correct:correct", "Make a fact void, or set fields of it.", EVENTS),
    Command(
        "simulate",
        "phonemeter.cli.simulate:simulate",
        "Publish or write seeded traffic of many apps.",
        EVENTS,
    ),
    Command(
        "apps", "phonemeter.cli.apps:list_apps", "All apps: what is left, until when, and alerts.", STACK
    ),
    Command("balance", "phonemeter.cli.balance:balance", "What an app has left, and its packs.", STACK),
    Command(
        "forecast", "phonemeter.cli.forecast:forecast_app", "Run-out, lapses, and what to buy next.", STACK
    ),
    Command(
        "reconcile",
        "phonemeter.cli.reconcile:reconcile",
        "The platform's count beside ours, by cause.",
        STACK,
    ),
    Command("routing", "phonemeter.cli.routing:routing", "Who is sent to WeChat: show it, or set it.", STACK),
    Command("dispute", "phonemeter.cli.dispute:dispute", "A day's calls with openids, for WeChat.", EVENTS),
    Command("alerts", "phonemeter.cli.alerts:GROUP", "Alerts and their deliveries: list, ack, test.", STACK),
    Command(
        "dead-letters",
        "phonemeter.cli.dead_letters:GROUP",
        "Records that are no valid events: list, show, retry.",
        EVENTS,
    ),
    Command("rate", "phonemeter.cli.rate:rate", "Meter a file by the rules alone, offline.", STACK),
    Command(
        "replay", "phonemeter.cli.replay:replay", "Meter the log again: compare rules, or rebuild.", STACK
    ),
    Command("backup", "phonemeter.cli.backup:backup", "Copy the log and the business database.", STACK),
    Command("restore", "phonemeter.cli.backup:restore", "Put a backup into an empty Kafka.", STACK),
    Command(
        "repartition",
        "phonemeter.cli.repartition:repartition",
        "Move the log to topics with more partitions.",
        STACK,
    ),
    Command("audit", "phonemeter.cli.audit:audit", "Recompute the ledger, compare it everywhere.", STACK),
    Command("explain", "phonemeter.cli.explain:explain", "What happened to one event, and why.", STACK),
    Command("status", "phonemeter.cli.status:status", "Health, lag and freshness.", STACK),
    Command("settings", "phonemeter.cli.settings:settings", "Every setting, its value and meaning.", STACK),
    Command(
        "keys", "phonemeter.cli.keys:GROUP", "API keys of the HTTP gateway: issue, list, rotate.", EVENTS
    ),
    Command("owners", "phonemeter.cli.owners:GROUP", "Owners of apps, for the console: add, list.", EVENTS),
    Command("members", "phonemeter.cli.members:GROUP", "Who signs in to the console: add, list.", EVENTS),
    Command("orders", "phonemeter.cli.orders:GROUP", "Orders of packs: list, confirm a transfer.", EVENTS),
    Command(
        "invoices", "phonemeter.cli.invoices:GROUP", "Invoices of orders: list, issue, refuse, void.", EVENTS
    ),
    Command(
        "doctor",
        "phonemeter.cli.doctor:doctor",
        "Try each step to Kafka and ClickHouse.",
        SERVICES,
    ),
    Command("topics", "phonemeter.cli.topics:topics", "Create Kafka's topics, or check them.", SERVICES),
    Command(
        "worker", "phonemeter.cli.services:worker", "Run the stream worker: events in, ledger out.", SERVICES
    ),
    Command("sink", "phonemeter.cli.services:sink", "Run the sink: the ledger into ClickHouse.", SERVICES),
    Command(
        "settler", "phonemeter.cli.services:settler", "Run the settler: late facts put in order.", SERVICES
    ),
    Command("notifier", "phonemeter.cli.services:notifier", "Run the notifier: alerts to people.", SERVICES),
    Command("wechat", "phonemeter.cli.services:wechat", "Read WeChat's counts and packs.", SERVICES),
    Command("gateway", "phonemeter.cli.services:gateway", "Take events over HTTP.", SERVICES),
    Command("console", "phonemeter.cli.services:console", "Show the console to owners of apps.", SERVICES),
    Command(
        "wechat-sim", "phonemeter.cli.services:wechat_sim", "Run a stand-in for WeChat's servers.", SERVICES
    ),
    Command("engine", "phonemeter.cli.services:engine", "Run the embedded ClickHouse.", SERVICES),
)
"""Every command, in the order of the list. To add one: a module with a typer function (or a Typer with
commands of its own), and its line here."""

CHATTY: Final = ("kafka", "clickhouse_driver")
"""Libraries whose warnings Python would print to stderr; the commands report them in sentences."""

EPILOG: Final = "Start with: phonemeter up. Settings come from PHONEMETER_* variables and phonemeter.toml."


def run() -> None:
    """Run the command line; every expected failure is one sentence on stderr and an exit status, 1 or 2.

    Raises:
        KeyboardInterrupt: on Ctrl-C while the command is still being loaded, which takes a second.
    """
    for library in CHATTY:
        logging.getLogger(library).addHandler(logging.NullHandler())
    log_lines.use_utc()
    try:
        _app(_command_name(sys.argv[1:]))(prog_name="phonemeter")
    except Exception as error:  # noqa: BLE001 - the one place where a failure becomes a sentence
        sys.exit(report(error))


def _command_name(arguments: list[str]) -> str | None:
    """The command that is called; None for all of them, when the shell asks for completions."""
    if "_PHONEMETER_COMPLETE" in os.environ:
        return None
    return next((argument for argument in arguments if not argument.startswith("-")), "")


def all_commands() -> typer.Typer:
    """The command line with every command loaded."""
    return _app(None)


def _app(wanted: str | None) -> typer.Typer:
    app = typer.Typer(
        name="phonemeter",
        help="Meters prepaid WeChat phone-authorization calls: which pack each call took, what is left, "
        "what lapses.",
        epilog=EPILOG,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    for command in COMMANDS:
        loaded = _load(command.where) if wanted in {None, command.name} else _placeholder
        if isinstance(loaded, typer.Typer):
            app.add_typer(
                loaded, name=command.name, short_help=command.summary, rich_help_panel=command.panel
            )
        else:
            app.command(command.name, short_help=command.summary, rich_help_panel=command.panel)(loaded)
    return app


def _load(where: str) -> Callable[..., Any] | typer.Typer:
    module, _, name = where.partition(":")
    loaded: Callable[..., Any] | typer.Typer = getattr(import_module(module), name)
    return loaded


def _placeholder() -> None:
    """Do nothing, in place of a command that is listed but not called."""


def _show_version(value: bool) -> None:  # noqa: FBT001 - typer calls it with the option's value
    if value:
        typer.echo(f"phonemeter {build().version} (revision {build().revision})")
        raise typer.Exit


def _options(
    *,
    show_version: Annotated[
        bool,
        typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    del show_version
