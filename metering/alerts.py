"""The alert as it goes to the notifier on `phone-alerts`: one ledger entry of kind `alert` or `recovery`."""

from typing import Any, Final, Literal

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


_ALERT_SENTENCES: Final = {
    "level": "{remaining:,} of {size:,} calls were left, which is {level_percent} % or less.",
    "expiry": "Pack {pack_id} held {remaining:,} calls that expire within {days} days.",
    "run_out": "{remaining:,} calls were left, for about {hours_left} hours at the use of the last days.",
    "uncovered": "Calls began to be uncovered ({why}).",
    "minute_burn": "{calls:,} calls were charged in one minute; the busiest of 7 days before had {usual:,}.",
    "client_burn": (
        "Client {client} took {calls:,} calls in one hour; the busiest of 7 days before took {usual:,}."
    ),
}
_RECOVERY_SENTENCES: Final = {
    "level": "A top-up lifted the balance clear of {level_percent} %: {remaining:,} of {size:,} calls.",
    "run_out": "After a top-up {remaining:,} calls were left, enough for now at the use of the last days.",
    "uncovered": "Packs cover calls again: {remaining:,} are left.",
}


def sentence_of(entry: Entry) -> str:
    """What an entry of kind `alert` or `recovery` says."""
    details: dict[str, Any] = msgspec.json.decode(entry.details)
    sentences = _RECOVERY_SENTENCES if entry.kind == "recovery" else _ALERT_SENTENCES
    return sentences[entry.reason].format(remaining=entry.remaining, pack_id=entry.pack_id, **details)
