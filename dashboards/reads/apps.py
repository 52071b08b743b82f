"""Apps: what each is registered as, and its outlook: calls left, run-out, next lapse, open alerts."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Final

from msgspec import Meta, Struct, field

from dashboards.reads.asking import Ask, iso, iso_or_none
from dashboards.reads.chosen_apps import chosen_apps

_ALERTS: Final = """
SELECT appid, toString(alerts.capability) AS of, arraySort(groupUniqArray(toString(reason)))
FROM alerts WHERE is_open AND {chosen} GROUP BY appid, of
"""

_LISTED: Final = """
SELECT
    appid, name, label, entity_type, category, exempt, registered_at, first_recorded_at, changes_from,
    migrated_to, left_of
FROM apps
LEFT JOIN (SELECT appid, migrated_to FROM lineage) AS line USING (appid)
LEFT JOIN (SELECT appid, toNullable(changes_from) AS changes_from FROM unsettled) AS late USING (appid)
LEFT JOIN
(
    SELECT appid, groupArray((capability, calls_left)) AS left_of FROM balances_now GROUP BY appid
) AS held USING (appid)
WHERE (%(all)s OR appid IN %(appids)s) AND appid > %(after)s
    AND (
        %(search)s = '' OR positionCaseInsensitiveUTF8(name, %(search)s) > 0
        OR positionCaseInsensitiveUTF8(appid, %(search)s) > 0
    )
ORDER BY appid
LIMIT %(most)s
"""


class CapabilityOutlook(Struct, frozen=True):
    """One capability of an app: its calls left, and their forecast.

    Attributes:
        calls_left: trial quota and active packs together.
        packs_pending: calls in packs that are not valid yet.
        run_out_at: the forecast run-out; None if it is more than three years away.
        next_expires_at: the expiry of the next active pack.
        lapses_at, lapsing: the next expiry at which calls will lapse, and their number.
        alerts: reasons of the open alerts.
    """

    calls_left: int
    packs_pending: int
    run_out_at: str | None
    next_expires_at: str | None
    lapses_at: str | None
    lapsing: int
    alerts: list[str]


class AppOutlook(Struct, frozen=True):
    """An app as registered, and the outlook of each capability.

    `unsettled_from` is the time from which its figures may still change, because a fact arrived late;
    `migrated_to` the appid that it got, and `migrated_from` those of which it is the new one.
    """

    appid: str
    name: str
    exempt: bool
    unsettled_from: str | None = None
    migrated_to: str = ""
    migrated_from: list[str] = field(default_factory=list)
    capabilities: dict[str, CapabilityOutlook] = field(default_factory=dict)


class AppList(Struct, frozen=True):
    """Every app, the one that runs out first at the top, as of the ledger's now."""

    as_of: str
    runs_on: str
    apps: list[AppOutlook]


class AppSummary(Struct, frozen=True):
    """An app as registered, and what is left of each capability; a shared trial quota is in both."""

    appid: str
    name: str
    label: str
    entity_type: str
    category: str
    exempt: bool
    registered_at: str | None
    first_recorded_at: str
    unsettled_from: str | None
    migrated_to: str
    calls_left: Annotated[dict[str, int], Meta(description="By capability: trial quota and active packs")]


def read_open_alerts(ask: Ask, apps: Sequence[str] | None = None) -> dict[tuple[str, str], list[str]]:
    """The reasons of the open alerts of all apps or of some, by app and capability."""
    chosen, given = chosen_apps(apps)
    return {(app, of): why for app, of, why in ask(_ALERTS.format(chosen=chosen), given)}


def read_apps(ask: Ask, apps: Sequence[str], *, search: str, after: str, most: int) -> list[AppSummary]:
    """Apps in the order of their ids, of some or of all if none are named."""
    found = ask(
        _LISTED,
        {
            "all": int(not apps),
            "appids": tuple(apps) or ("",),
            "after": after,
            "search": search,
            "most": most,
        },
    )
    return [_summary(row) for row in found]


def _summary(row: tuple[Any, ...]) -> AppSummary:
    appid, name, label, entity_type, category, exempt, registered_at, first, late, to, left_of = row
    registered: datetime | None = registered_at
    return AppSummary(
        appid,
        name,
        label,
        entity_type,
        category,
        bool(exempt),
        iso_or_none(registered),
        iso(first),
        iso_or_none(late),
        to,
        dict(sorted(left_of)),
    )
