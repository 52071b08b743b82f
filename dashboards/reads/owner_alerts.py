"""The alerts of several apps and the recoveries from them, the newest first, with what became of each."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from msgspec import Struct

from dashboards.reads.asking import Ask
from metering.alerts import Alert, alert_of
from metering.ledger import Entry
from metering.times import to_ms

_ALERTS: Final = """
SELECT
    alert_id, appid, recovered, is_open, toString(alerts.capability), toString(reason), time, remaining,
    pack_id, details
FROM alerts
WHERE appid IN %(appids)s
    AND (%(reason)s = '' OR reason = %(reason)s)
    AND (%(state)s = '' OR is_open = (%(state)s = 'open'))
    AND (toUnixTimestamp64Milli(time), alert_id) < (%(before_ms)s, %(before_id)s)
ORDER BY time DESC, alert_id DESC
LIMIT %(most)s
"""

_ONE: Final = "SELECT count() FROM alerts WHERE appid IN %(appids)s AND alert_id = %(alert_id)s"

_DELIVERIES: Final = """
SELECT alert_id, toString(route), toString(deliveries.state), acknowledged_by, acknowledged_at
FROM deliveries WHERE appid IN %(appids)s AND alert_id IN %(alert_ids)s ORDER BY route
"""


class AlertPlace(NamedTuple):
    """The place of an alert in the list."""

    time_ms: int
    alert_id: str


BEFORE_ALL: Final = AlertPlace(2**62, "")


class AlertDelivery(NamedTuple):
    """The state of an alert on a route of the notifier."""

    route: str
    state: str


class OwnerAlert(Struct, frozen=True):
    """An alert or a recovery, as the page of an owner lists it.

    Attributes:
        alert: as the notifier has it.
        entry: its ledger entry, as far as sentences need it.
        place: in the list.
        is_open: it stands now.
        deliveries: by route.
        acknowledged_by, acknowledged_at_ms: as the notifier's log has it; nobody if empty.
    """

    alert: Alert
    entry: Entry
    place: AlertPlace
    is_open: bool
    deliveries: tuple[AlertDelivery, ...] = ()
    acknowledged_by: str = ""
    acknowledged_at_ms: int | None = None


def read_owner_alerts(
    ask: Ask,
    apps: Sequence[str],
    *,
    reason: str = "",
    state: str = "",
    before: AlertPlace = BEFORE_ALL,
    most: int,
) -> list[OwnerAlert]:
    """The alerts of some apps before a place in the order, at most so many."""
    appids = tuple(apps) or ("",)
    given = {
        "appids": appids,
        "reason": reason,
        "state": state,
        "before_ms": before.time_ms,
        "before_id": before.alert_id,
        "most": most,
    }
    found = [_found(row) for row in ask(_ALERTS, given)]
    if not found:
        return []
    told: dict[str, list[tuple[AlertDelivery, str, int | None]]] = {}
    about = {"appids": appids, "alert_ids": tuple(one.alert.id for one in found)}
    for alert_id, route, state_there, who, at in ask(_DELIVERIES, about):
        told.setdefault(alert_id, []).append(
            (AlertDelivery(route, state_there), who, None if at is None else to_ms(at))
        )
    return [_with_deliveries(one, told.get(one.alert.id, [])) for one in found]


def is_alert_of(ask: Ask, apps: Sequence[str], alert_id: str) -> bool:
    """Return whether there is an alert of one of these apps under an id."""
    given = {"appids": tuple(apps) or ("",), "alert_id": alert_id}
    return bool(ask(_ONE, given)[0][0])


def _found(row: tuple[Any, ...]) -> OwnerAlert:
    alert_id, appid, recovered, is_open, capability, reason, time, remaining, pack_id, details = row
    partition, offset, line = (int(part) for part in alert_id.split("-"))
    time_ms = to_ms(time)
    entry = Entry(
        offset,
        line,
        "recovery" if recovered else "alert",
        time_ms,
        time_ms,
        appid,
        capability,
        remaining=remaining,
        pack_id=pack_id,
        reason=reason,
        details=details or "{}",
    )
    return OwnerAlert(alert_of(partition, entry), entry, AlertPlace(time_ms, alert_id), bool(is_open))


def _with_deliveries(one: OwnerAlert, told: Sequence[tuple[AlertDelivery, str, int | None]]) -> OwnerAlert:
    deliveries = tuple(delivery for delivery, _, _ in told)
    who, at_ms = next(((who, at_ms) for _, who, at_ms in told if who), ("", None))
    return OwnerAlert(one.alert, one.entry, one.place, one.is_open, deliveries, who, at_ms)
