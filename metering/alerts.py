"""The alert as published on `phone-alerts` for the notifier: a ledger entry of kind `alert` or `recovery`."""

from typing import Final, Literal

import msgspec
from msgspec import Struct

from metering.ledger import Entry
from metering.times import format_time

RECIPIENT: Final = "recipient."
"""Beginning of the names of routes that owners have set up; no name in a routes file has a dot."""


class Alert(Struct, frozen=True, kw_only=True):
    """A crossing of a threshold, or the recovery from one (rule 13).

    Attributes:
        id: partition, offset and line of its ledger entry: the same however often it is published.
        kind: `alert` or `recovery`.
        reason: `level`, `expiry`, `run_out`, `uncovered`, `refused`, `minute_burn`, `client_burn` or
            `charge_notice`.
        details: by reason: the level, the days, the hours left, the reason of uncovered calls, the abnormal
            and the usual number of calls, the client, what a charge notice says.
        recorded_at: arrival of the record that caused it; empty in alerts of older versions.
    """

    id: str
    kind: Literal["alert", "recovery"]
    appid: str
    capability: str
    reason: str
    time: str
    remaining: int
    pack_id: str
    details: dict[str, int | str]
    recorded_at: str = ""


def alert_of(partition: int, entry: Entry) -> Alert:
    """The alert of an entry of kind `alert` or `recovery`."""
    return Alert(
        id=f"{partition}-{entry.offset}-{entry.line}",
        kind="recovery" if entry.kind == "recovery" else "alert",
        appid=entry.appid,
        capability=entry.capability,
        reason=entry.reason,
        time=format_time(entry.time_ms),
        remaining=entry.remaining,
        pack_id=entry.pack_id,
        details=msgspec.json.decode(entry.details, type=dict[str, int | str]),
        recorded_at=format_time(entry.recorded_at_ms),
    )
