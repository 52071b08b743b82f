"""The outlook of one app, whose forecast needs no other apps."""

from typing import Any, Final

from dashboards.reads.apps import AppList, AppOutlook, CapabilityOutlook, read_open_alerts
from dashboards.reads.asking import Ask, iso_or_none
from dashboards.reads.clock import read_clock
from dashboards.reads.forecast import find_forecast
from metering.forecast import Forecast
from metering.times import format_time

_OUTLOOK: Final = """
SELECT
    name, exempt, changes_from, migrated_to, migrated_from, capability, calls_left, packs_pending,
    next_expires_at
FROM balances_now
LEFT JOIN (SELECT appid, migrated_to, migrated_from FROM lineage) AS line USING (appid)
LEFT JOIN (SELECT appid, name, exempt FROM apps WHERE appid = %(appid)s) AS known USING (appid)
LEFT JOIN (SELECT appid, toNullable(changes_from) AS changes_from FROM unsettled) AS late USING (appid)
WHERE appid = %(appid)s
ORDER BY capability
"""


def read_outlook(ask: Ask, appid: str) -> AppList:
    """A list of the app; empty if the ledger has no entry about it."""
    clock = read_clock(ask)
    as_of = format_time(clock.now_ms)
    found = find_forecast(ask, appid)
    if found is None:
        return AppList(as_of, clock.runs_on, [])
    alerts = read_open_alerts(ask, (appid,))
    rows = ask(_OUTLOOK, {"appid": appid})
    name, exempt, changes_from, to, since, *_ = rows[0]
    outlook = AppOutlook(appid, name, bool(exempt), iso_or_none(changes_from), to, list(since))
    for row in rows:
        capability = row[5]
        outlook.capabilities[capability] = _outlook(
            row[6:], found.capabilities[capability], alerts.get((appid, capability), [])
        )
    return AppList(as_of, clock.runs_on, [outlook])


def _outlook(figures: tuple[Any, ...], foretold: Forecast, alerts: list[str]) -> CapabilityOutlook:
    left, pending, next_expires_at = figures
    lapsing = [(pack.expires_at_ms, pack.lapsing) for pack in foretold.packs if pack.lapsing > 0]
    lapses_ms, calls = min(lapsing, default=(None, 0))
    return CapabilityOutlook(
        left,
        pending,
        None if foretold.run_out_ms is None else format_time(foretold.run_out_ms),
        iso_or_none(next_expires_at),
        None if lapses_ms is None else format_time(lapses_ms),
        calls,
        alerts,
    )
