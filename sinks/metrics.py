"""The sink's metrics, with one list of their names and meanings that dashboards are tested against."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from http_service.process_metrics import add_process_metrics
from metering.health import Problem
from metering.health_checks import HealthLimits
from sinks.health import Health
from sinks.health_inputs import HealthInputs

MetricName = Literal[
    # Counter: ledger entries stored, acknowledged by ClickHouse.
    "phonemeter_sink_rows_inserted_total",
    # Counter: INSERTs acknowledged; each is one part of one source partition.
    "phonemeter_sink_inserts_total",
    # Counter: attempts to reach or write ClickHouse that failed and were, or will be, tried again.
    "phonemeter_sink_insert_errors_total",
    # Counter: failures of Kafka, or of kafka-python, that were tried again.
    "phonemeter_sink_kafka_errors_total",
    # Counter: entries left out because they were stored already (published or delivered again).
    "phonemeter_sink_duplicate_rows_total",
    # Counter: partitions read again from their beginning: entries were lost, or the log is another one.
    "phonemeter_sink_rewinds_total",
    # Counter: requests for records that Kafka has and did not deliver.
    "phonemeter_sink_seeks_back_total",
    # Histogram: entries per INSERT.
    "phonemeter_sink_batch_rows",
    # Histogram: seconds per INSERT, acknowledgement included.
    "phonemeter_sink_insert_seconds",
    # Gauge by partition: records of phone-ledger that are not stored yet.
    "phonemeter_sink_lag_records",
    # Gauge by partition: time that the oldest entry that is not stored can have waited; 0 if none waits.
    "phonemeter_sink_lag_seconds",
    # Histogram: from an event's arrival at the broker until its entry is stored; the oldest of each INSERT.
    "phonemeter_sink_freshness_seconds",
    # Gauge: partitions of phone-ledger that the group gave this sink.
    "phonemeter_sink_assigned_partitions",
    # Counter: assignments of partitions to this sink.
    "phonemeter_sink_rebalances_total",
    # Gauge by partition: 1 while a record that cannot be stored stops the partition, else 0.
    "phonemeter_sink_stopped",
    # Gauge: seconds since the newest stored entry arrived at the broker; NaN before the first.
    "phonemeter_sink_newest_line_age_seconds",
    # Gauge: 1 while ClickHouse answers, 0 while a request is tried again.
    "phonemeter_sink_clickhouse_up",
    # Counter: rows stored in delivery_states; each sink counts its own.
    "phonemeter_sink_delivery_rows_total",
    # Counter: failures of reading or storing delivery states, which were tried again.
    "phonemeter_sink_delivery_failures_total",
    # Gauge: records of phone-deliveries that this sink has not read yet.
    "phonemeter_sink_delivery_lag_records",
    # Gauge by promise: 1 while it holds.
    "phonemeter_sink_healthy",
]

BATCH_ROWS: Final = (1, 10, 100, 1_000, 10_000, 50_000, 100_000, 200_000, 500_000, 1_000_000)
FRESHNESS_SECONDS: Final = (0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3_600, 86_400)
INSERT_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """Metrics of one sink, in a registry of its own."""

    def __init__(
        self, now_s: Callable[[], float] = time.time, monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        self.registry = CollectorRegistry()
        add_process_metrics(self.registry)
        health: MetricName = "phonemeter_sink_healthy"
        self.health = Health(health, "sink", monotonic_s)
        self.registry.register(self.health)
        self._inputs = HealthInputs(monotonic_s, now_s)
        self.newest_recorded_at_ms: int | None = None
        self._now_s = now_s
        self.rows_inserted = self._counter("phonemeter_sink_rows_inserted_total", "Ledger entries stored")
        self.inserts = self._counter("phonemeter_sink_inserts_total", "INSERTs acknowledged")
        self.insert_errors = self._counter(
            "phonemeter_sink_insert_errors_total", "Failed attempts to reach or write ClickHouse"
        )
        self.kafka_errors = self._counter(
            "phonemeter_sink_kafka_errors_total",
            "Failures of Kafka, or of its client, that were tried again",
        )
        self.duplicate_rows = self._counter(
            "phonemeter_sink_duplicate_rows_total", "Ledger entries left out because they were stored already"
        )
        self.rewinds = self._counter(
            "phonemeter_sink_rewinds_total",
            "Partitions read again because ClickHouse lost entries, or the log is another one",
        )
        self.seeks_back = self._counter(
            "phonemeter_sink_seeks_back_total", "Requests for records that Kafka has and did not deliver"
        )
        self.batch_rows = self._histogram(
            "phonemeter_sink_batch_rows", "Ledger entries per INSERT", BATCH_ROWS
        )
        self.insert_seconds = self._histogram(
            "phonemeter_sink_insert_seconds", "Seconds per INSERT, acknowledgement included", INSERT_SECONDS
        )
        self.lag_records = self._gauge(
            "phonemeter_sink_lag_records", "Ledger records not stored yet", "partition"
        )
        self._lag_seconds = self._gauge(
            "phonemeter_sink_lag_seconds",
            "Time that the oldest entry that is not stored yet can have waited; 0 if none waits",
            "partition",
        )
        self._freshness = self._histogram(
            "phonemeter_sink_freshness_seconds",
            "From an event's arrival at the broker until its entry is stored; the oldest of each INSERT",
            FRESHNESS_SECONDS,
        )
        self.assigned_partitions = self._gauge(
            "phonemeter_sink_assigned_partitions", "Partitions of phone-ledger that the group gave this sink"
        )
        self.rebalances = self._counter(
            "phonemeter_sink_rebalances_total", "Assignments of partitions to this sink"
        )
        self.stopped = self._gauge(
            "phonemeter_sink_stopped",
            "1 while a record that cannot be stored stops the partition",
            "partition",
        )
        self.clickhouse_up = self._gauge("phonemeter_sink_clickhouse_up", "1 while ClickHouse answers")
        self._gauge(
            "phonemeter_sink_newest_line_age_seconds", "Seconds since the newest stored entry arrived"
        ).set_function(self._newest_entry_age_s)
        self.delivery_rows = self._counter(
            "phonemeter_sink_delivery_rows_total", "Rows stored in delivery_states"
        )
        self.delivery_failures = self._counter(
            "phonemeter_sink_delivery_failures_total",
            "Failures of reading or storing delivery states, which were tried again",
        )
        self.delivery_lag_records = self._gauge(
            "phonemeter_sink_delivery_lag_records", "Records of phone-deliveries not read yet"
        )

    def saw_entry(self, recorded_at_ms: int) -> None:
        """Note when a stored entry arrived at the broker."""
        self.newest_recorded_at_ms = max(self.newest_recorded_at_ms or 0, recorded_at_ms)

    def observe_insert(
        self, partition: int, entries: int, seconds: float, *, oldest_ms: int, newest_ms: int
    ) -> None:
        """Note an INSERT, and when its oldest and its newest entry arrived at the broker."""
        self.inserts.inc()
        self.rows_inserted.inc(entries)
        self.batch_rows.observe(entries)
        self.insert_seconds.observe(seconds)
        self._freshness.observe(max(0.0, self._now_s() - oldest_ms / 1_000))
        self._inputs.set_stored(partition, newest_ms / 1_000)
        self.saw_entry(newest_ms)

    def set_lag(self, partition: int, next_offset: int, records: int) -> None:
        """Note the group's position in a partition, and the number of records behind it."""
        self._inputs.set_position(partition, next_offset, records)
        self.lag_records.labels(partition).set(records)
        waited_s = partial(self._inputs.waited_s, partition) if records else float
        self._lag_seconds.labels(partition).set_function(waited_s)

    def restart_partition(self, partition: int) -> None:
        """Note that a partition is read from its beginning, whatever had stopped it."""
        self._inputs.restart(partition)
        self.stopped.labels(partition).set(0)

    def mark_readable(self, partition: int) -> None:
        """Note that a partition can be read."""
        self._inputs.unreadable.remove(partition)

    def mark_unreadable(self, partition: int, why: str) -> None:
        """Note that a partition cannot be read now, and is tried again."""
        self._inputs.unreadable.add(partition, why)
        self.kafka_errors.inc()

    def mark_stopped(self, partition: int, reason: str) -> None:
        """Note that a partition is stopped."""
        self._inputs.stop(partition, reason)
        self.stopped.labels(partition).set(1)

    def forget_partition(self, partition: int) -> None:
        """Stop reporting a partition that was revoked."""
        self._inputs.forget(partition)
        for gauge in (self.lag_records, self._lag_seconds, self.stopped):
            gauge.remove_by_labels({"partition": str(partition)})

    def mark_clickhouse_up(self) -> None:
        """Note that ClickHouse did what it was asked."""
        self._inputs.set_clickhouse_up()
        self.clickhouse_up.set(1)

    def mark_clickhouse_down(self, why: str) -> None:
        """Note that ClickHouse did not, and is tried again."""
        self._inputs.set_clickhouse_down(why)
        self.health.set_waiting(f"ClickHouse: {why}")
        self.insert_errors.inc()
        self.clickhouse_up.set(0)

    def problems(self, limits: HealthLimits) -> Iterator[Problem]:
        """Report what is wrong with the sink's work."""
        return self._inputs.problems(limits)

    def _newest_entry_age_s(self) -> float:
        if self.newest_recorded_at_ms is None:
            return float("nan")
        return self._now_s() - self.newest_recorded_at_ms / 1_000

    def _counter(self, name: MetricName, meaning: str) -> Counter:
        return Counter(name, meaning, registry=self.registry)

    def _gauge(self, name: MetricName, meaning: str, *labels: str) -> Gauge:
        return Gauge(name, meaning, labels, registry=self.registry)

    def _histogram(self, name: MetricName, meaning: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(name, meaning, registry=self.registry, buckets=buckets)
