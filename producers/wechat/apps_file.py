"""The file of apps, read strictly: each mistake is one sentence with file, key and remedy."""

import re
from pathlib import Path
from typing import Annotated, Any, Final

from msgspec import Meta, Struct

from metering.events import APPID_PATTERN, Capability, MicroYuan
from metering.written_tables import FILE_BYTES_MAX, TableError, table_as, tables_of, unreadable
from producers.wechat.apps import PriceKey, PushKeys, WechatApp, WechatApps, WechatComponent, default_prices
from producers.wechat.errors import WechatFileError
from producers.wechat.message_crypt import MessageKey
from producers.wechat.secret import Secret
from secret_files.secret_reference import is_reference

APPS_MAX: Final = 1_000
APPID: Final = re.compile(APPID_PATTERN)
TABLES: Final = ("apps", "components", "prices")


class _Component(Struct, forbid_unknown_fields=True):
    secret: str
    ticket: str = ""
    push_token: str = ""
    push_aes_key: str = ""


class _App(Struct, forbid_unknown_fields=True):
    capabilities: tuple[Capability, ...] = ("quick",)
    secret: str = ""
    component: str = ""
    refresh_token: str = ""
    push_token: str = ""
    push_aes_key: str = ""


class _Price(Struct, forbid_unknown_fields=True):
    capability: Capability
    calls: Annotated[int, Meta(ge=1)]
    validity_days: Annotated[int, Meta(ge=1)]
    price_micro_yuan: MicroYuan


def read_apps(path: Path) -> WechatApps:
    """Read the file, and see that the secrets are there that it refers to.

    Raises:
        WechatFileError: the file, or a secret that it refers to, can't be used.
    """
    try:
        return _apps(path)
    except TableError as error:
        raise WechatFileError(str(error)) from None


def _apps(path: Path) -> WechatApps:
    tables = _tables(path)
    named = _named(path, "apps", tables)
    if not 0 < len(named) <= APPS_MAX:
        raise WechatFileError(
            f"{path}: there are {len(named):,} apps; name 1 to {APPS_MAX:,}, each in a table [apps.APPID]."
        )
    components = {
        appid: _component(f"{path}: components.{appid}", appid, table, path.parent)
        for appid, table in _named(path, "components", tables).items()
    }
    apps = {appid: _app(f"{path}: apps.{appid}", appid, table, path.parent) for appid, table in named.items()}
    for appid, app in apps.items():
        if app.component and app.component not in components:
            raise WechatFileError(
                f"{path}: apps.{appid}.component: there is no [components.{app.component}]; add it, or "
                f"correct the name."
            )
    both = sorted(set(apps) & set(components))
    if both:
        raise WechatFileError(f"{path}: {both[0]} is an app and a component; they have different appids.")
    return WechatApps(apps, components, default_prices() | _prices(path, tables))


def _tables(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            text = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise WechatFileError(unreadable(path, error.strerror, "wechat_apps")) from None
    return tables_of(path, text, TABLES, "apps")


def _named(path: Path, key: str, tables: dict[str, Any]) -> dict[str, Any]:
    found = tables.get(key, {})
    if not isinstance(found, dict):
        raise WechatFileError(f"{path}: {key} is not a table; write [{key}.APPID] above each entry.")
    for appid in found:
        if not APPID.fullmatch(appid):
            raise WechatFileError(
                f"{path}: {key}.{appid[:80]}: an appid is 1 to 64 letters, digits, hyphens or underscores; "
                f"correct it."
            )
    return found


def _prices(path: Path, tables: dict[str, Any]) -> dict[PriceKey, int]:
    found = tables.get("prices", [])
    if not isinstance(found, list):
        raise WechatFileError(f"{path}: prices is not a list; write [[prices]] above each entry.")
    prices = {}
    for number, table in enumerate(found):
        price = table_as(f"{path}: prices[{number}]", table, _Price)
        prices[price.capability, price.calls, price.validity_days] = price.price_micro_yuan
    return prices


def _component(where: str, appid: str, table: object, directory: Path) -> WechatComponent:
    given = table_as(where, table, _Component)
    push = _push_keys(where, given.push_token, given.push_aes_key, directory)
    if push is not None and push.message_key is None:
        raise WechatFileError(
            f"{where}.push_aes_key: WeChat encrypts all that it pushes to a third-party platform; refer to "
            f"the platform's EncodingAESKey."
        )
    # Not read here: the platform's own receiver may not have written it yet.
    ticket = _secret(f"{where}.ticket", given.ticket, directory, read=False) if given.ticket else None
    if ticket is None and push is None:
        raise WechatFileError(
            f"{where}: WeChat gives a platform its tokens for a component_verify_ticket; say where that is "
            f"(ticket), or have it pushed here (push_token, push_aes_key)."
        )
    return WechatComponent(appid, _secret(f"{where}.secret", given.secret, directory), ticket, push)


def _app(where: str, appid: str, table: object, directory: Path) -> WechatApp:
    given = table_as(where, table, _App)
    if not given.capabilities or len(set(given.capabilities)) < len(given.capabilities):
        raise WechatFileError(f'{where}.capabilities: name each once, such as ["quick", "realtime"].')
    if bool(given.secret) == bool(given.component):
        raise WechatFileError(
            f"{where}: an app has either a secret of its own or a component that it has authorized; give one."
        )
    if bool(given.component) != bool(given.refresh_token):
        raise WechatFileError(
            f"{where}.refresh_token: it belongs to a component, and a component needs it; give both or none."
        )
    return WechatApp(
        appid,
        given.capabilities,
        secret=_secret(f"{where}.secret", given.secret, directory) if given.secret else None,
        component=given.component,
        refresh_token=_secret(f"{where}.refresh_token", given.refresh_token, directory)
        if given.refresh_token
        else None,
        push=_push_keys(where, given.push_token, given.push_aes_key, directory),
    )


def _secret(where: str, reference: str, directory: Path, *, read: bool = True) -> Secret:
    if not is_reference(reference):
        raise WechatFileError(f'{where}: a secret is not written here; write "env:NAME" or "file:PATH".')
    secret = Secret(where, reference, directory)
    if read:
        secret.read()
    return secret


def _push_keys(where: str, token: str, aes_key: str, directory: Path) -> PushKeys | None:
    if not token:
        if aes_key:
            raise WechatFileError(f"{where}.push_token: pushes are signed by a token; refer to it.")
        return None
    return PushKeys(
        _secret(f"{where}.push_token", token, directory),
        _message_key(f"{where}.push_aes_key", aes_key, directory) if aes_key else None,
    )


def _message_key(where: str, reference: str, directory: Path) -> MessageKey:
    try:
        return MessageKey(_secret(where, reference, directory).read())
    except ValueError:
        raise WechatFileError(
            f"{where}: that is no EncodingAESKey, which has 43 letters and digits; copy WeChat's."
        ) from None
