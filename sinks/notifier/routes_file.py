"""The routes file, read strictly: each mistake is one sentence with file, key and remedy."""

import base64
import binascii
import re
from collections.abc import Mapping
from datetime import time
from pathlib import Path
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

from msgspec import Struct

from metering.alert_severity import Severity
from metering.written_tables import FILE_BYTES_MAX, TableError, table_as, tables_of, unreadable
from secret_files.secret_file import SecretError
from secret_files.secret_reference import is_reference, referred_file, referred_secret
from sinks.notifier.channels import EXAMPLES, is_safe, plugin_of
from sinks.notifier.errors import RoutesError
from sinks.notifier.hours import Digest, QuietHours
from sinks.notifier.routes import App, ChannelName, Language, Route, Routes

ROUTES_MAX: Final = 1_000
SECRETS_MAX: Final = 4
SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - what secrets begin with
SECRET_BYTES: Final = range(24, 65)
NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
CLOCK: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")

UNSIGNED: Final = "only webhooks and Feishu robots have some"
_UNSIGNED: Final[Mapping[ChannelName, str]] = {
    "dingtalk": "the secret of a DingTalk robot is in its address, dingtalk://SECRET@TOKEN"
}

Reason = Literal[
    "level", "expiry", "run_out", "uncovered", "refused", "minute_burn", "client_burn", "charge_notice"
]
Capability = Literal["quick", "realtime"]


class _App(Struct, forbid_unknown_fields=True):
    name: str = ""
    owner: str = ""


class _Quiet(Struct, forbid_unknown_fields=True, rename={"begin": "from", "end": "to"}):
    begin: str
    end: str
    zone: str = "Asia/Shanghai"
    urgent_passes: bool = True


class _Digest(Struct, forbid_unknown_fields=True):
    every: Literal["hour", "day"]
    at: str = ""
    zone: str = "Asia/Shanghai"
    urgent_passes: bool = True


class _Route(Struct, forbid_unknown_fields=True):
    channel: ChannelName
    url: str
    secrets: tuple[str, ...] = ()
    language: Language = "zh"
    apps: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()
    capabilities: tuple[Capability, ...] = ()
    alerts: tuple[Reason, ...] = ()
    severities: tuple[Severity, ...] = ()
    quiet: _Quiet | None = None
    digest: _Digest | None = None
    allow_plain: bool = False


def read_routes(path: Path) -> Routes:
    """Read the file, with the secrets that it refers to.

    Raises:
        RoutesError: the file, or a secret that it refers to, can't be used.
    """
    try:
        return _routes(path)
    except TableError as error:
        raise RoutesError(str(error)) from None


def _routes(path: Path) -> Routes:
    tables = _tables(path)
    apps = {
        appid: App(given.name, given.owner)
        for appid, given in (
            (appid, table_as(f"{path}: apps.{appid}", table, _App))
            for appid, table in _named(path, "apps", tables).items()
        )
    }
    named = _named(path, "routes", tables)
    if len(named) > ROUTES_MAX:
        raise RoutesError(f"{path}: there are {len(named):,} routes; {ROUTES_MAX:,} are the most.")
    routes = {
        name: _route(f"{path}: routes.{name}", name, table, path.parent) for name, table in named.items()
    }
    _refuse_unknown_owners(path, routes, apps)
    return Routes(apps, routes, _files(named, path.parent))


def _files(tables: Mapping[str, Any], directory: Path) -> tuple[Path, ...]:
    """The files of secrets that valid routes refer to."""
    references = (
        reference for table in tables.values() for reference in (table["url"], *table.get("secrets", ()))
    )
    return tuple(sorted({file for one in references if (file := referred_file(one, directory)) is not None}))


