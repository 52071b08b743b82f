"""The number of ledger lines of apps: another number means that something of an app has changed."""

from collections.abc import Sequence
from typing import Final

from dashboards.reads.asking import Ask
from dashboards.reads.chosen_apps import chosen_apps

# The keys and sums of a projection: no line is read.
_COUNTS: Final = """
SELECT appid, toInt64(sum(times))
FROM
(
    SELECT appid, capability, pack_id, kind, count() AS times
    FROM ledger
    WHERE {chosen}
    GROUP BY appid, capability, pack_id, kind
)
GROUP BY appid
"""


def read_line_counts(ask: Ask, apps: Sequence[str] | None) -> dict[str, int]:
    """The number of lines of each app, of all or of some; none of those without any."""
    chosen, given = chosen_apps(apps)
    return dict(ask(_COUNTS.format(chosen=chosen), given))
