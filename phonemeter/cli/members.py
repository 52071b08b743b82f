"""`phonemeter members`: who signs in to the console."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Final

import typer

from dashboards.console.members import PasswordLink, is_name, normalized_email
from dashboards.console.pages.members import password_address
from dashboards.console.passwords import CHARACTERS_MAX, CHARACTERS_MIN, Passwords, weakness
from dashboards.console.roles import ROLES
from dashboards.console.sessions import token_digest
from metering.personal_identifiers import find_identifier
from metering.printable_text import one_line
from phonemeter.business.database import BusinessDatabase
from phonemeter.business.members import MemberRegister
from phonemeter.business.sessions import BusinessSessions
from phonemeter.errors import UserError
from phonemeter.formats import to_minute
from phonemeter.settings import Settings, load
from phonemeter.tables import print_table
from phonemeter.terminal import Table, Terminal, output, print_json

SENTENCES: Final = {
    "differ": "The two entries differ; type the password again.",
    "short": f"The password needs at least {CHARACTERS_MIN} characters.",
    "long": f"The password has at most {CHARACTERS_MAX} characters.",
    "like_email": "The password may not be the e-mail address.",
}

GROUP = typer.Typer(
    name="members",
    help="Members: who signs in to the console, for which owner, in which role.",
    no_args_is_help=True,
)

Email = Annotated[str, typer.Argument(metavar="EMAIL", help="The address that the member signs in with.")]
AskPassword = Annotated[
    bool, typer.Option("--password", help="Ask for the password here, in place of a link.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only the link, for scripts.")]


@GROUP.command("add")
def add(
    email: Email,
    *,
    owner: Annotated[str, typer.Option("--owner", metavar="NAME", help="Whose apps the member sees.")],
    role: Annotated[str, typer.Option("--role", metavar="ROLE", help=f"{', '.join(ROLES)}.")] = "owner",
    name: Annotated[
        str | None, typer.Option("--name", help="Of the person. Default: of the address.")
    ] = None,
    ask_password: AskPassword = False,
    quiet: Quiet = False,
) -> None:
    """Add a member, or a further owner to a member; prints a one-time link to choose a password with."""
    settings, address = load(), _email(email)
    chosen = next((one for one in ROLES if one == role), None)
    called = name if name is not None else address.partition("@")[0]
    if chosen is None:
        raise UserError(f"{role[:64]!r} is no role; there are {', '.join(ROLES)}.")
    if not is_name(called):
        raise UserError("The name has 1 to 64 characters, and no phone number; give one with --name.")
    with _opened_register(settings) as register:
        link = register.add(address, called, owner, chosen)
        _finish(settings, address, link, ask_password=ask_password, quiet=quiet)


@GROUP.command("reset")
def reset(email: Email, *, ask_password: AskPassword = False, quiet: Quiet = False) -> None:
    """Let a member choose a new password: prints a one-time link. The old password works until then."""
    settings, address = load(), _email(email)
    with _opened_register(settings) as register:
        link = register.renew_link(address)
        _finish(settings, address, link, ask_password=ask_password, quiet=quiet)


@GROUP.command("disable")
def disable(
    email: Email,
    *,
    undo: Annotated[bool, typer.Option("--undo", help="Let the member sign in again.")] = False,
) -> None:
    """End all sessions of a member, who cannot sign in any more."""
    address = _email(email)
    with _opened_register(load()) as register:
        register.set_disabled(address, disabled=not undo)
    output().print(f"{address} {'may sign in again' if undo else 'is disabled'}.")


@GROUP.command("list")
def list_members(
    *, as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False
) -> None:
    """List all members, by address."""
    with _opened_register(load()) as register:
        members = register.every_member()
    told = [
        {
            "email": one.email,
            "name": one.name,
            "state": "disabled" if one.is_disabled else "active" if one.has_password else "invited",
            "roles": one.roles,
        }
        for one in members
    ]
    if as_json:
        print_json({"members": told})
        return
    table = Table("e-mail", "name", "state", "roles")
    for shown, one in zip(told, members, strict=True):
        roles = ", ".join(f"{one_line(owner)}: {role}" for owner, role in one.roles.items())
        table.add_row(one.email, one_line(one.name), str(shown["state"]), roles)
    print_table(output(), table)


def console_origin(settings: Settings) -> str:
    """The address at which browsers find the console."""
    return settings.console_origin or f"http://127.0.0.1:{settings.console_port}"


@contextmanager
def _opened_register(settings: Settings) -> Iterator[MemberRegister]:
    with BusinessDatabase(settings.business_url) as database:
        yield MemberRegister(database)


def _email(text: str) -> str:
    found = normalized_email(text)
    if found is None or find_identifier(found) is not None:
        raise UserError("This is no e-mail address that can be used; it may hold no phone number.")
    return found


def _finish(
    settings: Settings, email: str, link: PasswordLink | None, *, ask_password: bool, quiet: bool
) -> None:
    """Print the link, or use it up with a password that is typed here."""
    if link is None:
        output().print(f"{email} signs in with the password of before.")
        return
    if not ask_password:
        output().print(password_address(console_origin(settings), link.token), soft_wrap=True)
        if not quiet:
            until = to_minute(link.expires_at_ms)
            Terminal(stderr=True).print(f"Give this link to {email}: it works once, until {until}.")
        return
    password = typer.prompt("Password", hide_input=True)
    weak = weakness(password, typer.prompt("Once more", hide_input=True), email)
    if weak is not None:
        raise UserError(SENTENCES[weak])
    with BusinessDatabase(settings.business_url) as database:
        sessions = BusinessSessions(database, settings.console_idle_min, settings.console_session_h)
        sessions.use_link(token_digest(link.token), asyncio.run(Passwords().hashed(password)))
    output().print(f"{email} may sign in at {console_origin(settings)}.")
