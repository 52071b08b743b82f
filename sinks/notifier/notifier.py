"""The notifier's loop: read both topics, start attempts, publish outcomes and next steps.

`owned_partition.py` explains how a notifier that was replaced is kept from delivering.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from kafka.errors import KafkaError

from metering.stored_formats import NewerFormatError
from metering.topics import DELIVERIES
from sinks.backoff import backoff_s
from sinks.errors import SinkError
from sinks.notifier.alert_routing import Ages
from sinks.notifier.alerts_reader import AlertsReader
from sinks.notifier.attempts import Attempts
from sinks.notifier.channels import Deliver
from sinks.notifier.delivery_counts import count
from sinks.notifier.delivery_writer import DeliveryWriter
from sinks.notifier.kafka_log import AlertsSource, DeliveriesPublisher, FetchedRecord
from sinks.notifier.metrics import Metrics
from sinks.notifier.owned_partitions import OwnedPartitions
from sinks.notifier.planning import AttemptLimits
from sinks.notifier.routes import Routes

log = logging.getLogger(__name__)

IDLE_S: Final = 0.25
BUSY_S: Final = 0.02
DRAIN_S_MAX: Final = 3.0
"""Longest wait for attempts under way when the notifier is to end; a service has five seconds."""
REPORT_MS: Final = 500


class NotifierConfig(NamedTuple):
    """The notifier's configuration; without a file there are no `routes`, and nothing is delivered."""

    routes: Callable[[], Routes | None]
    limits: AttemptLimits
    ages: Ages
    deliver: Deliver


class Notifier:
    """Delivers alerts until `stop` is set. Everything but the attempts runs in the caller's thread."""

    def __init__(
        self,
        source: AlertsSource,
        publisher: DeliveriesPublisher,
        config: NotifierConfig,
        metrics: Metrics,
        stop: threading.Event,
        now_ms: Callable[[], int],
    ) -> None:
        self._source = source
        self._config = config
        self._metrics = metrics
        self._stop = stop
        self._now_ms = now_ms
        self._owned = OwnedPartitions(source, metrics, now_ms)
        self._alerts = AlertsReader(source, publisher, config.ages, metrics, now_ms)
        self._attempts = Attempts(config.deliver, now_ms)
        self._writer = DeliveryWriter(publisher, source.partitions, config.limits, metrics, now_ms)
        self._reported_ms = 0

    def run(self) -> None:
        """Work until `stop` is set, then record the outcomes of attempts under way."""
        failures = 0
        while not self._stop.is_set():
            try:
                self.turn()
                failures = 0
                self._metrics.health.record_turn()
            except KafkaError as error:
                self._metrics.health.record_failure(f"Kafka: {error}")
                self._back_off(error, failures)
                failures += 1
        self._drain()

    def turn(self) -> None:
        """Make one round."""
        partitions = self._owned.delivery_partitions
        busy = self._attempts.under_way or any(one.has_unread for one in partitions.values())
        records = self._owned.fetch(BUSY_S if busy else IDLE_S)
        # After the wait: who was set up before an alert gets it.
        routes = self._config.routes()
        self._read_deliveries([one for one in records if one.topic == DELIVERIES], routes)
        self._alerts.read(
            [one for one in records if one.topic != DELIVERIES], self._owned.alert_partitions, routes
        )
        self._owned.begin_alerts()
        self._writer.record_outcomes(self._attempts, partitions)
        for partition in partitions.values():
            self._writer.fence(partition)
            if partition.is_active and not self._stop.is_set():
                self._writer.advance(partition, routes, self._attempts.under_way)
        self._report()

    def _read_deliveries(self, records: Sequence[FetchedRecord], routes: Routes | None) -> None:
        """Read records of `phone-deliveries`, and start the attempts that were read back."""
        for record in records:
            partition = self._owned.delivery_partitions.get(record.partition)
            if partition is None or record.key is None:
                continue
            try:
                delivery = partition.read(record.key, record.value)
            except NewerFormatError as error:
                raise SinkError(
                    f"Record {record.offset} of {DELIVERIES} partition {record.partition} cannot be read: "
                    f"{error}."
                ) from None
            except ValueError:
                log.warning(
                    "Record %d of %s partition %d is none of the notifier's; it is left alone.",
                    record.offset,
                    DELIVERIES,
                    record.partition,
                )
                continue
            if delivery is not None:
                self._attempts.start(delivery, list(partition.deliveries.requests_of(delivery)), routes)

    def _back_off(self, error: KafkaError, failures: int) -> None:
        pause_s = backoff_s(failures)
        self._metrics.kafka_errors.inc()
        log.warning("Kafka: %s; trying again in %.1f s.", error, pause_s)
        self._stop.wait(pause_s)

    def _report(self) -> None:
        now_ms = self._now_ms()
        if now_ms - self._reported_ms < REPORT_MS:
            return
        self._reported_ms = now_ms
        deliveries = [partition.deliveries for partition in self._owned.delivery_partitions.values()]
        self._metrics.set_counts(count(deliveries))
        alerts = self._owned.alert_partitions.values()
        self._metrics.awaiting_recipients.set(sum(one.held.records for one in alerts if one.held))
        for (topic, partition), lag in self._source.lags().items():
            self._metrics.lag_records.labels(topic, partition).set(lag)

    def _drain(self) -> None:
        end_s = time.monotonic() + DRAIN_S_MAX
        while self._attempts.under_way and time.monotonic() < end_s:
            self._attempts.collect(BUSY_S)
            try:
                self._writer.record_outcomes(self._attempts, self._owned.delivery_partitions)
            except KafkaError as error:
                log.warning("The outcomes of some attempts could not be recorded (%s).", error)
                return
