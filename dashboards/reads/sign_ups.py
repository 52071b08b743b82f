"""The sign-ups of the last days with one capability of an app, for reckoning with other ways to a number."""

from datetime import date
from typing import Final

from dashboards.reads.asking import Ask
from metering.sign_up_ways import RecentSignUps

_CALLS: Final = """
SELECT sum(used.succeeded) FROM usage_daily AS used
WHERE appid = %(appid)s AND used.capability = %(of)s AND day >= toDate(%(first)s) AND day < toDate(%(end)s)
"""

# Whoever was granted twice within these days was known the second time. A call that a pack took over, or that
# a settlement moved, has further entries that are not of its own.
_ASKED_AGAIN: Final = """
SELECT toInt64(count()) - toInt64(uniqExact(client)) FROM ledger
WHERE appid = %(appid)s AND capability = %(of)s AND client != '' AND calls = 1
    AND kind IN ('charge', 'trial_charge', 'free', 'exempt', 'uncovered')
    AND reason NOT IN ('taken_over', 'settled')
    AND toDate(time, 'Asia/Shanghai') >= toDate(%(first)s) AND toDate(time, 'Asia/Shanghai') < toDate(%(end)s)
"""

_REFUSED: Final = """
SELECT sum(authorizations) FROM funnel
WHERE appid = %(appid)s AND funnel.capability = %(of)s AND outcome = 'failed' AND errno = 1400001
    AND day >= toDate(%(first)s) AND day < toDate(%(end)s)
"""


def read_sign_ups(
    ask: Ask, appid: str, capability: str, first: date, end: date, price_micro_yuan: int
) -> RecentSignUps:
    """The sign-ups from a Shanghai day to before another."""
    given = {"appid": appid, "of": capability, "first": first.isoformat(), "end": end.isoformat()}
    calls, again, refused = (int(ask(query, given)[0][0]) for query in (_CALLS, _ASKED_AGAIN, _REFUSED))
    # Corrections take calls out of the sums, and leave the entries.
    asked_again = min(max(0, again), calls)
    return RecentSignUps((end - first).days, calls, asked_again, refused, price_micro_yuan)
