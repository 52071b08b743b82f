"""Differences of the platform's count of an app's calls to that of the ledger."""

from collections.abc import Mapping, Sequence
from typing import Final

from dashboards.reads.asking import Ask
from dashboards.reads.chosen_apps import chosen_apps

_DIFFERENCES: Final = """
SELECT appid, toString(agreement.capability) AS of, sumIf(difference, stays)
FROM agreement
WHERE {chosen}
GROUP BY appid, of
"""


Differences = Mapping[tuple[str, str], int]
"""By app and capability, the calls that the platform has more than the ledger, 0 unless that has stayed so
for an hour. One whose count was not told for three days is not in it."""


def read_differences(ask: Ask, apps: Sequence[str] | None) -> Differences:
    """The differences of all apps or of some."""
    chosen, given = chosen_apps(apps)
    return {(appid, of): calls for appid, of, calls in ask(_DIFFERENCES.format(chosen=chosen), given)}
