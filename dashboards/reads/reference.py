"""Reference data of one capability of an app: the bound of its recent average use (rule 21)."""

from datetime import datetime, time
from typing import Final

from dashboards.reads.asking import Ask
from metering.reference_use import bound_of_average, reference_period
from metering.times import SHANGHAI, shanghai_date, to_ms

_FIRST: Final = """
SELECT minOrNull(day) FROM usage_daily AS used
WHERE appid = %(appid)s AND toString(used.capability) = %(of)s AND used.succeeded > 0
"""

_CALLS: Final = """
SELECT sum(used.succeeded) FROM usage_daily AS used
WHERE appid = %(appid)s AND toString(used.capability) = %(of)s
    AND day >= toDate(%(first)s) AND day <= toDate(%(last)s)
"""


def read_reference_bound(ask: Ask, appid: str, capability: str, now_ms: int) -> int:
    """The bound that the average use of recent months does not exceed."""
    about: dict[str, object] = {"appid": appid, "of": capability}
    ((first,),) = ask(_FIRST, about)
    first_ms = None if first is None else to_ms(datetime.combine(first, time(), SHANGHAI))
    period = reference_period(now_ms, first_ms)
    days = {
        "first": shanghai_date(period.begins_ms).isoformat(),
        "last": shanghai_date(max(period.begins_ms, period.ends_ms - 1)).isoformat(),
    }
    ((calls,),) = ask(_CALLS, {**about, **days})
    return bound_of_average(calls, period.months)
