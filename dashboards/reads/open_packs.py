"""The packs of apps that hold calls, as forecasts need them."""

from collections.abc import Sequence
from typing import Final

from dashboards.reads.asking import Ask
from dashboards.reads.chosen_apps import chosen_apps
from dashboards.reads.packs import BoughtPack
from metering.forecast import OpenPack
from metering.times import parse_time

_OPEN: Final = """
SELECT
    appid, toString(packs.capability) AS of,
    toUnixTimestamp64Milli(expires_at), toUnixTimestamp64Milli(starts_at), pack_id, remaining
FROM packs
WHERE {chosen} AND status IN ('active', 'pending') AND remaining > 0
"""

OpenPacks = dict[tuple[str, str], list[OpenPack]]
"""By app and capability; those that hold none are not in it."""


def read_open_packs(ask: Ask, apps: Sequence[str] | None) -> OpenPacks:
    """The packs of all apps or of some that can be used now or later."""
    chosen, given = chosen_apps(apps)
    found: OpenPacks = {}
    for appid, capability, *pack in ask(_OPEN.format(chosen=chosen), given):
        found.setdefault((appid, capability), []).append(OpenPack(*pack))
    return found


def open_packs_of(appid: str, packs: Sequence[BoughtPack]) -> OpenPacks:
    """Those of all packs of an app that can be used now or later."""
    found: OpenPacks = {}
    for pack in packs:
        if pack.status in {"active", "pending"} and pack.remaining > 0:
            times_ms = parse_time(pack.expires_at), parse_time(pack.starts_at)
            one = OpenPack(*times_ms, pack.pack_id, pack.remaining)
            found.setdefault((appid, pack.capability), []).append(one)
    return found
