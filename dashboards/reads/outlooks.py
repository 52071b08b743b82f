"""The outlooks of many apps: what each has left, until when, and what will lapse, worked out by the rules.

The view `forecasts` says the same in SQL and is for analysts; with hundreds of apps it takes seconds.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

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
    appid, name, exempt, changes_from, migrated_to, migrated_from,
    capability, trial_remaining, trial_shared, calls_left, packs_pending, next_expires_at
FROM balances_now
LEFT JOIN (SELECT appid, migrated_to, migrated_from FROM lineage) AS line USING (appid)
LEFT JOIN (SELECT appid, name, exempt FROM apps WHERE {chosen}) AS known USING (appid)
LEFT JOIN (SELECT appid, toNullable(changes_from) AS changes_from FROM unsettled) AS late USING (appid)
WHERE {chosen}
ORDER BY appid, capability
LIMIT %(most)s
"""

_Row = tuple[Any, ...]
Holdings = dict[str, list[_Row]]
"""By app, a row of each capability."""


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
        found.setdefault(row[0], []).append(row)
    return found


def outlooks_of(
    clock: ClockReading,
    holdings: Holdings,
    packs: OpenPacks,
    use: RecentUse,
    alerts: Mapping[tuple[str, str], list[str]],
) -> AppList:
    """The list of what was read."""
    listed = []
    for appid, rows in holdings.items():
        foretold = _foretold(appid, rows, packs, use, clock.now_ms)
        _, name, exempt, changes_from, to, since, *_ = rows[0]
        app = AppOutlook(appid, name, bool(exempt), iso_or_none(changes_from), to, list(since))
        for row in rows:
            of = row[6]
            app.capabilities[of] = _outlook(row, foretold[of], alerts.get((appid, of), []))
        run_out_ms = min(
            (one.run_out_ms for one in foretold.values() if one.run_out_ms is not None), default=None
        )
        listed.append((run_out_ms is None, run_out_ms or 0, appid, app))
    listed.sort(key=lambda one: one[:3])
    return AppList(format_time(clock.now_ms), clock.runs_on, [app for *_, app in listed[:APPS_MAX]])


def _foretold(
    appid: str, rows: Sequence[_Row], packs: OpenPacks, use: RecentUse, now_ms: int
) -> dict[str, Projection]:
    paces = use.paces(appid, shanghai_day(now_ms) - 1)
    found: dict[str, Projection] = {}
    for names, trial in quotas([row[6:9] for row in rows]):
        held = {name: packs.get((appid, name), []) for name in names}
        found |= project({name: paces[name] for name in names}, trial, held, now_ms)
    return found


def _outlook(row: _Row, foretold: Projection, alerts: list[str]) -> CapabilityOutlook:
    *_, left, pending, next_expires_at = row
    lapses_ms, calls = min(
        ((pack.expires_at_ms, pack.lapsing) for pack in foretold.packs if pack.lapsing > 0), default=(None, 0)
    )
    return CapabilityOutlook(
        left,
        pending,
        None if foretold.run_out_ms is None else format_time(foretold.run_out_ms),
        iso_or_none(next_expires_at),
        None if lapses_ms is None else format_time(lapses_ms),
        calls,
        alerts,
    )
