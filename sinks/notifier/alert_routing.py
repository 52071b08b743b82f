"""The routing of a record of `phone-alerts`: its delivery requests, or why there are none. Pure."""

import logging
from itertools import chain
from typing import Final, Literal, NamedTuple

import msgspec

from metering.alerts import Alert
from metering.times import DAY_MS, parse_time
from metering.topics import ALERTS
from sinks.notifier.kafka_log import FetchedRecord
from sinks.notifier.records import Delivery, DeliveryRequest, delivery_id_of
from sinks.notifier.routes import Routes
from sinks.position import Position

log = logging.getLogger(__name__)

_decoder: Final = msgspec.json.Decoder(Alert)


class RoutedAlert(NamedTuple):
    """The result of routing one record.

    Attributes:
        outcome: in a word.
        position: of the newest alert of the partition, this one included.
        records: the delivery requests to publish; if the alert is not to be sent, each behind a delivery that
            states this.
    """

    outcome: Literal["routed", "unrouted", "not_sent", "too_old", "repeated", "unreadable"]
    position: Position
    records: tuple[DeliveryRequest | Delivery, ...] = ()


class Ages(NamedTuple):
    """The highest ages of alerts that are delivered, in milliseconds.

    Attributes:
        published_ms_max: age of the record when the notifier first sees it; older ones are ignored.
        past_ms_max: age of the alert's subject when its event arrived; older ones, such as imported or
            simulated history, are recorded and not sent.
    """

    published_ms_max: int
    past_ms_max: int


def route_alert(
    record: FetchedRecord, highest: Position, routes: Routes | None, ages: Ages, now_ms: int
) -> RoutedAlert:
    """Route a record.

    A partition has the alerts in the order of the events that caused them. After a crash the worker publishes
    some of them again: alerts that are not above the `highest` position routed so far are repetitions.
    """
    try:
        alert, position = decode_alert(record.value)
    except ValueError as error:
        log.warning(
            "Record %d of %s partition %d is no alert (%s); it is left out.",
            record.offset,
            ALERTS,
            record.partition,
            error,
        )
        return RoutedAlert("unreadable", highest)
    if position <= highest:
        return RoutedAlert("repeated", highest)
    if now_ms - record.time_ms > ages.published_ms_max:
        return RoutedAlert("too_old", position)
    requests = tuple(routes.requests(alert, now_ms)) if routes else ()
    late_ms = _arrived_ms(alert, record) - parse_time(alert.time)
    if routes and requests and late_ms > ages.past_ms_max:
        # The delivery first: a reader of only one of the two must not find an alert that waits.
        pairs = [
            (_not_sent(request, routes.by_name[request.route].channel, late_ms, now_ms), request)
            for request in requests
        ]
        return RoutedAlert("not_sent", position, tuple(chain.from_iterable(pairs)))
    return RoutedAlert("routed" if requests else "unrouted", position, requests)


def _arrived_ms(alert: Alert, record: FetchedRecord) -> int:
    return parse_time(alert.recorded_at) if alert.recorded_at else record.time_ms


def _not_sent(request: DeliveryRequest, channel: str, late_ms: int, now_ms: int) -> Delivery:
    return Delivery(
        at_ms=now_ms,
        id=delivery_id_of(request),
        route=request.route,
        channel=channel,
        alerts=(request.alert.id,),
        state="not_sent",
        attempt=0,
        since_ms=now_ms,
        due_ms=request.due_ms,
        owner="",
        reason=f"too old: {late_ms / DAY_MS:.1f} days past when it arrived",
    )


def decode_alert(value: bytes | None) -> tuple[Alert, Position]:
    """Read an alert, and the position in its id, which consists of partition, offset and line.

    Raises:
        ValueError: it is no alert, or has another id.
    """
    alert = _decoder.decode(value or b"")
    match alert.id.split("-"):
        case [_, offset, line]:
            return alert, Position(int(offset), int(line))
    raise ValueError(f"{alert.id[:40]!r} is not partition, offset and line")