def _tables(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            text = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise RoutesError(unreadable(path, error.strerror, "alert_routes")) from None
    return tables_of(path, text, ("apps", "routes"), "routes")


def _named(path: Path, key: str, tables: dict[str, Any]) -> dict[str, Any]:
    found = tables.get(key, {})
    if not isinstance(found, dict):
        raise RoutesError(f"{path}: {key} is not a table; write [{key}.NAME] above each entry.")
    return found


def _route(where: str, name: str, table: object, directory: Path) -> Route:
    if not NAME.fullmatch(name):
        raise RoutesError(
            f"{where}: a route's name is made of at most 64 small letters, digits and dashes; rename it."
        )
    given = table_as(where, table, _Route)
    address = _address(where, given, directory)
    return Route(
        name=name,
        channel=given.channel,
        address=address,
        secrets=_secrets(where, given, directory),
        language=given.language,
        apps=given.apps,
        owners=given.owners,
        capabilities=given.capabilities,
        alerts=given.alerts,
        severities=given.severities,
        quiet=None if given.quiet is None else _quiet(f"{where}.quiet", given.quiet),
        digest=None if given.digest is None else _digest(f"{where}.digest", given.digest),
    )


def _address(where: str, given: _Route, directory: Path) -> str:
    if is_reference(given.url):
        address = _referred(f"{where}.url", given.url, directory)
    elif given.channel == "webhook":
        address = given.url
    else:
        raise RoutesError(
            f'{where}.url: the address of a {given.channel} route is a secret; write "env:NAME" or '
            f'"file:PATH" instead of it.'
        )
    if given.channel == "webhook":
        fits = re.fullmatch(r"https?://[^\s/@]+(/[^\s]*)?", address) is not None
    else:
        fits = plugin_of(given.channel, address) is not None
    if not fits:
        raise RoutesError(
            f"{where}.url: that is no address of a {given.channel} route; it looks like "
            f"{EXAMPLES[given.channel]}."
        )
    if not given.allow_plain and not is_safe(given.channel, address):
        raise RoutesError(
            f"{where}.url: anybody on the way could read what is sent there; use "
            f"{'https://' if given.channel == 'webhook' else 'mailtos://'}, or say allow_plain = true."
        )
    return address


def _referred(where: str, reference: str, directory: Path) -> str:
    try:
        return referred_secret(reference, directory)
    except SecretError as error:
        raise RoutesError(f"{where}: {error}.") from None


def _secrets(where: str, given: _Route, directory: Path) -> tuple[str, ...]:
    if given.channel not in {"webhook", "feishu"}:
        if given.secrets:
            raise RoutesError(f"{where}.secrets: {_UNSIGNED.get(given.channel, UNSIGNED)}; remove it.")
        return ()
    if given.channel == "feishu" and len(given.secrets) > 1:
        raise RoutesError(f'{where}.secrets: a Feishu robot has one secret; write ["env:NAME"].')
    if given.channel == "webhook" and not 1 <= len(given.secrets) <= SECRETS_MAX:
        raise RoutesError(
            f'{where}.secrets: a webhook has one to {SECRETS_MAX} secrets, such as ["env:NAME"]; the newest '
            f"comes first."
        )
    found = []
    for number, reference in enumerate(given.secrets):
        key = f"{where}.secrets[{number}]"
        if not is_reference(reference):
            raise RoutesError(f'{key}: a secret is not written here; write "env:NAME" or "file:PATH".')
        secret = _referred(key, reference, directory)
        if given.channel == "webhook" and not _is_signing_secret(secret):
            raise RoutesError(
                f"{key}: the secret is not whsec_ and the base64 of 24 to 64 bytes; make one with: "
                f"phonemeter alerts secret"
            )
        found.append(secret)
    return tuple(found)


def _is_signing_secret(text: str) -> bool:
    """Return whether a text is a secret by the Standard Webhooks specification."""
    try:
        key = base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error:
        return False
    return text.startswith(SECRET_PREFIX) and len(key) in SECRET_BYTES


def _quiet(where: str, given: _Quiet) -> QuietHours:
    begin, end = _clock(f"{where}.from", given.begin), _clock(f"{where}.to", given.end)
    if begin == end:
        raise RoutesError(f"{where}: from and to are the same; quiet hours end before they begin again.")
    return QuietHours(begin, end, _zone(f"{where}.zone", given.zone), given.urgent_passes)


def _digest(where: str, given: _Digest) -> Digest:
    default = "00:00" if given.every == "hour" else "09:00"
    at = _clock(f"{where}.at", given.at or default)
    return Digest(given.every, at, _zone(f"{where}.zone", given.zone), given.urgent_passes)


def _clock(where: str, text: str) -> time:
    if not CLOCK.fullmatch(text):
        raise RoutesError(f'{where}: {text[:20]!r} is not a time of day; write it like "08:30".')
    return time.fromisoformat(text)


def _zone(where: str, name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise RoutesError(
            f'{where}: {name[:40]!r} is not a time zone; write it like "Asia/Shanghai".'
        ) from None


def _refuse_unknown_owners(path: Path, routes: Mapping[str, Route], apps: Mapping[str, App]) -> None:
    known = {app.owner for app in apps.values()} - {""}
    for name, route in routes.items():
        for owner in route.owners:
            if owner not in known:
                raise RoutesError(
                    f"{path}: routes.{name}.owners: no app has the owner {owner!r}; name it in [apps.APPID]."
                )
