"""The alerts of an app and the recoveries from them, the newest first."""

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from dashboards.reads.asking import Ask, iso
from metering.alert_sentences import sentence_of
from metering.ledger import Entry
from metering.times import to_ms

AlertReason = Literal[
    "level", "expiry", "run_out", "uncovered", "refused", "minute_burn", "client_burn", "charge_notice"
]
AlertState = Literal["open", "ended"]

_ALERTS: Final = """
SELECT
    alert_id, recovered, is_open, capability, reason, level_percent, time, remaining, pack_id, details,
    changes
FROM
(
    SELECT *, minOrNullIf(open_until, is_open) OVER () AS changes
    FROM alerts
    WHERE appid = %(appid)s
)
WHERE (%(of)s = '' OR capability = %(of)s)
    AND (%(reason)s = '' OR reason = %(reason)s)
    AND (%(level)s < 0 OR level_percent = %(level)s)
    AND (%(state)s = '' OR is_open = (%(state)s = 'open'))
    AND (toUnixTimestamp64Milli(time), alert_id) < (%(before_ms)s, %(before_id)s)
ORDER BY time DESC, alert_id DESC
LIMIT %(most)s
"""

BEHIND_ALERTS: Final = (2**62, "")


class ToldAlert(Struct, frozen=True, kw_only=True):
    """An alert or a recovery. An alert is open until its recovery; without one there, for a week.

    Attributes:
        alert_id: as in messages, in deliveries and in `phonemeter alerts`.
        kind: `alert`, or `recovery` from one.
        level_percent: the level that was reached, in percent; null if it is not about one.
        remaining: calls left then: of the pack for `expiry`, of the capability otherwise.
        details: by reason: the level, the days, the hours left, the usual number of calls, the client.
        sentence: all of it in English.
    """

    alert_id: str
    kind: Literal["alert", "recovery"]
    state: AlertState
    capability: str
    reason: AlertReason
    level_percent: Annotated[int, Meta(ge=0, le=100)] | None
    time: str
    remaining: int
    pack_id: str
    details: dict[str, int | str]
    sentence: str


class FoundAlerts(Struct, frozen=True):
    """Alerts, and when the clock alone ends the next that is open; None if never, 0 if that is not known."""

    alerts: list[ToldAlert]
    places: list[tuple[int, str]]
    changes_ms: int | None


def read_alerts(
    ask: Ask,
    appid: str,
    *,
    capability: str = "",
    reason: str = "",
    level: int | None = None,
    state: str = "",
    before: Sequence[Any] = BEHIND_ALERTS,
    most: int,
) -> FoundAlerts:
    """The alerts of an app before a place in the order, at most so many."""
    before_ms, before_id = before
    found = ask(
        _ALERTS,
        {
            "appid": appid,
            "of": capability,
            "reason": reason,
            "level": -1 if level is None else level,
            "state": state,
            "before_ms": before_ms,
            "before_id": before_id,
            "most": most,
        },
    )
    if not found:
        asked_all = (
            not (capability or reason or state or level is not None) and tuple(before) == BEHIND_ALERTS
        )
        return FoundAlerts([], [], None if asked_all else 0)
    changes = found[0][-1]
    return FoundAlerts(
        [_alert(row, appid) for row in found],
        [(to_ms(row[6]), row[0]) for row in found],
        None if changes is None else to_ms(changes),
    )


def _alert(row: tuple[Any, ...], appid: str) -> ToldAlert:
    alert_id, recovered, is_open, capability, reason, level, time, remaining, pack_id, details, _ = row
    kind: Literal["alert", "recovery"] = "recovery" if recovered else "alert"
    entry = Entry(
        0,
        0,
        kind,
        to_ms(time),
        to_ms(time),
        appid,
        capability,
        remaining=remaining,
        pack_id=pack_id,
        reason=reason,
        details=details,
    )
    return ToldAlert(
        alert_id=alert_id,
        kind=kind,
        state="open" if is_open else "ended",
        capability=capability,
        reason=reason,
        level_percent=level,
        time=iso(time),
        remaining=remaining,
        pack_id=pack_id,
        details=msgspec.json.decode(details or "{}", type=dict[str, int | str]),
        sentence=sentence_of(entry),
    )
