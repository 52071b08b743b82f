"""The rows of the table `delivery_states`, derived from the records of `phone-deliveries`. Pure."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from sinks.notifier.deliveries import AlertRoute, Deliveries
from sinks.notifier.records import Acknowledgement, AnyRecord, Delivery, DeliveryRequest, Retry


class DeliveryState(NamedTuple):
    """A row: the state of an alert on a route. The table's comments explain the fields. Times are UTC ms."""

    appid: str
    alert_id: str
    route: str
    channel: str
    state: str
    attempts: int
    asked_at: int
    due_at: int
    changed_at: int
    outcome: str
    message_id: str
    acknowledged_by: str
    acknowledged_at: int | None
    log_partition: int
    log_offset: int


COLUMNS: Final = DeliveryState._fields


class _Request(NamedTuple):
    """The part of a delivery request that is kept for as long as its key is in the log."""

    appid: str
    at_ms: int


class DeliveryStates:
    """The states of all alerts of one partition on all routes."""

    def __init__(self, partition: int) -> None:
        self._partition = partition
        self._deliveries = Deliveries()
        self._requests: dict[str, dict[str, _Request]] = {}
        """By alert and route."""

    def apply(self, offset: int, record: AnyRecord) -> Iterator[DeliveryState]:
        """Apply a record; return the new rows of the alerts that it is about."""
        self._deliveries.apply(record)
        for alert_route in list(self._affected(record)):
            row = self._row(alert_route, offset)
            if row is not None:
                yield row

    def erase(self, key: bytes) -> None:
        """Apply the removal of a key: its alerts are no longer followed, and their rows stay as they are."""
        self._deliveries.erase(key)
        match key.decode(errors="replace").split("|"):
            case ["asked", alert_id, route]:
                by_route = self._requests.get(alert_id, {})
                by_route.pop(route, None)
                if not by_route:
                    self._requests.pop(alert_id, None)

    def _affected(self, record: AnyRecord) -> Iterator[AlertRoute]:
        match record:
            case DeliveryRequest():
                alert = record.alert
                by_route = self._requests.setdefault(alert.id, {})
                by_route.setdefault(record.route, _Request(alert.appid, record.at_ms))
                yield alert.id, record.route
            case Delivery():
                yield from ((alert_id, record.route) for alert_id in record.alerts)
            case Acknowledgement():
                yield from ((record.alert, route) for route in self._requests.get(record.alert, ()))
            case Retry():
                delivery = self._deliveries.by_id.get(record.delivery_id)
                if delivery is not None:
                    yield from ((alert_id, delivery.route) for alert_id in delivery.alerts)

    def _row(self, alert_route: AlertRoute, offset: int) -> DeliveryState | None:
        alert_id, route = alert_route
        request = self._requests.get(alert_id, {}).get(route)
        if request is None:
            return None
        acknowledgement = self._deliveries.acknowledgements.get(alert_id)
        row = DeliveryState(
            appid=request.appid,
            alert_id=alert_id,
            route=route,
            channel="",
            state="waiting",
            attempts=0,
            asked_at=request.at_ms,
            due_at=request.at_ms,
            changed_at=request.at_ms,
            outcome="",
            message_id="",
            acknowledged_by=acknowledgement.by if acknowledgement else "",
            acknowledged_at=acknowledgement.at_ms if acknowledgement else None,
            log_partition=self._partition,
            log_offset=offset,
        )
        pending = self._deliveries.pending.get(alert_route)
        if pending is not None:
            return row._replace(state="held" if pending.held else "waiting", due_at=pending.due_ms)
        delivery = self._deliveries.delivery_of(alert_route)
        if delivery is None:
            return None
        return row._replace(
            channel=delivery.channel,
            state=delivery.state,
            attempts=delivery.attempt,
            due_at=delivery.due_ms,
            changed_at=delivery.at_ms,
            outcome=delivery.reason,
            message_id=delivery.id,
        )
