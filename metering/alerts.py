"""The alert as it goes to the notifier on `phone-alerts`: one ledger entry of kind `alert` or `recovery`."""

from typing import Literal

import msgspec
from msgspec import Struct

from metering.ledger import Entry
from metering.times import format_time


class Alert(Struct, frozen=True, kw_only=True):
    """A threshold crossed, or a balance lifted clear of it again (DESIGN rule 13).

    Attributes:
        id: the same for the same crossing however often it is published: partition, offset and line of its
            ledger entry.
        kind: whether it is bad news or good.
        reason: `level`, `expiry`, `run_out`, `uncovered`, `minute_burn` or `client_burn`.
        details: what belongs to the reason: the level, the days, the hours left, why calls are uncovered, the
            calls that are abnormal and those that were usual, the client.
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


def alert_of(partition: int, entry: Entry) -> Alert:
    """The alert that an entry of kind `alert` or `recovery` tells of."""
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
    )
