"""`phonemeter keys`: the API keys of the HTTP gateway."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Final

import msgspec
import typer

from metering.event_validation import is_appid
from metering.http_endpoints import Scope
from metering.personal_identifiers import find_identifier
from metering.printable_text import one_line
from metering.times import DAY_MS, HOUR_MS, format_time
from phonemeter.business.database import BusinessDatabase
from phonemeter.business.keys import IssuedKey, KeyStore
from phonemeter.errors import UserError
from phonemeter.formats import to_minute
from phonemeter.settings import load
from phonemeter.tables import print_table
from phonemeter.terminal import Table, Terminal, output, print_json
from producers.clock import wall_clock_ms
from producers.gateway.api_keys import SCOPES, ApiKey

NAME_CHARACTERS_MAX: Final = 64
APPS_MAX: Final = 1_000
DAYS_MAX: Final = 3_660
HOURS_MAX: Final = 8_760

GROUP = typer.Typer(
    name="keys",
    help="API keys of the HTTP gateway: who may send events, of which apps. They are stored hashed.",
    no_args_is_help=True,
)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Prefix = Annotated[
    str, typer.Argument(metavar="PREFIX", help="What the list shows of it: pm_ and eight characters.")
]


@GROUP.command("issue")
def issue(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose it is, such as a back end.")],
    *,
    app: Annotated[
        list[str] | None, typer.Option("--app", metavar="APPID", help="An app that it is for; several times.")
    ] = None,
    all_apps: Annotated[bool, typer.Option("--all-apps", help="It is for every app.")] = False,
    scope: Annotated[
        list[str] | None,
        typer.Option(
            "--scope", metavar="SCOPE", help=f"{' or '.join(SCOPES)}; several times. Default: emit."
        ),
    ] = None,
    expires_days: Annotated[
        int | None, typer.Option(min=1, max=DAYS_MAX, help="Days after which it is not valid any more.")
    ] = None,
    events_per_s: Annotated[
        int | None, typer.Option(min=1, max=1_000_000, help="Its own limit. Default: the setting.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only the key, for scripts.")] = False,
    as_json: AsJson = False,
) -> None:
    """Issue a key. It is shown once; afterwards only its prefix is known."""
    apps = _apps(app or [], all_apps=all_apps)
    expires_at_ms = None if expires_days is None else wall_clock_ms() + expires_days * DAY_MS
    called, scopes = _name(name), _scopes(scope or ["emit"])
    with _opened_store() as store:
        issued = store.issue(called, scopes, apps, events_per_s=events_per_s, expires_at_ms=expires_at_ms)
    _show(issued, quiet=quiet, as_json=as_json)


@GROUP.command("list")
def list_keys(*, as_json: AsJson = False) -> None:
    """List all keys, the newest first."""
    with _opened_store() as store:
        keys, now_ms = store.every_key(), wall_clock_ms()
    if as_json:
        print_json({"keys": [_described(key, now_ms) for key in keys]})
        return
    table = Table("key", "name", "may", "apps", "events/s", "state")
    for key in keys:
        shown = _described(key, now_ms)
        table.add_row(
            key.prefix,
            one_line(key.name),
            ", ".join(key.scopes),
            ", ".join(key.apps) or "all",
            "" if key.events_per_s is None else f"{key.events_per_s:,}",
            _state(key, shown["state"]),
        )
    print_table(output(), table)


@GROUP.command("rotate")
def rotate(
    prefix: Prefix,
    *,
    overlap_hours: Annotated[
        int, typer.Option(min=0, max=HOURS_MAX, help="Hours for which the old key is valid as well.")
    ] = 24,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only the key, for scripts.")] = False,
    as_json: AsJson = False,
) -> None:
    """Issue a key in place of another one, which is still valid for a while."""
    with _opened_store() as store:
        issued = store.rotate(prefix, overlap_hours * HOUR_MS)
    _show(issued, quiet=quiet, as_json=as_json)


@GROUP.command("revoke")
def revoke(prefix: Prefix) -> None:
    """Revoke a key: the gateway refuses it within seconds (setting gateway_keys_interval_s)."""
    with _opened_store() as store:
        key = store.revoke(prefix)
    output().print(f"The API key {key.prefix} ({one_line(key.name)}) is revoked.")


@contextmanager
def _opened_store() -> Iterator[KeyStore]:
    with BusinessDatabase(load().business_url) as database:
        yield KeyStore(database)


def _name(name: str) -> str:
    if not 0 < len(name.strip()) <= NAME_CHARACTERS_MAX or not name.isprintable():
        raise UserError(f"The name of a key has 1 to {NAME_CHARACTERS_MAX} printable characters.")
    if find_identifier(name) is not None:
        raise UserError("The name of a key may hold no phone number and no openid; name the back end.")
    return name.strip()


def _apps(given: list[str], *, all_apps: bool) -> list[str]:
    if bool(given) == all_apps:
        raise UserError("Say which apps the key is for: --app APPID, several times, or --all-apps.")
    wrong = next((one for one in given if not is_appid(one)), None)
    if wrong is not None:
        raise UserError(
            f"{wrong[:64]!r} is no appid, which is 1 to 64 letters, digits, hyphens or underscores."
        )
    if len(given) > APPS_MAX:
        raise UserError(f"A key is for at most {APPS_MAX:,} apps; use --all-apps, or several keys.")
    return sorted(set(given))


def _scopes(given: list[str]) -> list[Scope]:
    wrong = next((one for one in given if one not in SCOPES), None)
    if wrong is not None:
        raise UserError(f"{wrong[:64]!r} is no scope; there are {' and '.join(SCOPES)}.")
    return [scope for scope in SCOPES if scope in given]


def _show(issued: IssuedKey, *, quiet: bool, as_json: bool) -> None:
    if as_json:
        print_json({"key": issued.text, **_described(issued.key, wall_clock_ms())})
        return
    output().print(issued.text, soft_wrap=True)
    if not quiet:
        Terminal(stderr=True).print(
            "Keep it now: it is not shown again. Send it as: Authorization: Bearer KEY"
        )


def _described(key: ApiKey, now_ms: int) -> dict[str, Any]:
    """A key for JSON, without its digest."""
    state = "revoked" if key.revoked_at_ms is not None else "valid" if key.is_valid(now_ms) else "expired"
    times = {
        name: None if value is None else format_time(value)
        for name, value in (
            ("created_at", key.created_at_ms),
            ("expires_at", key.expires_at_ms),
            ("revoked_at", key.revoked_at_ms),
        )
    }
    shown = {"prefix": key.prefix, "name": key.name, "scopes": key.scopes, "apps": key.apps or None}
    more = {"events_per_s": key.events_per_s, **times, "state": state}
    return dict(msgspec.to_builtins(shown)) | more


def _state(key: ApiKey, state: str) -> str:
    if key.expires_at_ms is None or state == "revoked":
        return state
    until = to_minute(key.expires_at_ms)
    return f"valid until {until}" if state == "valid" else f"expired {until}"
