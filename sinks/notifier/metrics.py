"""The notifier's metrics: every name in one place with its meaning."""

import time
from collections.abc import Callable
from typing import Final, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

MetricName = Literal[
    # Counter by outcome: alerts read from phone-alerts that were routed, wanted by no route (unrouted),
    # published too long ago (too_old), known already (repeated), or no alerts at all (unreadable).
    "phonemeter_notifier_alerts_total",
    # Counter by channel and outcome: attempts that were delivered, failed and will be repeated, or were the
    # last of a chain that is dead.
    "phonemeter_notifier_attempts_total",
    # Histogram by channel: seconds per attempt.
    "phonemeter_notifier_attempt_seconds",
    # Gauge: alerts that are to be delivered and are not yet, those held for quiet hours and digests included.
    "phonemeter_notifier_open",
    # Gauge: messages that were given up and that nobody has acknowledged.
    "phonemeter_notifier_dead",
    # Gauge: seconds since the oldest undelivered alert could have been delivered; held ones do not count.
    "phonemeter_notifier_oldest_waiting_seconds",
    # Gauge: routes that their receivers have disabled.
    "phonemeter_notifier_disabled_routes",
    # Gauge: routes in effect.
    "phonemeter_notifier_routes",
    # Gauge: 1 while the file of routes is refused as it is now, and the routes in effect are those of before.
    "phonemeter_notifier_routes_refused",
    # Gauge by topic and partition: records that were not read yet.
    "phonemeter_notifier_lag_records",
]

ATTEMPT_SECONDS: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30, 60)


class Metrics:
    """The metrics of one notifier, in a registry of their own."""

    def __init__(self, now_s: Callable[[], float] = time.time) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.oldest_due_ms: int | None = None
        self._now_s = now_s
        self.alerts = self._counter("phonemeter_notifier_alerts_total", "Alerts read", "outcome")
        self.attempts = self._counter(
            "phonemeter_notifier_attempts_total", "Attempts to deliver", "channel", "outcome"
        )
        name: MetricName = "phonemeter_notifier_attempt_seconds"
        self.attempt_seconds = Histogram(
            name, "Seconds per attempt", ("channel",), registry=self.registry, buckets=ATTEMPT_SECONDS
        )
        self.open = self._gauge("phonemeter_notifier_open", "Alerts that are not delivered yet")
        self.dead = self._gauge("phonemeter_notifier_dead", "Messages that were given up")
        self.disabled_routes = self._gauge(
            "phonemeter_notifier_disabled_routes", "Routes that their receivers have disabled"
        )
        self.routes = self._gauge("phonemeter_notifier_routes", "Routes in effect")
        self.routes_refused = self._gauge(
            "phonemeter_notifier_routes_refused",
            "1 while the file of routes is refused and those of before are in effect",
        )
        self.lag_records = self._gauge(
            "phonemeter_notifier_lag_records", "Records not read yet", "topic", "partition"
        )
        self._gauge(
            "phonemeter_notifier_oldest_waiting_seconds",
            "Seconds since the oldest undelivered alert could have been delivered",
        ).set_function(self._oldest_waiting_s)

    def _oldest_waiting_s(self) -> float:
        if self.oldest_due_ms is None:
            return 0.0
        return max(0.0, self._now_s() - self.oldest_due_ms / 1_000)

    def _counter(self, name: MetricName, meaning: str, *labels: str) -> Counter:
        return Counter(name, meaning, labels, registry=self.registry)

    def _gauge(self, name: MetricName, meaning: str, *labels: str) -> Gauge:
        return Gauge(name, meaning, labels, registry=self.registry)
