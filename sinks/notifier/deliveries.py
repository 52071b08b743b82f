"""The state of one partition of `phone-deliveries`: pending requests, and the progress of each delivery.

An attempt is valid only in the epoch of its owner: behind its fence and before the next one
(`owned_partition.py`). The outcome of an attempt is valid, also if a zombie records it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

from sinks.notifier.records import (
    FINAL_STATES,
    Acknowledgement,
    AnyRecord,
    Delivery,
    DeliveryRequest,
    Fence,
    Retry,
    RouteState,
)

AlertRoute = tuple[str, str]
"""An alert's id and the name of a route."""


@dataclass(slots=True)
class Deliveries:
    """The state of a partition, made by applying its records in order.

    Attributes:
        keep_finished: keep the requests of finished deliveries, which only lists need.
        owner: of the newest epoch.
        open: ids of deliveries that are being sent, or wait for their next attempt.
        pending: requests that are in no delivery yet.
        delivery_ids: id of the delivery that an alert is in.
        overwritten: ids of deliveries whose newest record is void. Compaction keeps only that one, so the
            valid record is to be written again, or the void one removed.
    """

    keep_finished: bool = False
    owner: str = ""
    by_id: dict[str, Delivery] = field(default_factory=dict)
    open: set[str] = field(default_factory=set)
    dead: set[str] = field(default_factory=set)
    pending: dict[AlertRoute, DeliveryRequest] = field(default_factory=dict)
    requests: dict[AlertRoute, DeliveryRequest] = field(default_factory=dict)
    delivery_ids: dict[AlertRoute, str] = field(default_factory=dict)
    acknowledgements: dict[str, Acknowledgement] = field(default_factory=dict)
    disabled_routes: dict[str, RouteState] = field(default_factory=dict)
    overwritten: set[str] = field(default_factory=set)

    def apply(self, record: AnyRecord) -> Delivery | None:
        """Apply a record; return the delivery if the record begins a valid attempt."""
        match record:
            case Fence():
                self.owner = record.owner
            case DeliveryRequest():
                self._apply_request(record)
            case Delivery():
                return self._apply_delivery(record)
            case Acknowledgement():
                self.acknowledgements.setdefault(record.alert, record)
            case Retry():
                self._apply_retry(record)
            case RouteState():
                if record.disabled:
                    self.disabled_routes[record.route] = record
                else:
                    self.disabled_routes.pop(record.route, None)
        return None

    def erase(self, key: bytes) -> str:
        """Apply the removal of a key; return the id of the delivery that it was of, or an empty string."""
        match key.decode(errors="replace").split("|"):
            case ["chain", delivery_id]:
                delivery = self.by_id.pop(delivery_id, None)
                self.open.discard(delivery_id)
                self.dead.discard(delivery_id)
                self.overwritten.discard(delivery_id)
                if delivery is not None:
                    for alert_id in delivery.alerts:
                        self.delivery_ids.pop((alert_id, delivery.route), None)
                return delivery_id
            case ["asked", alert_id, route]:
                self.requests.pop((alert_id, route), None)
                self.pending.pop((alert_id, route), None)
            case ["acknowledged", alert_id]:
                self.acknowledgements.pop(alert_id, None)
        return ""

    def is_acknowledged(self, alert_id: str) -> bool:
        """Return whether a person has acknowledged the alert."""
        return alert_id in self.acknowledgements

    def open_deliveries(self) -> list[Delivery]:
        """The open deliveries that are not acknowledged."""
        return self._unacknowledged(self.open)

    def dead_deliveries(self) -> list[Delivery]:
        """The dead deliveries that are not acknowledged."""
        return self._unacknowledged(self.dead)

    def requests_of(self, delivery: Delivery) -> Iterator[DeliveryRequest]:
        """The requests of a delivery, in the order of its message."""
        for alert_id in delivery.alerts:
            request = self.requests.get((alert_id, delivery.route))
            if request is not None:
                yield request

    def delivery_of(self, alert_route: AlertRoute) -> Delivery | None:
        """The delivery of an alert to a route, if there is one yet."""
        return self.by_id.get(self.delivery_ids.get(alert_route, ""))

    def _unacknowledged(self, delivery_ids: set[str]) -> list[Delivery]:
        deliveries = (self.by_id[delivery_id] for delivery_id in delivery_ids)
        return [one for one in deliveries if not all(map(self.is_acknowledged, one.alerts))]

    def _apply_request(self, request: DeliveryRequest) -> None:
        alert_route = (request.alert.id, request.route)
        delivery_id = self.delivery_ids.get(alert_route)
        if delivery_id is None:
            self.requests.setdefault(alert_route, request)
            self.pending.setdefault(alert_route, request)
        elif self.keep_finished or self.by_id[delivery_id].state not in FINAL_STATES:
            self.requests.setdefault(alert_route, request)

    def _apply_delivery(self, record: Delivery) -> Delivery | None:
        known = self.by_id.get(record.id)
        if not self._is_valid(record, known):
            (self.overwritten.discard if known == record else self.overwritten.add)(record.id)
            return None
        self.overwritten.discard(record.id)
        self._store(record)
        for alert_id in record.alerts:
            alert_route = (alert_id, record.route)
            self.delivery_ids[alert_route] = record.id
            self.pending.pop(alert_route, None)
            if not self.keep_finished and record.state in FINAL_STATES:
                self.requests.pop(alert_route, None)
        begins = record.state == "sending" and (known is None or record.attempt > known.attempt)
        return record if begins else None

    def _is_valid(self, record: Delivery, known: Delivery | None) -> bool:
        if record.state == "sending" and self.owner not in {"", record.owner}:
            return False
        if known is None:
            return True
        if known.state in FINAL_STATES:
            return False
        if record.state in FINAL_STATES:
            return True
        if record.state == "sending":
            adopted = known.state == "sending" and (record.attempt, record.at_ms) == (
                known.attempt,
                known.at_ms,
            )
            return adopted or record.attempt > known.attempt
        return record.attempt >= known.attempt and known.state != "dead"

    def _apply_retry(self, retry: Retry) -> None:
        known = self.by_id.get(retry.delivery_id)
        if known is not None and known.state == "dead":
            self._store(
                msgspec.structs.replace(
                    known,
                    at_ms=retry.at_ms,
                    state="waiting",
                    earlier_attempts=known.attempt,
                    since_ms=retry.at_ms,
                    due_ms=retry.at_ms,
                    reason="a person asked for another round",
                )
            )

    def _store(self, delivery: Delivery) -> None:
        self.by_id[delivery.id] = delivery
        self.open.discard(delivery.id)
        self.dead.discard(delivery.id)
        if delivery.state == "dead":
            self.dead.add(delivery.id)
        elif delivery.state not in FINAL_STATES:
            self.open.add(delivery.id)
