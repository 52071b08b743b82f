"""The use of apps by Shanghai day: as many days as their paces are taken from."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Final, NamedTuple

from dashboards.reads.asking import Ask
from dashboards.reads.chosen_apps import chosen_apps
from metering.events import CAPABILITIES
from metering.forecast import HISTORY_WEEKS, WEEK, Pace, pace_of
from metering.times import shanghai_day

HISTORY_DAYS: Final = HISTORY_WEEKS * WEEK
EPOCH: Final = date(1970, 1, 1)

# One row per app and capability: of many small rows, most of the time goes into the reading of them.
_RECENT: Final = """
SELECT appid, of, groupArray((toInt32(day), used, calls))
FROM
(
    SELECT
        appid, toString(daily.capability) AS of, day,
        sum(daily.charged + daily.trial_charged + daily.uncovered) AS used,
        sum(daily.succeeded) AS calls
    FROM usage_daily AS daily
    WHERE {chosen} AND day >= toDate(%(first)s)
    GROUP BY appid, of, day
    HAVING used != 0 OR calls != 0
)
GROUP BY appid, of
"""

# By the month, of which there are few rows: the days before are asked for nothing but whether there are any.
_BEFORE: Final = """
SELECT DISTINCT appid
FROM usage_monthly_by_app AS monthly
WHERE {chosen} AND month < toDate(%(first)s)
    AND monthly.charged + monthly.trial_charged + monthly.uncovered != 0
"""

DayCounts = dict[tuple[str, str], dict[int, int]]
"""By app and capability, the count of each day since 1970."""


class RecentUse(NamedTuple):
    """The use of apps from the first day of a month on, at least of the days that a pace is taken from.

    Attributes:
        used: calls that a pack or trial quota was asked for.
        calls: all calls, those that were free or exempt too.
        first_days: the first day with any use, of apps that had none before; a pace begins there.
    """

    used: DayCounts
    calls: DayCounts
    first_days: dict[str, int]

    def on(self, appid: str, capability: str, day: date) -> int:
        """The calls of a day."""
        return self.calls.get((appid, capability), {}).get((day - EPOCH).days, 0)

    def paces(self, appid: str, last_day: int) -> dict[str, Pace]:
        """The pace of each capability over complete days, from the app's first call on."""
        first_day = max(self.first_days.get(appid, 0), last_day + 1 - HISTORY_DAYS)
        return {
            name: pace_of(
                [self.used.get((appid, name), {}).get(day, 0) for day in range(first_day, last_day + 1)],
                last_day,
            )
            for name in CAPABILITIES
        }


def read_recent_use(ask: Ask, apps: Sequence[str] | None, now_ms: int) -> RecentUse:
    """The recent use of all apps or of some."""
    chosen, given = chosen_apps(apps)
    last_day = shanghai_day(now_ms) - 1
    first = (EPOCH + timedelta(days=last_day + 1 - HISTORY_DAYS)).replace(day=1)
    given = {**given, "first": first.isoformat()}
    used: DayCounts = {}
    calls: DayCounts = {}
    first_days: dict[str, int] = {}
    for appid, capability, days in ask(_RECENT.format(chosen=chosen), given):
        used[appid, capability] = {day: count for day, count, _ in days if count}
        calls[appid, capability] = {day: count for day, _, count in days if count}
        began = min(used[appid, capability], default=last_day + 1)
        first_days[appid] = min(first_days.get(appid, began), began)
    for (appid,) in ask(_BEFORE.format(chosen=chosen), given):
        first_days[appid] = 0
    return RecentUse(used, calls, first_days)
