"""The console's metrics: every name in one place with its meaning."""

from collections.abc import Callable
from typing import Final, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from http_service.process_metrics import add_process_metrics
from http_service.service_health import HealthCollector
from metering.health import Verdict

MetricName = Literal[
    # Counter by answer: requests that were answered `ok`, or with the problem of that name.
    "phonemeter_console_requests_total",
    # Histogram: seconds from the head of a request for a page to its answer.
    "phonemeter_console_page_seconds",
    # Counter by outcome: attempts to sign in: right (signed_in), wrong (refused), too many (limited).
    "phonemeter_console_sign_ins_total",
    # Gauge by promise: 1 while it holds.
    "phonemeter_console_healthy",
    # Gauge: facts of the console that Kafka does not have yet.
    "phonemeter_console_outbox_waiting",
    # Gauge: seconds since the oldest of them was recorded; 0 without any.
    "phonemeter_console_outbox_oldest_seconds",
    # Counter by outcome: attempts to publish one: published, failed, refused.
    "phonemeter_console_outbox_attempts_total",
]

PAGE_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """The metrics of one console, in one registry with those of its parts."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        add_process_metrics(self.registry)
        self.requests = self._counter(
            "phonemeter_console_requests_total", "Requests that were answered", "answer"
        )
        name: MetricName = "phonemeter_console_page_seconds"
        self.page_seconds = Histogram(name, "Seconds per page", registry=self.registry, buckets=PAGE_SECONDS)
        self.sign_ins = self._counter("phonemeter_console_sign_ins_total", "Attempts to sign in", "outcome")

    def judge_by(self, verdict: Callable[[], Verdict]) -> None:
        """Export the verdict on the console."""
        name: MetricName = "phonemeter_console_healthy"
        meaning = "1 while what the console promises holds, 0 while not; before it has started only that"
        self.registry.register(HealthCollector(name, meaning, verdict))

    def _counter(self, name: MetricName, meaning: str, *labels: str) -> Counter:
        return Counter(name, meaning, labels, registry=self.registry)


class OutboxMetrics:
    """The metrics of the outbox's publisher."""

    def __init__(self, registry: CollectorRegistry) -> None:
        waiting: MetricName = "phonemeter_console_outbox_waiting"
        oldest: MetricName = "phonemeter_console_outbox_oldest_seconds"
        attempts: MetricName = "phonemeter_console_outbox_attempts_total"
        self.waiting = Gauge(waiting, "Facts of the console that wait for Kafka", registry=registry)
        self.oldest_seconds = Gauge(oldest, "Seconds since the oldest of them", registry=registry)
        self.published = Counter(
            attempts, "Attempts to publish a fact of the console", ["outcome"], registry=registry
        )
