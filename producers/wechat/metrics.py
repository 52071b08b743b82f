"""The service's metrics: every name in one place with its meaning."""

import time
from collections.abc import Callable, Iterator
from typing import Final, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from http_service.process_metrics import add_process_metrics
from http_service.service_health import HealthCollector
from metering.health import Verdict

MetricName = Literal[
    # Counter by endpoint and outcome: requests to WeChat that were answered (ok), or not as asked: another
    # token is needed (token), too many requests (limited), WeChat asks to try again (busy), another refusal
    # (refused), no answer or none of WeChat's (unreachable).
    "phonemeter_wechat_requests_total",
    # Counter: requests that were repeated at once, because WeChat was busy or did not answer.
    "phonemeter_wechat_repeats_total",
    # Histogram by endpoint: seconds per request.
    "phonemeter_wechat_request_seconds",
    # Counter by outcome: readings of an app that were complete (ok) or not (failed).
    "phonemeter_wechat_readings_total",
    # Gauge: apps that are read.
    "phonemeter_wechat_apps",
    # Gauge: apps whose last reading failed.
    "phonemeter_wechat_failing_apps",
    # Gauge: seconds since the complete reading of the app whose last one is the oldest.
    "phonemeter_wechat_oldest_reading_seconds",
    # Counter by fact: events that Kafka has taken: packs (purchase), counts that were read (observation) and
    # counts that were pushed (push).
    "phonemeter_wechat_facts_total",
    # Counter: packs that were recorded without a price.
    "phonemeter_wechat_unpriced_packs_total",
    # Gauge: packs that WeChat and the ledger have under different names.
    "phonemeter_wechat_joined_packs",
    # Gauge: packs of the ledger that WeChat does not have.
    "phonemeter_wechat_unmatched_packs",
    # Counter by outcome: pushes that became an event (stored), led to a reading (read), had a ticket
    # (ticket), were about something else (ignored), had a wrong signature or key (forged), came again or too
    # late (replayed), were no message (invalid), or whose event Kafka did not take (failed).
    "phonemeter_wechat_pushes_total",
    # Gauge by promise: 1 while it holds.
    "phonemeter_wechat_healthy",
]

REQUEST_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

Fact = Literal["purchase", "observation", "push"]
PushOutcome = Literal["stored", "read", "ticket", "ignored", "forged", "replayed", "invalid", "failed"]


class Metrics:
    """The metrics of one service, in a registry of their own."""

    def __init__(self, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self.registry = CollectorRegistry()
        add_process_metrics(self.registry)
        self._monotonic_s = monotonic_s
        self._read_s: dict[str, float] = {}
        self.requests = self._counter(
            "phonemeter_wechat_requests_total", "Requests to WeChat", "endpoint", "outcome"
        )
        self.repeats = self._counter("phonemeter_wechat_repeats_total", "Requests that were repeated at once")
        name: MetricName = "phonemeter_wechat_request_seconds"
        self.request_seconds = Histogram(
            name, "Seconds per request", ("endpoint",), registry=self.registry, buckets=REQUEST_SECONDS
        )
        self.readings = self._counter("phonemeter_wechat_readings_total", "Readings of an app", "outcome")
        self.apps = self._gauge("phonemeter_wechat_apps", "Apps that are read")
        self.failing_apps = self._gauge("phonemeter_wechat_failing_apps", "Apps whose last reading failed")
        self._gauge(
            "phonemeter_wechat_oldest_reading_seconds",
            "Seconds since the last complete reading of the app that has waited longest",
        ).set_function(self.oldest_reading_s)
        self.facts = self._counter("phonemeter_wechat_facts_total", "Events that Kafka has taken", "fact")
        self.unpriced_packs = self._counter(
            "phonemeter_wechat_unpriced_packs_total", "Packs that were recorded without a price"
        )
        self.joined_packs = self._gauge(
            "phonemeter_wechat_joined_packs", "Packs that WeChat and the ledger have under different names"
        )
        self.unmatched_packs = self._gauge(
            "phonemeter_wechat_unmatched_packs", "Packs of the ledger that WeChat does not have"
        )
        self.pushes = self._counter("phonemeter_wechat_pushes_total", "Pushes of WeChat", "outcome")

    def begin(self, appids: Iterator[str]) -> None:
        """Count the apps that are read, each as if it had just been."""
        self._read_s = dict.fromkeys(appids, self._monotonic_s())
        self.apps.set(len(self._read_s))

    def record_reading(self, appid: str) -> None:
        """Note a complete reading of an app."""
        self.readings.labels("ok").inc()
        self._read_s[appid] = self._monotonic_s()

    def oldest_reading_s(self) -> float:
        """Seconds since the last complete reading of the app that has waited longest."""
        return self._monotonic_s() - min(self._read_s.values()) if self._read_s else 0.0

    def unread(self, longer_than_s: float) -> list[str]:
        """The apps whose last complete reading is too old."""
        now_s = self._monotonic_s()
        return sorted(appid for appid, at_s in self._read_s.items() if now_s - at_s > longer_than_s)

    def judge_by(self, verdict: Callable[[], Verdict]) -> None:
        """Export the verdict on the service."""
        name: MetricName = "phonemeter_wechat_healthy"
        meaning = "1 while what the service promises holds, 0 while not; before it has started only that"
        self.registry.register(HealthCollector(name, meaning, verdict))

    def _counter(self, name: MetricName, meaning: str, *labels: str) -> Counter:
        return Counter(name, meaning, labels, registry=self.registry)

    def _gauge(self, name: MetricName, meaning: str) -> Gauge:
        return Gauge(name, meaning, registry=self.registry)
