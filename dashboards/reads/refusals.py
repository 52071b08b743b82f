"""Calls that nothing covered, and authorizations that were no calls, by reason."""

from datetime import date
from typing import Final, Literal, NamedTuple

from dashboards.reads.asking import Ask

_UNCOVERED: Final = """
SELECT 'uncovered', toString(reason), toInt64(0), toInt64(count())
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
    uncovered, refused = (
        sorted(
            (RefusalCount(*row) for row in ask(query, given)),
            key=lambda one: (-one.times, one.reason, one.errno),
        )
        for query in (_UNCOVERED, _REFUSED)
    )
    return uncovered + refused
