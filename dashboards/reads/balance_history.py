"""The balance of one capability of an app, day by day: what was left, and what is expected to be."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any, Final, NamedTuple

from dashboards.reads.asking import Ask
from dashboards.reads.recent_use import EPOCH

# A pack counts at a moment if it is valid then: nobody can use what an expired one holds for late events.
_PACKS: Final = """
WITH assumeNotNull((SELECT now FROM clock)) AS at
SELECT toInt32(day), sum(held)
FROM
(
    SELECT
        burn.day AS day, burn.held AS held, terms.starts_at AS starts_at, terms.expires_at AS expires_at,
        least(at, toDateTime64(burn.day + 1, 3, 'Asia/Shanghai')) AS moment
    FROM
    (
        SELECT day, pack_id, pack_burndown.remaining AS held
        FROM pack_burndown
        WHERE appid = %(appid)s AND capability = %(of)s
            AND day >= toDate(%(first)s) AND day <= toDate(%(last)s)
    ) AS burn
    INNER JOIN
    (
        SELECT pack_id, starts_at, expires_at FROM packs WHERE appid = %(appid)s AND capability = %(of)s
    ) AS terms
    ON burn.pack_id = terms.pack_id
)
WHERE starts_at <= moment AND moment < expires_at
GROUP BY day
"""

_TRIAL: Final = """
SELECT trial_remaining, trial_shared FROM balances_now WHERE appid = %(appid)s AND capability = %(of)s
"""

_TRIAL_USED: Final = """
SELECT toInt32(day), sum(used.trial_charged)
FROM usage_daily AS used
WHERE appid = %(appid)s AND (%(shared)s OR used.capability = %(of)s) AND day > toDate(%(first)s)
GROUP BY day
"""

_BEGAN: Final = """
SELECT toInt32(toDate(min(time), 'Asia/Shanghai')) FROM ledger
WHERE appid = %(appid)s AND kind IN ('trial_grant', 'purchase')
"""

_AHEAD: Final = """
SELECT toInt32(day), forecast_daily.calls_left
FROM forecast_daily
WHERE appid = %(appid)s AND forecast_daily.capability = %(of)s AND day <= toDate(%(end)s)
ORDER BY day
"""


class DayBalance(NamedTuple):
    """The calls left at the end of a Shanghai day, of today now; None before the app had any."""

    day: date
    left: int | None


def read_balance_history(
    ask: Ask, appid: str, capability: str, first: date, last: date
) -> Sequence[DayBalance]:
    """The balance on each day until the last, which is today: by when calls were made and packs were valid.

    So it is as settled: a pack that was recorded late is there from its start.
    """
    given: dict[str, Any] = {
        "appid": appid,
        "of": capability,
        "first": first.isoformat(),
        "last": last.isoformat(),
    }
    balance = ask(_TRIAL, given)
    if not balance:
        return []
    trial, shared = balance[0]
    packs: dict[int, int] = dict(ask(_PACKS, given))
    trial_used: dict[int, int] = dict(ask(_TRIAL_USED, {**given, "shared": int(shared)}))
    began = ask(_BEGAN, given)[0][0]
    found = []
    day = last
    while day >= first:
        number = (day - EPOCH).days
        found.append(DayBalance(day, trial + packs.get(number, 0) if number >= began else None))
        trial += trial_used.get(number, 0)
        day -= timedelta(days=1)
    return found[::-1]


def read_balance_ahead(ask: Ask, appid: str, capability: str, end: date) -> dict[date, float]:
    """The calls that are expected to be left at the end of each day, from today to an end."""
    given = {"appid": appid, "of": capability, "end": end.isoformat()}
    return {EPOCH + timedelta(days=day): round(left, 1) for day, left in ask(_AHEAD, given)}
