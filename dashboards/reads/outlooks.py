"""The outlooks of many apps: what each has left, until when, and what will lapse, worked out by the rules.

The view `forecasts` says the same in SQL and is for analysts; with hundreds of apps it takes seconds.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from dashboards.reads.apps import AppList, AppOutlook, CapabilityOutlook, read_open_alerts
from dashboards.reads.asking import Ask, iso_or_none
from dashboards.reads.chosen_apps import chosen_apps
from dashboards.reads.clock import ClockReading, read_clock
from dashboards.reads.forecast import quotas
from dashboards.reads.open_packs import OpenPacks, read_open_packs
from dashboards.reads.recent_use import RecentUse, read_recent_use
from metering.forecast import Projection, project
from metering.times import format_time, shanghai_day

APPS_MAX: Final = 10_000
ROWS_MAX: Final = 200_000

_HOLDINGS: Final = """
SELECT
    appid, name, exempt, changes_from, migrated_to, migrated_from, capability, calls_left,
    trial_size, trial_remaining, trial_shared, packs_pending, packs_expired, next_expires_at
FROM balances_now
LEFT JOIN (SELECT appid, migrated_to, migrated_from FROM lineage) AS line USING (appid)
LEFT JOIN (SELECT appid, name, exempt FROM apps WHERE {chosen}) AS known USING (appid)
LEFT JOIN (SELECT appid, toNullable(changes_from) AS changes_from FROM unsettled) AS late USING (appid)
WHERE {chosen}
ORDER BY appid, capability
LIMIT %(most)s
"""


class HeldQuota(NamedTuple):
    """The balance of one capability of an app, beside what the app is registered as."""

    appid: str
    name: str
    exempt: bool
    changes_from: datetime | None
    migrated_to: str
    migrated_from: Sequence[str]
    capability: str
    calls_left: int
    trial_size: int
    trial_remaining: int
    trial_shared: bool
    packs_pending: int
    packs_expired: int
    next_expires_at: datetime | None


Holdings = dict[str, list[HeldQuota]]
"""By app, that of each capability."""

OpenAlerts = Mapping[tuple[str, str], list[str]]
"""By app and capability, the reasons of open alerts."""


def read_outlooks(ask: Ask, apps: Sequence[str] | None = None) -> AppList:
    """Apps, at most 10,000: all of them, or some. The one that runs out first is at the top."""
    clock = read_clock(ask)
    return outlooks_of(
        clock,
        read_holdings(ask, apps),
        read_open_packs(ask, apps),
        read_recent_use(ask, apps, clock.now_ms),
        read_open_alerts(ask, apps),
    )


def read_holdings(ask: Ask, apps: Sequence[str] | None) -> Holdings:
    """The registrations and balances of all apps or of some."""
    chosen, given = chosen_apps(apps)
    found: Holdings = {}
    for row in ask(_HOLDINGS.format(chosen=chosen), {**given, "most": ROWS_MAX}):
        found.setdefault(row[0], []).append(HeldQuota(*row))
    return found


def outlooks_of(
    clock: ClockReading, holdings: Holdings, packs: OpenPacks, use: RecentUse, alerts: OpenAlerts
) -> AppList:
    """The list of what was read."""
    listed = []
    for appid, held in holdings.items():
        foretold = foretold_of(held, packs, use, clock.now_ms)
        run_out_ms = min(
            (one.run_out_ms for one in foretold.values() if one.run_out_ms is not None), default=None
        )
        listed.append((run_out_ms is None, run_out_ms or 0, appid, outlook_of(held, foretold, alerts)))
    listed.sort(key=lambda one: one[:3])
    return AppList(format_time(clock.now_ms), clock.runs_on, [app for *_, app in listed[:APPS_MAX]])


def foretold_of(
    held: Sequence[HeldQuota], packs: OpenPacks, use: RecentUse, now_ms: int
) -> dict[str, Projection]:
    """The projections of an app by capability, from what it holds of each."""
    appid = held[0].appid
    paces = use.paces(appid, shanghai_day(now_ms) - 1)
    found: dict[str, Projection] = {}
    for names, trial in quotas([(one.capability, one.trial_remaining, one.trial_shared) for one in held]):
        open_packs = {name: packs.get((appid, name), []) for name in names}
        found |= project({name: paces[name] for name in names}, trial, open_packs, now_ms)
    return found


def outlook_of(
    held: Sequence[HeldQuota], foretold: Mapping[str, Projection], alerts: OpenAlerts
) -> AppOutlook:
    """The outlook of an app, from what it holds of each capability."""
    first = held[0]
    return AppOutlook(
        first.appid,
        first.name,
        bool(first.exempt),
        iso_or_none(first.changes_from),
        first.migrated_to,
        list(first.migrated_from),
        {
            one.capability: _outlook(
                one, foretold[one.capability], alerts.get((one.appid, one.capability), [])
            )
            for one in held
        },
    )


def _outlook(held: HeldQuota, foretold: Projection, alerts: list[str]) -> CapabilityOutlook:
    lapses_ms, calls = min(
        ((pack.expires_at_ms, pack.lapsing) for pack in foretold.packs if pack.lapsing > 0), default=(None, 0)
    )
    return CapabilityOutlook(
        held.calls_left,
        held.packs_pending,
        None if foretold.run_out_ms is None else format_time(foretold.run_out_ms),
        iso_or_none(held.next_expires_at),
        None if lapses_ms is None else format_time(lapses_ms),
        calls,
        alerts,
    )
