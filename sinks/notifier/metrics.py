"""The notifier's metrics: every name in one place with its meaning."""

import time
from collections.abc import Callable, Iterator
from typing import Final, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from http_service.process_metrics import add_process_metrics
from metering.health import Problem
from metering.health_checks import HealthLimits, delivery_problems
from metering.topics import ALERTS
from sinks.health import Health
from sinks.health_inputs import UnreadablePartitions
from sinks.notifier.delivery_counts import DeliveryCounts

MetricName = Literal[
    # Counter by outcome: alerts read from phone-alerts that were routed, wanted by no route (unrouted),
    # about what was more than a day past when it arrived (not_sent), published too long ago (too_old), known
    # already (repeated), or no alerts at all (unreadable).
    "phonemeter_notifier_alerts_total",
    # Counter by channel and outcome: attempts that were delivered, failed and will be repeated, or were the
    # last of a delivery that is dead.
    "phonemeter_notifier_attempts_total",
    # Histogram by channel: seconds per attempt.
    "phonemeter_notifier_attempt_seconds",
    # Gauge: alerts that are to be delivered and are not yet, those held for quiet hours and digests included.
    "phonemeter_notifier_open",
    # Gauge: messages that were given up and are not acknowledged; those to recipients of owners do not count.
    "phonemeter_notifier_dead",
    # Gauge: the same for messages to recipients of owners, who see and mend them in the console.
    "phonemeter_notifier_recipients_dead",
    # Gauge: recipients of owners in effect.
    "phonemeter_notifier_recipients",
    # Gauge: alerts that the recipients of owners get once the business database has answered, which it has
    # not since the start.
    "phonemeter_notifier_awaiting_recipients",
    # Gauge: seconds since the oldest undelivered alert could have been delivered; held ones do not count, and
    # neither do those to recipients of owners.
    "phonemeter_notifier_oldest_waiting_seconds",
    # Gauge: routes that their receivers have disabled.
    "phonemeter_notifier_disabled_routes",
    # Gauge: routes in effect.
    "phonemeter_notifier_routes",
    # Gauge: 1 while the routes file is refused as it is now, and the routes in effect are those of before.
    "phonemeter_notifier_routes_refused",
    # Counter: times that Kafka, or kafka-python, failed and was tried again.
    "phonemeter_notifier_kafka_errors_total",
    # Gauge by topic and partition: records that were not read yet.
    "phonemeter_notifier_lag_records",
    # Gauge by promise: 1 while it holds.
    "phonemeter_notifier_healthy",
]

ATTEMPT_SECONDS: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30, 60)


class Metrics:
    """The metrics of one notifier, in a registry of their own."""

    def __init__(self, now_s: Callable[[], float] = time.time) -> None:
        self.registry = CollectorRegistry()
        add_process_metrics(self.registry)
        self._counts = DeliveryCounts()
        health_name: MetricName = "phonemeter_notifier_healthy"
        self.health = Health(health_name, "notifier")
        self.registry.register(self.health)
        self._now_s = now_s
        self.unreadable = UnreadablePartitions(ALERTS)
        self.alerts = self._counter("phonemeter_notifier_alerts_total", "Alerts read", "outcome")
        self.attempts = self._counter(
            "phonemeter_notifier_attempts_total", "Attempts to deliver", "channel", "outcome"
        )
        self.kafka_errors = self._counter(
            "phonemeter_notifier_kafka_errors_total",
            "Times that Kafka, or its client, failed and was tried again",
        )
        name: MetricName = "phonemeter_notifier_attempt_seconds"
        self.attempt_seconds = Histogram(
            name, "Seconds per attempt", ("channel",), registry=self.registry, buckets=ATTEMPT_SECONDS
        )
        self._open = self._gauge("phonemeter_notifier_open", "Alerts that are not delivered yet")
        self._dead = self._gauge("phonemeter_notifier_dead", "Messages that were given up")
        self._recipients_dead = self._gauge(
            "phonemeter_notifier_recipients_dead", "Messages to recipients of owners that were given up"
        )
        self.recipients = self._gauge("phonemeter_notifier_recipients", "Recipients of owners in effect")
        self.awaiting_recipients = self._gauge(
            "phonemeter_notifier_awaiting_recipients",
            "Alerts held for recipients of owners, who were not read since the start",
        )
        self._disabled_routes = self._gauge(
            "phonemeter_notifier_disabled_routes", "Routes that their receivers have disabled"
        )
        self.routes = self._gauge("phonemeter_notifier_routes", "Routes in effect")
        self.routes_refused = self._gauge(
            "phonemeter_notifier_routes_refused",
            "1 while the routes file is refused and the previous ones are in effect",
        )
        self.lag_records = self._gauge(
            "phonemeter_notifier_lag_records", "Records not read yet", "topic", "partition"
        )
        self._gauge(
            "phonemeter_notifier_oldest_waiting_seconds",
            "Seconds since the oldest undelivered alert could have been delivered",
        ).set_function(self._oldest_waiting_s)

    def set_counts(self, counts: DeliveryCounts) -> None:
        """Set the metrics of the deliveries."""
        self._counts = counts
        self._open.set(counts.open)
        self._dead.set(counts.dead)
        self._recipients_dead.set(counts.dead_recipients)
        self._disabled_routes.set(counts.disabled)

    def problems(
        self, refusal: str, recipients_refusal: str = "", *, recipients_known: bool = True
    ) -> Iterator[Problem]:
        """Find problems of health, with the reasons why the routes file and the recipients can't be used."""
        yield from self.unreadable.problems(HealthLimits())
        yield from delivery_problems(
            refusal,
            self._oldest_waiting_s(),
            self._counts.dead,
            self._counts.disabled,
            recipients_refusal,
            recipients_known=recipients_known,
        )

    def _oldest_waiting_s(self) -> float:
        oldest_due_ms = self._counts.oldest_due_ms
        return 0.0 if oldest_due_ms is None else max(0.0, self._now_s() - oldest_due_ms / 1_000)

    def _counter(self, name: MetricName, meaning: str, *labels: str) -> Counter:
        return Counter(name, meaning, labels, registry=self.registry)

    def _gauge(self, name: MetricName, meaning: str, *labels: str) -> Gauge:
        return Gauge(name, meaning, labels, registry=self.registry)
