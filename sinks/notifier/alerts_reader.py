"""The way of alerts from `phone-alerts` to delivery requests on `phone-deliveries`.

While the recipients of owners are unknown, the routes of the file get their requests, and nothing is
committed: the alerts are read again later. A request that is repeated then, or after a crash, changes
nothing.
"""

from collections.abc import Callable, Mapping, Sequence

from kafka.errors import KafkaError

from sinks.notifier.alert_routing import Ages, RoutedAlert, route_alert
from sinks.notifier.kafka_log import (
    AlertsCommit,
    AlertsSource,
    DeliveriesPublisher,
    FetchedRecord,
)
from sinks.notifier.metrics import Metrics
from sinks.notifier.owned_partitions import AlertsPartition
from sinks.notifier.records import DeliveryOutput
from sinks.notifier.routes import Routes
from sinks.position import Position


class AlertsReader:
    """Publishes the delivery requests of new alerts, and commits the alerts after that."""

    def __init__(
        self,
        source: AlertsSource,
        publisher: DeliveriesPublisher,
        ages: Ages,
        metrics: Metrics,
        now_ms: Callable[[], int],
    ) -> None:
        self._source = source
        self._publisher = publisher
        self._ages = ages
        self._metrics = metrics
        self._now_ms = now_ms

    def read(
        self,
        records: Sequence[FetchedRecord],
        partitions: Mapping[int, AlertsPartition],
        routes: Routes | None,
    ) -> None:
        """Read records; those of partitions where reading has not begun, or begins again, are left out.

        Raises:
            KafkaError: the requests, which are then fetched again, or the commit failed.
        """
        holds = routes is not None and routes.recipients is None
        released = set() if holds else self._release(partitions)
        positions = {
            number: partition.position
            for number, partition in partitions.items()
            if partition.position is not None and number not in released
        }
        records = [record for record in records if record.partition in positions]
        if not records:
            return
        routed = [self._route(record, positions, routes) for record in records]
        try:
            self._publish(routed)
        except KafkaError:
            for record in reversed(records):
                self._source.seek_alerts(record.partition, record.offset)
            raise
        newest = {record.partition: record for record in records}
        if holds:
            for record in records:
                partitions[record.partition].hold(record.offset)
        for number in newest:
            partitions[number].position = positions[number]
        if holds:
            return
        for alert in routed:
            self._metrics.alerts.labels(alert.outcome).inc()
        self._source.commit(
            [
                AlertsCommit(record, positions[number], partitions[number].topic_id)
                for number, record in newest.items()
            ]
        )

    def _release(self, partitions: Mapping[int, AlertsPartition]) -> set[int]:
        """Read held alerts again; return the partitions that had some."""
        released = set()
        for number, partition in partitions.items():
            if partition.held is not None:
                self._source.seek_alerts(number, partition.held.offset)
                partition.release(partition.held)
                released.add(number)
        return released

    def _route(
        self, record: FetchedRecord, positions: dict[int, Position], routes: Routes | None
    ) -> RoutedAlert:
        routed = route_alert(record, positions[record.partition], routes, self._ages, self._now_ms())
        positions[record.partition] = routed.position
        return routed

    def _publish(self, routed: Sequence[RoutedAlert]) -> None:
        self._publisher.publish(
            [
                DeliveryOutput.of_route(record, self._source.partitions)
                for alert in routed
                for record in alert.records
            ]
        )
