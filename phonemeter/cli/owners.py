"""`phonemeter owners`: the owners of apps, each of whom sees its own apps in the console."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Final

import msgspec
import typer

from metering.event_validation import is_appid
from metering.personal_identifiers import find_identifier
from metering.printable_text import one_line
from phonemeter.business.database import BusinessDatabase
from phonemeter.business.owners import APPS_MAX, OwnerStore
from phonemeter.errors import UserError
from phonemeter.settings import load
from phonemeter.tables import print_table
from phonemeter.terminal import Table, output, print_json

NAME_CHARACTERS_MAX: Final = 64
SHOWN_APPS: Final = 3

GROUP = typer.Typer(
    name="owners",
    help="Owners of apps: a company, or a client of an agency. Its members see its apps in the console.",
    no_args_is_help=True,
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="What people call the owner.")]


@GROUP.command("add")
def add(
    name: Name,
    *,
    app: Annotated[
        list[str] | None, typer.Option("--app", metavar="APPID", help="An app of it; several times.")
    ] = None,
) -> None:
    """Add an owner."""
    called, apps = _name(name), _apps(app or [])
    with _opened_store() as store:
        store.add(called, apps)
    output().print(f"Apps of the owner {one_line(called)}: {len(apps):,}.")


@GROUP.command("apps")
def change_apps(
    name: Name,
    *,
    add_app: Annotated[
        list[str] | None, typer.Option("--add", metavar="APPID", help="An app to give it; several times.")
    ] = None,
    remove_app: Annotated[
        list[str] | None,
        typer.Option("--remove", metavar="APPID", help="An app to take from it; several times."),
    ] = None,
) -> None:
    """Give apps to an owner, or take them from it; an app has one owner at most.

    API keys that were issued for an app stay valid: look at `phonemeter keys list` after taking one away.
    """
    added, removed = _apps(add_app or []), _apps(remove_app or [])
    if not added and not removed:
        raise UserError("Say which apps: --add APPID or --remove APPID, several times.")
    with _opened_store() as store:
        owner = store.change_apps(name, added, removed)
    output().print(f"Apps of the owner {one_line(owner.name)}: {len(owner.apps):,}.")


@GROUP.command("list")
def list_owners(
    *, as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False
) -> None:
    """List all owners, by name."""
    with _opened_store() as store:
        owners = store.every_owner()
    if as_json:
        told = [{"name": one.name, "apps": one.apps, "members": one.members} for one in owners]
        print_json({"owners": msgspec.to_builtins(told)})
        return
    table = Table("owner", "apps", "such as", "members")
    for one in owners:
        few = ", ".join(one.apps[:SHOWN_APPS])
        table.add_row(one_line(one.name), f"{len(one.apps):,}", few, f"{one.members:,}")
    print_table(output(), table)


@contextmanager
def _opened_store() -> Iterator[OwnerStore]:
    with BusinessDatabase(load().business_url) as database:
        yield OwnerStore(database)


def _name(name: str) -> str:
    if not 0 < len(name.strip()) <= NAME_CHARACTERS_MAX or not name.isprintable():
        raise UserError(f"The name of an owner has 1 to {NAME_CHARACTERS_MAX} printable characters.")
    if find_identifier(name) is not None:
        raise UserError("The name of an owner may hold no phone number and no openid; name the company.")
    return name.strip()


def _apps(given: list[str]) -> list[str]:
    wrong = next((one for one in given if not is_appid(one)), None)
    if wrong is not None:
        raise UserError(
            f"{wrong[:64]!r} is no appid, which is 1 to 64 letters, digits, hyphens or underscores."
        )
    if len(given) > APPS_MAX:
        raise UserError(f"An owner has at most {APPS_MAX:,} apps.")
    return sorted(set(given))
