"""The settler's metrics: every name in one place with its meaning."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Final, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from http_service.process_metrics import add_process_metrics
from metering.health import Problem
from metering.health_checks import clickhouse_problems, settling_problems
from sinks.health import Health

MetricName = Literal[
    # Gauge: apps whose figures may still change, because a fact arrived late.
    "phonemeter_settler_unsettled_apps",
    # Gauge: seconds since the app began to wait that has waited for longest; 0 without one.
    "phonemeter_settler_oldest_unsettled_seconds",
    # Counter by outcome: settlements that were applied, refused by the stream, overtaken by those of another
    # settler, or not seen in the ledger in time (unseen).
    "phonemeter_settler_settlements_total",
    # Counter: calls that published settlements move to another quota.
    "phonemeter_settler_moved_calls_total",
    # Counter: calls that were published to be booked, or given back, to follow the platform's count.
    "phonemeter_settler_followed_calls_total",
    # Counter: calls that were read and decided again.
    "phonemeter_settler_calls_read_total",
    # Histogram: seconds to work an app out, reading included.
    "phonemeter_settler_work_seconds",
    # Counter by server (clickhouse, kafka): failures that were tried again.
    "phonemeter_settler_errors_total",
    # Gauge: 1 while ClickHouse answers, 0 while a query is tried again.
    "phonemeter_settler_clickhouse_up",
    # Gauge by promise: 1 while it holds.
    "phonemeter_settler_healthy",
]

WORK_SECONDS: Final = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300)


class Metrics:
    """Metrics and health of one settler, in a registry of their own."""

    def __init__(self, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self.registry = CollectorRegistry()
        add_process_metrics(self.registry)
        health: MetricName = "phonemeter_settler_healthy"
        self.health = Health(health, "settler", monotonic_s)
        self.registry.register(self.health)
        self._monotonic_s = monotonic_s
        self._waiting_since_s: Mapping[str, float] = {}
        self._reasons: Mapping[str, str] = {}
        self._clickhouse_down: tuple[float, str] | None = None
        self._unsettled = self._gauge(
            "phonemeter_settler_unsettled_apps", "Apps whose figures may still change"
        )
        self._gauge(
            "phonemeter_settler_oldest_unsettled_seconds",
            "Seconds since the app began to wait that has waited for longest; 0 without one",
        ).set_function(self._oldest_s)
        self.settlements = self._counter(
            "phonemeter_settler_settlements_total", "Settlements published, by what became of them", "outcome"
        )
        self.moved_calls = self._counter(
            "phonemeter_settler_moved_calls_total", "Calls that settlements move to another quota"
        )
        self.followed_calls = self._counter(
            "phonemeter_settler_followed_calls_total", "Calls to be booked to follow the platform's count"
        )
        self.calls_read = self._counter(
            "phonemeter_settler_calls_read_total", "Calls that were read and decided again"
        )
        work: MetricName = "phonemeter_settler_work_seconds"
        self.work_seconds = Histogram(
            work, "Seconds to work an app out, reading included", registry=self.registry, buckets=WORK_SECONDS
        )
        self._errors = self._counter(
            "phonemeter_settler_errors_total", "Failures that were tried again", "server"
        )
        self._clickhouse_up = self._gauge("phonemeter_settler_clickhouse_up", "1 while ClickHouse answers")

    def set_waiting(self, since_s: Mapping[str, float], reasons: Mapping[str, str]) -> None:
        """Set the unsettled apps: since when each waits (monotonic), and why some could not be settled."""
        self._waiting_since_s, self._reasons = dict(since_s), dict(reasons)
        self._unsettled.set(len(since_s))

    def mark_clickhouse_up(self) -> None:
        """Note that ClickHouse answered."""
        self._clickhouse_down = None
        self._clickhouse_up.set(1)

    def mark_clickhouse_down(self, why: str) -> None:
        """Note that ClickHouse did not answer, and is asked again."""
        since_s = self._monotonic_s() if self._clickhouse_down is None else self._clickhouse_down[0]
        self._clickhouse_down = (since_s, why)
        self.health.set_waiting(f"ClickHouse: {why}")
        self._errors.labels("clickhouse").inc()
        self._clickhouse_up.set(0)

    def mark_kafka_error(self, why: str) -> None:
        """Note that Kafka did not take a settlement, which is worked out again."""
        self.health.set_waiting(f"Kafka: {why}")
        self._errors.labels("kafka").inc()

    def problems(self) -> Iterator[Problem]:
        """Report what is wrong with the settler's work."""
        now_s, down = self._monotonic_s(), self._clickhouse_down
        if down is not None:
            found = list(clickhouse_problems(now_s - down[0], down[1]))
            if found:
                # It is the reason for everything else that waits.
                yield from found
                return
        waits_s = {appid: now_s - since_s for appid, since_s in self._waiting_since_s.items()}
        yield from settling_problems(waits_s, self._reasons)

    def _oldest_s(self) -> float:
        now_s = self._monotonic_s()
        return max((now_s - since_s for since_s in self._waiting_since_s.values()), default=0.0)

    def _counter(self, name: MetricName, meaning: str, *labels: str) -> Counter:
        return Counter(name, meaning, labels, registry=self.registry)

    def _gauge(self, name: MetricName, meaning: str) -> Gauge:
        return Gauge(name, meaning, registry=self.registry)
