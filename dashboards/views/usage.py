"""The views on use by hour, day and month: one statement with different keys.

Each query of the ledger has exactly the keys and sums of a projection of it (`sinks/migrations`), which is
what lets ClickHouse read sums instead of lines: `daily` has a row per kind, `monthly` has them side by side.
By the hour there is none, and the hours' lines are read.
"""

from dataclasses import dataclass
from typing import Final

_SHANGHAI: Final = "'Asia/Shanghai'"
_DAY: Final = f"toDate(time, {_SHANGHAI})"


@dataclass(frozen=True, slots=True)
class Usage:
    """A view on use.

    Attributes:
        period, type, meaning: the column of time.
        moment: what the inner query groups by.
        shown: what the view makes of that, which is called `moment`.
        by_place: True to separate scenes and stores; otherwise its projection has the kinds side by side.
    """

    period: str
    type: str
    meaning: str
    moment: str
    shown: str = "moment"
    by_place: bool = True


_MONTH_MEANING: Final = "First day of the month, in Shanghai"

USAGE: Final = {
    "usage_hourly": Usage(
        "hour",
        f"DateTime({_SHANGHAI})",
        "Start of the hour, in Shanghai",
        "toStartOfHour(time)",
        f"toTimeZone(moment, {_SHANGHAI})",
    ),
    "usage_daily": Usage("day", "Date", "The day, in Shanghai", _DAY),
    "usage_monthly": Usage("month", "Date", _MONTH_MEANING, _DAY, "toStartOfMonth(moment)"),
    "usage_monthly_by_app": Usage(
        "month", "Date", _MONTH_MEANING, f"toStartOfMonth(time, {_SHANGHAI})", by_place=False
    ),
}

_PLACES: Final = {"scene": "Entry page or scene", "store": "Store"}


def statement(name: str) -> str:
    """The statement that creates or replaces one of the views."""
    view = USAGE[name]
    places = _PLACES if view.by_place else {}
    names = {
        "name": name,
        "period": view.period,
        "type": view.type,
        "meaning": view.meaning,
        "moment": view.moment,
        "shown": view.shown,
        "keys": ", ".join(("appid", "capability", *places)),
        "places": "".join(f"    {place},\n" for place in places),
        "listed": ", ".join(("app", "capability", *places)),
        "columns": "".join(
            f"    {place} LowCardinality(String) COMMENT '{meaning}',\n" for place, meaning in places.items()
        ),
        "kinds": _CALL_KINDS,
        "calls": " + ".join(_SUMMED),
    }
    return (_DECLARED + (_OF_KINDS if view.by_place else _SIDE_BY_SIDE)).format(**names)


_SUMMED: Final = ("charged", "trial_charged", "free", "exempt", "uncovered")
_CALL_KINDS: Final = "'charge', 'trial_charge', 'free', 'exempt', 'uncovered'"

_DECLARED: Final = """CREATE OR REPLACE VIEW {name}
(
    appid String COMMENT 'The app',
    capability LowCardinality(String) COMMENT 'quick or realtime',
    {period} {type} COMMENT '{meaning}',
{columns}\
    succeeded Int64 COMMENT 'Succeeded authorizations, which are calls: {calls}',
    charged Int64 COMMENT 'Calls taken from packs',
    trial_charged Int64 COMMENT 'Calls taken from the trial quota',
    free Int64 COMMENT 'Calls before billing started',
    exempt Int64 COMMENT 'Calls of apps that are exempt',
    uncovered Int64 COMMENT 'Calls that no pack covered, less those that a pack recorded late took over',
    denied Int64 COMMENT 'Authorizations that the user denied',
    failed Int64 COMMENT 'Authorizations that failed',
    duplicates Int64 COMMENT 'Events that were received again',
    amount_micro_yuan Int64 COMMENT 'Cost of the charged calls, in millionths of a yuan'
) AS
"""

_OF_KINDS: Final = """\
SELECT
    appid,
    capability,
    {shown} AS {period},
{places}\
    sumIf(moved, kind IN ({kinds})) AS succeeded,
    sumIf(moved, kind = 'charge') AS charged,
    sumIf(moved, kind = 'trial_charge') AS trial_charged,
    sumIf(moved, kind = 'free') AS free,
    sumIf(moved, kind = 'exempt') AS exempt,
    sumIf(moved, kind = 'uncovered') AS uncovered,
    toInt64(sumIf(times, kind = 'denied')) AS denied,
    toInt64(sumIf(times, kind = 'failed')) AS failed,
    toInt64(sumIf(times, kind = 'duplicate')) AS duplicates,
    sumIf(money, kind = 'charge') AS amount_micro_yuan
FROM
(
    SELECT
        {moment} AS moment, {keys}, kind,
        sum(calls) AS moved, sum(amount_micro_yuan) AS money, count() AS times
    FROM ledger
    GROUP BY moment, {keys}, kind
)
WHERE kind IN ({kinds}, 'denied', 'failed', 'duplicate')
GROUP BY {period}, {keys}
COMMENT 'Usage by Shanghai {period}, {listed}'
"""

_SIDE_BY_SIDE: Final = """\
SELECT
    appid,
    capability,
    month,
    succeeded,
    charged,
    trial_charged,
    free,
    exempt,
    uncovered,
    toInt64(times_denied) AS denied,
    toInt64(times_failed) AS failed,
    toInt64(times_repeated) AS duplicates,
    money AS amount_micro_yuan
FROM
(
    SELECT
        {moment} AS {period},
        {keys},
        countIf(kind IN ({kinds}, 'denied', 'failed', 'duplicate')) AS uses,
        sumIf(calls, kind IN ({kinds})) AS succeeded,
        sumIf(calls, kind = 'charge') AS charged,
        sumIf(calls, kind = 'trial_charge') AS trial_charged,
        sumIf(calls, kind = 'free') AS free,
        sumIf(calls, kind = 'exempt') AS exempt,
        sumIf(calls, kind = 'uncovered') AS uncovered,
        countIf(kind = 'denied') AS times_denied,
        countIf(kind = 'failed') AS times_failed,
        countIf(kind = 'duplicate') AS times_repeated,
        sumIf(amount_micro_yuan, kind = 'charge') AS money
    FROM ledger
    GROUP BY {period}, {keys}
)
WHERE uses > 0
COMMENT 'Usage by Shanghai {period}, {listed}'
"""
