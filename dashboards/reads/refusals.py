"""Calls that nothing covered, and authorizations that were no calls, by reason."""

from datetime import date
from typing import Final, Literal, NamedTuple

from dashboards.reads.asking import Ask

_WITHIN: Final = """
    appid = %(appid)s AND capability = %(of)s
    AND time >= toDateTime64(%(first)s, 3, 'Asia/Shanghai')
    AND time < toDateTime64(%(end)s, 3, 'Asia/Shanghai')
"""

# Of calls that no settlement has moved, the lines alone tell what is uncovered. The view finds out which
# calls a settlement moved, and reads all corrections for that.
_UNSETTLED: Final = f"""
SELECT toString(why), toInt64(countIf(left > 0)), max(moved)
FROM
(
    SELECT anyIf(reason, calls > 0) AS why, sum(calls) AS left, max(reason = 'settled') AS moved
    FROM ledger
    WHERE {_WITHIN} AND kind = 'uncovered'
    GROUP BY time, event_id
)
GROUP BY why
"""  # noqa: S608 - our own condition

_UNCOVERED: Final = """
SELECT toString(reason), toInt64(count())
FROM uncovered
WHERE appid = %(appid)s AND uncovered.capability = %(of)s
    AND toDate(time, 'Asia/Shanghai') >= toDate(%(first)s) AND toDate(time, 'Asia/Shanghai') < toDate(%(end)s)
GROUP BY reason
"""

_REFUSED: Final = """
SELECT toString(outcome), '', errno, sum(authorizations)
FROM funnel
WHERE appid = %(appid)s AND funnel.capability = %(of)s AND outcome IN ('denied', 'failed')
    AND day >= toDate(%(first)s) AND day < toDate(%(end)s)
GROUP BY outcome, errno
"""


class RefusalCount(NamedTuple):
    """One reason, and how often.

    Attributes:
        kind: a call that nothing covered, or an authorization that the user denied or the platform failed.
        reason: of an uncovered call: no_pack, exhausted, too_late or settled; empty otherwise.
        errno: of one that was denied or failed; 0 otherwise.
        times: how many.
    """

    kind: Literal["uncovered", "denied", "failed"]
    reason: str
    errno: int
    times: int


def read_refusals(ask: Ask, appid: str, capability: str, first: date, end: date) -> list[RefusalCount]:
    """The reasons of some days, those of uncovered calls first, the most frequent first."""
    given = {"appid": appid, "of": capability, "first": first.isoformat(), "end": end.isoformat()}
    lines = ask(_UNSETTLED, given)
    if any(moved for *_, moved in lines):
        lines = [(*row, 0) for row in ask(_UNCOVERED, given)]
    uncovered = [RefusalCount("uncovered", reason, 0, times) for reason, times, _ in lines if times]
    refused = [RefusalCount(*row) for row in ask(_REFUSED, given)]
    return [
        *sorted(uncovered, key=lambda one: (-one.times, one.reason)),
        *sorted(refused, key=lambda one: (-one.times, one.reason, one.errno)),
    ]
