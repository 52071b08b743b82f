"""The names of some apps, and which of them are exempt."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from dashboards.reads.asking import Ask

_NAMES: Final = "SELECT appid, label, exempt FROM apps WHERE appid IN %(appids)s"


class NamedApp(NamedTuple):
    """An app as people call it."""

    appid: str
    name: str
    is_exempt: bool = False


def read_app_names(ask: Ask, apps: Sequence[str]) -> list[NamedApp]:
    """The apps by name; one of which the ledger has no entry is called by its appid."""
    known = {
        appid: NamedApp(appid, name, bool(exempt))
        for appid, name, exempt in ask(_NAMES, {"appids": tuple(apps) or ("",)})
    }
    return sorted((known.get(appid, NamedApp(appid, appid)) for appid in apps), key=lambda app: app[1::-1])
