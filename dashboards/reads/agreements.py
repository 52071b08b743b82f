"""The platform's count of each quota of an app beside ours."""

from typing import Final, NamedTuple

from dashboards.reads.asking import Ask
from metering.times import to_ms

_AGREEMENTS: Final = """
SELECT
    pack_id, observed_at, used, size, charged, difference, since,
    on_their_way, policy = 'follow', ended, stays
FROM agreement
WHERE appid = %(appid)s AND agreement.capability = %(of)s
ORDER BY pack_id
LIMIT %(most)s
"""


class QuotaCount(NamedTuple):
    """The counts of one quota, as of the newest observation of the last three days.

    Attributes:
        pack_id: the pack; empty for the trial quota.
        observed_at_ms: when the platform told its count.
        used, size: what it told.
        charged: our count as of then.
        difference: the platform's less ours.
        since_ms: the observation from which on the difference is the same.
        on_their_way: calls of before may still arrive or be settled.
        follows: a difference that stays is booked.
        ended: the pack has expired or was given back.
        stays: it has been so for an hour, and nothing is on its way.
    """

    pack_id: str
    observed_at_ms: int
    used: int
    size: int
    charged: int
    difference: int
    since_ms: int
    on_their_way: bool
    follows: bool
    ended: bool
    stays: bool


def read_agreements(ask: Ask, appid: str, capability: str, most: int) -> list[QuotaCount]:
    """The counts of the quotas of one capability; none if the platform told none for three days."""
    found = ask(_AGREEMENTS, {"appid": appid, "of": capability, "most": most})
    return [QuotaCount(*row)._replace(observed_at_ms=to_ms(row[1]), since_ms=to_ms(row[6])) for row in found]
