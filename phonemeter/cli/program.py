"""The program behind `phonemeter`: one module per command, loaded only when it is called."""

import logging
import os
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Any, Final, NamedTuple

import typer

from phonemeter.cli.failures import report


class Command(NamedTuple):
    """A command: its name, where it is (`module:function`), its line in the list and the panel of that."""

    name: str
    where: str
    summary: str
    panel: str


STACK: Final = "One machine"
EVENTS: Final = "Events"
SERVICES: Final = "Services, as the stack and the containers run them"

COMMANDS: Final[tuple[Command, ...]] = (
    Command("demo", "phonemeter.cli.demo:demo", "Watch traffic burn packs, from nothing.", STACK),
    Command("up", "phonemeter.cli.up:up", "Run everything on this machine until Ctrl-C.", STACK),
    Command("emit", "phonemeter.cli.emit:emit", "Publish events from a file or stdin.", EVENTS),
    Command(
        "simulate",
        "phonemeter.cli.simulate:simulate",
        "Publish or write seeded traffic of many apps.",
        EVENTS,
    ),
    Command("balance", "phonemeter.cli.balance:balance", "What an app has left, and its packs.", STACK),
    Command(
        "forecast", "phonemeter.cli.forecast:forecast_app", "Run-out, lapses, and what to buy next.", STACK
    ),
    Command("alerts", "phonemeter.cli.alerts:GROUP", "Alerts and their deliveries: list, ack, test.", STACK),
    Command(
        "dead-letters",
        "phonemeter.cli.dead_letters:GROUP",
        "Records that are no events: list, explain, put back.",
        EVENTS,
    ),
    Command("rate", "phonemeter.cli.rate:rate", "Meter a file by the rules alone, offline.", STACK),
    Command(
        "replay", "phonemeter.cli.replay:replay", "Rate the log again: what would differ; rebuild.", STACK
    ),
    Command("audit", "phonemeter.cli.audit:audit", "Recompute the ledger, compare it everywhere.", STACK),
    Command("explain", "phonemeter.cli.explain:explain", "What happened to one event, and why.", STACK),
    Command("status", "phonemeter.cli.status:status", "Health, lag and freshness.", STACK),
    Command("settings", "phonemeter.cli.settings:settings", "Every setting, its value and meaning.", STACK),
    Command("topics", "phonemeter.cli.topics:topics", "Create Kafka's topics, or check them.", SERVICES),
    Command(
        "worker", "phonemeter.cli.services:worker", "Run the stream worker: events in, ledger out.", SERVICES
    ),
    Command("sink", "phonemeter.cli.services:sink", "Run the sink: the ledger into ClickHouse.", SERVICES),
    Command("notifier", "phonemeter.cli.services:notifier", "Run the notifier: alerts to people.", SERVICES),
    Command("engine", "phonemeter.cli.services:engine", "Run the embedded ClickHouse.", SERVICES),
)
"""Every command, in the order of the list. To add one: a module with a typer function (or a Typer with
commands of its own), and its line here."""

CHATTY: Final = ("kafka", "clickhouse_driver")
"""Libraries that would log to stderr, by Python's last resort, what the command tells in its own sentence."""

EPILOG: Final = "Start with: phonemeter up. Settings come from PHONEMETER_* variables and phonemeter.toml."


def run() -> None:
    """Run the command line; every expected failure is one sentence on stderr and an exit status, 1 or 2.

    Raises:
        KeyboardInterrupt: on Ctrl-C while the command is still being loaded, which takes a second.
    """
    for library in CHATTY:
        logging.getLogger(library).addHandler(logging.NullHandler())
    try:
        _app(_wanted(sys.argv[1:]))(prog_name="phonemeter")
    except Exception as error:  # noqa: BLE001 - the one place where a failure becomes a sentence
        sys.exit(report(error))


def _wanted(arguments: list[str]) -> str | None:
    """The command that is called. None stands for all of them: the shell asks for completions."""
    if "_PHONEMETER_COMPLETE" in os.environ:
        return None
    return next((argument for argument in arguments if not argument.startswith("-")), "")


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
        loaded = _load(command.where) if wanted in {None, command.name} else _unloaded
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


def _unloaded() -> None:
    """Stand in for a command that is listed but not called."""


def _show_version(value: bool) -> None:  # noqa: FBT001 - typer calls it with the option's value
    if value:
        typer.echo(f"phonemeter {version('phonemeter')}")
        raise typer.Exit


def _options(
    *,
    show_version: Annotated[
        bool,
        typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    del show_version
