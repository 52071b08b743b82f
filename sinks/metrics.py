"""The sink's metrics: every name in one place with its meaning; dashboards are tested against this list."""

import time
from collections.abc import Callable
from functools import partial
from typing import Final, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

MetricName = Literal[
    # Counter: lines stored, acknowledged by ClickHouse.
    "phonemeter_sink_rows_inserted_total",
    # Counter: INSERTs acknowledged; each is one part of one source partition.
    "phonemeter_sink_inserts_total",
    # Counter: attempts to reach or write ClickHouse that failed and were, or will be, tried again.
    "phonemeter_sink_insert_errors_total",
    # Counter: lines left out because they were stored already (published or delivered again).
    "phonemeter_sink_duplicate_rows_total",
    # Counter: times a partition was read again from its beginning because ClickHouse lost acknowledged lines.
    "phonemeter_sink_rewinds_total",
    # Counter: times that records which Kafka has were not delivered and were asked for again.
    "phonemeter_sink_seeks_back_total",
    # Histogram: lines per INSERT.
    "phonemeter_sink_batch_rows",
    # Histogram: seconds per INSERT, acknowledgement included.
    "phonemeter_sink_insert_seconds",
    # Gauge by partition: records of phone-ledger that are not stored yet.
    "phonemeter_sink_lag_records",
    # Gauge by partition: how long the oldest line that is not stored can have waited; 0 if none waits.
    "phonemeter_sink_lag_seconds",
    # Histogram: from an event's arrival at the broker to its line being stored; the oldest of each INSERT.
    "phonemeter_sink_freshness_seconds",
    # Gauge: partitions of phone-ledger that the group gave this sink.
    "phonemeter_sink_assigned_partitions",
    # Counter: times this sink was given partitions.
    "phonemeter_sink_rebalances_total",
    # Gauge by partition: 1 while a record that cannot be stored stops the partition, else 0.
    "phonemeter_sink_stopped",
    # Gauge: seconds since the newest stored line arrived at the broker; NaN before the first.
    "phonemeter_sink_newest_line_age_seconds",
    # Gauge: 1 while ClickHouse answers, 0 while it is tried again.
    "phonemeter_sink_clickhouse_up",
    # Counter: rows stored of what became of alerts; each sink counts what it wrote itself.
    "phonemeter_sink_delivery_rows_total",
    # Counter: times that following the deliveries failed and was begun again.
    "phonemeter_sink_delivery_failures_total",
    # Gauge: records of phone-deliveries that this sink has not read yet.
    "phonemeter_sink_delivery_lag_records",
]

