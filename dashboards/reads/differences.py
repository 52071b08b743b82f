"""Differences of the platform's count of an app's calls to that of the ledger."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from dashboards.reads.asking import Ask
from dashboards.reads.chosen_apps import chosen_apps
from metering.times import to_ms

_DIFFERENCES: Final = """
SELECT appid, toString(agreement.capability) AS of, max(observed_at), sumIf(difference, stays)
FROM agreement
WHERE {chosen}
GROUP BY appid, of
"""


class KnownDifference(NamedTuple):
    """The platform's count of one capability, beside the ledger.

    Attributes:
        observed_at_ms: when the platform told it last.
        difference: calls that it has more than the ledger, if that has stayed so for an hour; 0 otherwise.
    """

    observed_at_ms: int
    difference: int


def read_differences(ask: Ask, apps: Sequence[str] | None) -> Mapping[tuple[str, str], KnownDifference]:
    """By app and capability, of all apps or of some; not those whose count was not told for three days."""
    chosen, given = chosen_apps(apps)
    return {
        (appid, capability): KnownDifference(to_ms(observed_at), difference)
        for appid, capability, observed_at, difference in ask(_DIFFERENCES.format(chosen=chosen), given)
    }
