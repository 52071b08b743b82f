"""The calls of apps by Shanghai day, without the days that had none."""

from collections.abc import Sequence
from datetime import date
from typing import Any, Final

from dashboards.reads.asking import Ask

_RECENT: Final = """
SELECT appid, toString(used.capability) AS of, day, sum(used.succeeded) AS calls
FROM usage_daily AS used
WHERE appid IN %(appids)s AND day >= toDate(%(first)s) AND day <= toDate(%(last)s)
GROUP BY appid, of, day
HAVING calls > 0
"""

RecentUse = dict[tuple[str, str], dict[date, int]]
"""By app and capability, the calls of each day."""


def read_recent_use(ask: Ask, apps: Sequence[str], first: date, last: date) -> RecentUse:
    """The use of some apps from a day to another, both included."""
    found: RecentUse = {}
    given: dict[str, Any] = {
        "appids": tuple(apps) or ("",),
        "first": first.isoformat(),
        "last": last.isoformat(),
    }
    for appid, capability, day, calls in ask(_RECENT, given):
        found.setdefault((appid, capability), {})[day] = calls
    return found
