"""The app that a command is about: the one that was named, or one that a person chooses from all."""

import sys
from collections.abc import Sequence
from typing import Annotated, Final, NamedTuple

import typer

from phonemeter.clickhouse import ledger_client
from phonemeter.errors import OperationError, UserError
from phonemeter.tables import print_table
from phonemeter.terminal import Table, Terminal
from sinks.connection import rows

OFFERED_MAX: Final = 50
"""Apps that are listed to choose from; any other can still be named."""

_APPS: Final = "SELECT appid, name FROM apps ORDER BY name, appid"

AppId = Annotated[
    str | None,
    typer.Argument(
        help="The app, for example wx8ff4154a2448e576; without it you are asked for one.",
        metavar="[APPID]",
        show_default=False,
    ),
]


class AppChoice(NamedTuple):
    """An app to choose, with its name, which may be empty."""

    appid: str
    name: str


def choose_app(appid: str | None, url: str, command: str) -> str:
    """The app that was named, or the answer of a person on a terminal.

    Raises:
        UserError: none was named and there is nobody to ask, or no answer came.
        OperationError: the ledger at `url` knows no app, or ClickHouse does not answer.
    """
    if appid is not None:
        return appid
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UserError(
            f"Which app? Name it, as in: phonemeter {command} APPID. All of them: phonemeter apps."
        )
    with ledger_client(url) as client:
        apps = [AppChoice(*row) for row in rows(client, _APPS)]
    if not apps:
        raise OperationError("The ledger knows no app yet: an app is there with its first event.")
    return _ask(apps, Terminal(stderr=True)).appid


def match_app(apps: Sequence[AppChoice], answer: str) -> AppChoice | None:
    """The app that an answer means: its number, its id, or a part of id or name that no other app has."""
    wanted = answer.strip().casefold()
    if wanted.isdecimal() and 1 <= int(wanted) <= min(len(apps), OFFERED_MAX):
        return apps[int(wanted) - 1]
    exact = [app for app in apps if wanted in {app.appid.casefold(), app.name.casefold()}]
    near = [app for app in apps if wanted in app.appid.casefold() or wanted in app.name.casefold()]
    return next((found[0] for found in (exact, near) if wanted and len(found) == 1), None)


def _ask(apps: Sequence[AppChoice], console: Terminal) -> AppChoice:
    table = Table("", "app", "name", box=None, padding=(0, 1, 0, 0))
    for number, app in enumerate(apps[:OFFERED_MAX], 1):
        table.add_row(str(number), *app)
    print_table(console, table)
    if len(apps) > OFFERED_MAX:
        console.print(f"and {len(apps) - OFFERED_MAX:,} more")
    while True:
        try:
            answer = console.input("Which app (its number, id, or a part of its name)? ")
        except EOFError:
            raise UserError("No app was chosen.") from None
        found = match_app(apps, answer)
        if found is not None:
            return found
        console.print("No app, or more than one, is called so.")