BATCH_ROWS: Final = (1, 10, 100, 1_000, 10_000, 50_000, 100_000, 200_000, 500_000, 1_000_000)
FRESHNESS_SECONDS: Final = (0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3_600, 86_400)
INSERT_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """The metrics of one sink, in a registry of their own."""

    def __init__(self, now_s: Callable[[], float] = time.time) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.newest_recorded_at_ms: int | None = None
        self._now_s = now_s
        self._behind_since_s: dict[int, float] = {}
        self.rows_inserted = self._counter("phonemeter_sink_rows_inserted_total", "Lines stored")
        self.inserts = self._counter("phonemeter_sink_inserts_total", "INSERTs acknowledged")
        self.insert_errors = self._counter(
            "phonemeter_sink_insert_errors_total", "Attempts to reach or write ClickHouse that failed"
        )
        self.duplicate_rows = self._counter(
            "phonemeter_sink_duplicate_rows_total", "Lines left out because they were stored already"
        )
        self.rewinds = self._counter(
            "phonemeter_sink_rewinds_total", "Partitions read again because ClickHouse lost lines"
        )
        self.seeks_back = self._counter(
            "phonemeter_sink_seeks_back_total", "Times that records not delivered were asked for again"
        )
        self.batch_rows = self._histogram("phonemeter_sink_batch_rows", "Lines per INSERT", BATCH_ROWS)
        self.insert_seconds = self._histogram(
            "phonemeter_sink_insert_seconds", "Seconds per INSERT, acknowledgement included", INSERT_SECONDS
        )
        self.lag_records = self._gauge(
            "phonemeter_sink_lag_records", "Ledger records not stored yet", "partition"
        )
        self._lag_seconds = self._gauge(
            "phonemeter_sink_lag_seconds",
            "How long the oldest line that is not stored yet can have waited; 0 if none waits",
            "partition",
        )
        self._freshness = self._histogram(
            "phonemeter_sink_freshness_seconds",
            "From an event's arrival at the broker to its line being stored; the oldest of each INSERT",
            FRESHNESS_SECONDS,
        )
        self.assigned_partitions = self._gauge(
            "phonemeter_sink_assigned_partitions", "Partitions of phone-ledger that the group gave this sink"
        )
        self.rebalances = self._counter(
            "phonemeter_sink_rebalances_total", "Times this sink was given partitions"
        )
        self.stopped = self._gauge(
            "phonemeter_sink_stopped",
            "1 while a record that cannot be stored stops the partition",
            "partition",
        )
        self.clickhouse_up = self._gauge("phonemeter_sink_clickhouse_up", "1 while ClickHouse answers")
        self._gauge(
            "phonemeter_sink_newest_line_age_seconds", "Seconds since the newest stored line arrived"
        ).set_function(self._newest_line_age_s)
        self.delivery_rows = self._counter(
            "phonemeter_sink_delivery_rows_total", "Rows stored about what became of alerts"
        )
        self.delivery_failures = self._counter(
            "phonemeter_sink_delivery_failures_total",
            "Times that reading or storing what became of alerts failed and was begun again",
        )
        self.delivery_lag_records = self._gauge(
            "phonemeter_sink_delivery_lag_records", "Records about what became of alerts, not read yet"
        )

    def saw_line(self, recorded_at_ms: int) -> None:
        """Take note of a stored line's arrival at the broker."""
        self.newest_recorded_at_ms = max(self.newest_recorded_at_ms or 0, recorded_at_ms)

    def stored(self, partition: int, oldest_ms: int, newest_ms: int) -> None:
        """Take note of an INSERT: when its oldest and its newest line arrived at the broker."""
        self._freshness.observe(max(0.0, self._now_s() - oldest_ms / 1_000))
        self._behind_since_s[partition] = newest_ms / 1_000
        self.saw_line(newest_ms)

    def lags(self, partition: int, records: int) -> None:
        """Take note of how many records of a partition are not stored yet."""
        if not records or partition not in self._behind_since_s:
            self._behind_since_s[partition] = self._now_s()
        self.lag_records.labels(partition).set(records)
        waited = partial(self._waited_s, partition) if records else float
        self._lag_seconds.labels(partition).set_function(waited)

    def forget_partition(self, partition: int) -> None:
        """Stop reporting a partition that another sink has taken over."""
        self._behind_since_s.pop(partition, None)
        for gauge in (self.lag_records, self._lag_seconds, self.stopped):
            gauge.remove_by_labels({"partition": str(partition)})

    def _waited_s(self, partition: int) -> float:
        now_s = self._now_s()
        return max(0.0, now_s - self._behind_since_s.get(partition, now_s))

    def _newest_line_age_s(self) -> float:
        if self.newest_recorded_at_ms is None:
            return float("nan")
        return self._now_s() - self.newest_recorded_at_ms / 1_000

    def _counter(self, name: MetricName, meaning: str) -> Counter:
        return Counter(name, meaning, registry=self.registry)

    def _gauge(self, name: MetricName, meaning: str, *labels: str) -> Gauge:
        return Gauge(name, meaning, labels, registry=self.registry)

    def _histogram(self, name: MetricName, meaning: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(name, meaning, registry=self.registry, buckets=buckets)
