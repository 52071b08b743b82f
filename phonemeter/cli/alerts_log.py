"""Alerts and their deliveries, read from Kafka, and the records that people write about them."""

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

from kafka_access.access import KafkaAccess
from metering.alerts import Alert
from metering.topics import ALERTS, DELIVERIES
from phonemeter.topic_reader import TopicReader
from sinks.notifier.alert_routing import decode_alert
from sinks.notifier.deliveries import Deliveries
from sinks.notifier.kafka_log import DeliveriesPublisher
from sinks.notifier.records import (
    FINAL_STATES,
    Acknowledgement,
    AnyRecord,
    DeliveryOutput,
    DeliveryRequest,
    decode,
)
from sinks.position import BEFORE_ALL


@dataclass(frozen=True, slots=True)
class DeliveryStatus:
    """The progress of one alert on one route.

    `state` is `held` (for quiet hours or a digest), `waiting` (for its next attempt), `sending`, `delivered`,
    `dead`, `acknowledged` or `not_sent`.
    """

    route: str
    state: str
    attempt: int
    due_ms: int
    reason: str
    delivery_id: str
    partition: int


class DeliveryLog:
    """The content of `phone-deliveries`, by partition. Made by `read_deliveries`."""

    def __init__(self, partitions: dict[int, Deliveries]) -> None:
        self.partitions = partitions
        self._by_alert: dict[str, list[DeliveryStatus]] = defaultdict(list)
        now_ms = time.time_ns() // 1_000_000
        for partition, deliveries in partitions.items():
            for request in deliveries.requests.values():
                self._by_alert[request.alert.id].append(_status(partition, deliveries, request, now_ms))

    def statuses(self, alert_id: str) -> list[DeliveryStatus]:
        """The progress of an alert on each route, by route."""
        return sorted(self._by_alert.get(alert_id, []), key=lambda status: status.route)

    def acknowledgement(self, alert_id: str) -> Acknowledgement | None:
        """The first acknowledgement of an alert, if there is one."""
        found = [
            deliveries.acknowledgements[alert_id]
            for deliveries in self.partitions.values()
            if deliveries.is_acknowledged(alert_id)
        ]
        return min(found, key=lambda one: one.at_ms, default=None)


def read_deliveries(reader: TopicReader) -> DeliveryLog:
    """Read all of `phone-deliveries`."""
    partitions = {}
    for partition, span in reader.spans(DELIVERIES).items():
        deliveries = partitions[partition] = Deliveries(keep_finished=True)
        for batch in reader.batches(DELIVERIES, partition, span):
            for record in batch:
                if record.key is not None and record.value is None:
                    deliveries.erase(record.key)
                elif record.value is not None:
                    try:
                        deliveries.apply(decode(record.value))
                    except ValueError:
                        continue
    return DeliveryLog(partitions)


def read_alerts(reader: TopicReader) -> Iterator[Alert]:
    """Read each alert of `phone-alerts` once, in the order of each partition."""
    for partition, span in reader.spans(ALERTS).items():
        newest = BEFORE_ALL
        for batch in reader.batches(ALERTS, partition, span):
            for record in batch:
                try:
                    alert, position = decode_alert(record.value)
                except ValueError:
                    continue
                if position > newest:
                    newest = position
                    yield alert


def write(kafka: KafkaAccess, records: Sequence[tuple[int, AnyRecord]]) -> None:
    """Publish records, each on its partition, and wait until the broker has confirmed them."""
    with closing(DeliveriesPublisher(kafka)) as publisher:
        publisher.publish([DeliveryOutput.of(record, partition) for partition, record in records])


def _status(partition: int, deliveries: Deliveries, request: DeliveryRequest, now_ms: int) -> DeliveryStatus:
    delivery = deliveries.delivery_of((request.alert.id, request.route))
    acknowledged = deliveries.is_acknowledged(request.alert.id)
    if delivery is None:
        state = "held" if request.due_ms > now_ms else "waiting"
        state = "acknowledged" if acknowledged else state
        return DeliveryStatus(request.route, state, 0, request.due_ms, "", "", partition)
    state = "acknowledged" if acknowledged and delivery.state not in FINAL_STATES else delivery.state
    return DeliveryStatus(
        request.route, state, delivery.attempt, delivery.due_ms, delivery.reason, delivery.id, partition
    )
