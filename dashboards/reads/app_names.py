"""The names of some apps, and which of them are exempt."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from dashboards.reads.asking import Ask

_NAMES: Final = "SELECT appid, name, exempt FROM apps WHERE appid IN %(appids)s"


class NamedApp(NamedTuple):
    """An app as people call it."""

    appid: str
    name: str
    is_exempt: bool = False


def read_app_names(ask: Ask, apps: Sequence[str]) -> list[NamedApp]:
    """The apps by name; one of which the ledger has no entry is called by its appid."""
    known = {
        appid: (name, bool(exempt)) for appid, name, exempt in ask(_NAMES, {"appids": tuple(apps) or ("",)})
    }
    names = unique_names({appid: name for appid, (name, _) in known.items()})
    return sorted(
        (
            NamedApp(appid, names[appid], known[appid][1]) if appid in known else NamedApp(appid, appid)
            for appid in apps
        ),
        key=lambda app: app[1::-1],
    )


def unique_names(names: Mapping[str, str]) -> dict[str, str]:
    """The names of apps that are shown together, with the appid where several have a name or one has none."""
    times = Counter(names.values())
    return {
        appid: name if name and times[name] == 1 else f"{name} {appid}".strip()
        for appid, name in names.items()
    }
