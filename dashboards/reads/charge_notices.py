"""Charge notices that were asked for, with what became of each (rule 21)."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec import Struct

from dashboards.reads.asking import Ask
from metering.charge_notices import NoticeTerms
from metering.times import to_ms

_NOTICES: Final = """
SELECT
    arrayStringConcat([source_partition, source_offset, maxIf(line, kind = 'alert')], '-'),
    countIf(kind = 'alert') > 0,
    minIf(time, kind = 'charge_notice') AS asked_at,
    anyIf(appid, kind = 'charge_notice'),
    toString(anyIf(ledger.capability, kind = 'charge_notice')),
    toString(anyIf(reason, kind = 'charge_notice')),
    anyIf(details, kind = 'charge_notice')
FROM ledger
WHERE appid IN %(appids)s AND (kind = 'charge_notice' OR kind = 'alert' AND reason = 'charge_notice')
GROUP BY source_partition, source_offset
ORDER BY asked_at DESC, source_partition, source_offset DESC
LIMIT %(most)s
"""

_DELIVERIES: Final = """
SELECT alert_id, toString(deliveries.route) AS way, toString(deliveries.state) AS how, delivered_at
FROM deliveries WHERE appid IN %(appids)s AND alert_id IN %(alerts)s ORDER BY alert_id, way
"""


class NoticeDelivery(Struct, frozen=True):
    """The way of a notice to one route: its state as in the view `deliveries`, and when it was there."""

    route: str
    state: str
    delivered_at_ms: int | None


class AskedNotice(Struct, frozen=True):
    """A notice that was asked for.

    Attributes:
        alert_id: of the alert that carries it; empty if nothing is sent.
        time_ms: when it was asked for.
        appid, capability: what it is about.
        refusal: why nothing is sent: `exempt` or `past`; otherwise empty.
        terms: what it says.
        deliveries: by route; none while the notifier has not told of it, and where no route wants it.
    """

    alert_id: str
    time_ms: int
    appid: str
    capability: str
    refusal: str
    terms: NoticeTerms
    deliveries: tuple[NoticeDelivery, ...] = ()


def read_notices(ask: Ask, apps: Sequence[str], most: int) -> list[AskedNotice]:
    """The newest notices of some apps."""
    given: dict[str, object] = {"appids": tuple(apps) or ("",), "most": most}
    notices = [_notice(row) for row in ask(_NOTICES, given)]
    sent = tuple(one.alert_id for one in notices if one.alert_id)
    if not sent:
        return notices
    found: dict[str, list[NoticeDelivery]] = {}
    for alert_id, route, state, at in ask(_DELIVERIES, {**given, "alerts": sent}):
        found.setdefault(alert_id, []).append(NoticeDelivery(route, state, _ms(at)))
    return [msgspec.structs.replace(one, deliveries=tuple(found.get(one.alert_id, ()))) for one in notices]


def _notice(row: tuple[Any, ...]) -> AskedNotice:
    alert_id, is_sent, time, appid, capability, refusal, details = row
    terms = msgspec.json.decode(details, type=NoticeTerms)
    return AskedNotice(alert_id if is_sent else "", to_ms(time), appid, capability, refusal, terms)


def _ms(at: datetime | None) -> int | None:
    return None if at is None else to_ms(at)
