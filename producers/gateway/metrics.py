"""The gateway's metrics: every name in one place with its meaning."""

from collections.abc import Callable
from typing import Final, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from http_service.process_metrics import add_process_metrics
from http_service.service_health import HealthCollector
from metering.health import Verdict

MetricName = Literal[
    # Counter by answer: requests that were answered `ok`, or with the problem of that name.
    "phonemeter_gateway_requests_total",
    # Counter by outcome: events that Kafka has confirmed (accepted), that were in the same request before
    # (duplicate), that were refused (refused), and that Kafka did not confirm in time (unconfirmed).
    "phonemeter_gateway_events_total",
    # Histogram: seconds from the head of a request for events to its answer.
    "phonemeter_gateway_request_seconds",
    # Gauge: requests for events that are worked on.
    "phonemeter_gateway_requests_open",
    # Gauge: API keys that are not revoked, as of the last reading.
    "phonemeter_gateway_keys",
    # Gauge by promise: 1 while it holds.
    "phonemeter_gateway_healthy",
]

REQUEST_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """The metrics of one gateway, in one registry with those of its parts."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        add_process_metrics(self.registry)
        self.requests = self._counter(
            "phonemeter_gateway_requests_total", "Requests that were answered", "answer"
        )
        self.events = self._counter("phonemeter_gateway_events_total", "Events of requests", "outcome")
        name: MetricName = "phonemeter_gateway_request_seconds"
        self.request_seconds = Histogram(
            name, "Seconds per request for events", registry=self.registry, buckets=REQUEST_SECONDS
        )
        self.requests_open = self._gauge(
            "phonemeter_gateway_requests_open", "Requests for events that are worked on"
        )
        self.keys = self._gauge("phonemeter_gateway_keys", "API keys that are not revoked")

    def judge_by(self, verdict: Callable[[], Verdict]) -> None:
        """Export the verdict on the gateway."""
        name: MetricName = "phonemeter_gateway_healthy"
        meaning = "1 while what the gateway promises holds, 0 while not; before it has started only that"
        self.registry.register(HealthCollector(name, meaning, verdict))

    def _counter(self, name: MetricName, meaning: str, *labels: str) -> Counter:
        return Counter(name, meaning, labels, registry=self.registry)

    def _gauge(self, name: MetricName, meaning: str) -> Gauge:
        return Gauge(name, meaning, registry=self.registry)
