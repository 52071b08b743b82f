"""The alert thresholds that an app's owner has set (rule 13)."""

from typing import Any, Final

import msgspec
from msgspec import Struct, structs

from dashboards.reads.asking import Ask
from metering.accounts import AlertThresholds

# An entry has all thresholds of its app, so the newest holds.
_THRESHOLDS: Final = """
SELECT argMax(details, (source_offset, line)), toUnixTimestamp64Milli(argMax(time, (source_offset, line)))
FROM ledger WHERE kind = 'alerting_set' AND appid = %(appid)s GROUP BY appid
"""


class ThresholdsInForce(Struct, frozen=True):
    """The thresholds of an app, and when they were set last; None if the defaults hold."""

    thresholds: AlertThresholds
    set_at_ms: int | None


def read_thresholds(ask: Ask, appid: str, default: AlertThresholds) -> ThresholdsInForce:
    """The thresholds that hold for an app."""
    rows = ask(_THRESHOLDS, {"appid": appid})
    if not rows:
        return ThresholdsInForce(default, None)
    details, set_at_ms = rows[0]
    told: dict[str, Any] = msgspec.json.decode(details)
    given = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in told.items()
        if name in AlertThresholds.__struct_fields__
    }
    return ThresholdsInForce(structs.replace(default, **given), set_at_ms)
