"""The alert as published on `phone-alerts` for the notifier: a ledger entry of kind `alert` or `recovery`."""

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from metering.ledger import Entry
from metering.times import format_time


class Alert(Struct, frozen=True, kw_only=True):
    """A crossing of a threshold, or the recovery from one (rule 13).

    Attributes:
        id: partition, offset and line of its ledger entry: the same however often it is published.
        kind: `alert` or `recovery`.
        reason: `level`, `expiry`, `run_out`, `uncovered`, `refused`, `minute_burn` or `client_burn`.
        details: by reason: the level, the days, the hours left, the reason of uncovered calls, the abnormal
            and the usual number of calls, the client.
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


_ALERT_SENTENCES: Final[Mapping[str, str]] = {
    "level": "{remaining:,} of {size:,} calls were left, which is {level_percent} % or less.",
    "level of nothing": "No call was left, which is {level_percent} % or less.",
    "expiry": "Pack {pack_id} held {remaining:,} calls that expire within {days} days.",
    "run_out": "{remaining:,} calls were left, for about {hours_left} hours at the use of the last days.",
    "uncovered": "Calls began to be uncovered ({why}).",
    "refused": (
        "The platform refused an authorization (errno {errno}): members cannot sign up. {remaining:,} calls "
        "are left by the ledger."
    ),
    "minute_burn": "{calls:,} calls were charged in one minute; the busiest of 7 days before had {usual:,}.",
    "client_burn": (
        "Client {client} took {calls:,} calls in one hour; the busiest of 7 days before took {usual:,}."
    ),
}
_RECOVERY_SENTENCES: Final[Mapping[str, str]] = {
    "level": "A top-up lifted the balance clear of {level_percent} %: {remaining:,} of {size:,} calls.",
    "run_out": "After a top-up {remaining:,} calls were left, enough for now at the use of the last days.",
    "uncovered": "Packs cover calls again: {remaining:,} are left.",
    "refused": "The platform grants calls again: {remaining:,} are left by the ledger.",
}


def sentence_of(entry: Entry) -> str:
    """The sentence of an entry of kind `alert` or `recovery`."""
    details: dict[str, Any] = msgspec.json.decode(entry.details)
    sentences = _RECOVERY_SENTENCES if entry.kind == "recovery" else _ALERT_SENTENCES
    reason = "level of nothing" if details.get("size") == 0 else entry.reason
    return sentences[reason].format(remaining=entry.remaining, pack_id=entry.pack_id, **details)
