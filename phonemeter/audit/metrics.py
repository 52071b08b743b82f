"""The audit's metrics: every name in one place with its meaning; dashboards are tested against this list."""

import time
from collections.abc import Callable
from typing import Final, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge

from phonemeter.audit.report import PLACES, Report

MetricName = Literal[
    # Gauge by place: lines or letters in which a place differs from the rules; 0 is the truth.
    "phonemeter_audit_drift_entries",
    # Gauge by place: calls charged too many or too few there, added up without cancelling.
    "phonemeter_audit_drift_calls",
    # Gauge by place: the same in micro-yuan.
    "phonemeter_audit_drift_micro_yuan",
    # Gauge: events that were counted more than once because they came back beyond the window.
    "phonemeter_audit_repeated_events",
    # Gauge: records of the log that the last audit covered.
    "phonemeter_audit_records",
    # Gauge: seconds that the last audit took.
    "phonemeter_audit_seconds",
    # Gauge: when the last audit ended, in seconds since 1970; 0 before the first.
    "phonemeter_audit_last_timestamp_seconds",
    # Gauge: when the last audit ended that found no difference, in seconds since 1970; 0 before the first.
    "phonemeter_audit_last_clean_timestamp_seconds",
    # Counter: audits that could not be carried out, for example because ClickHouse was away.
    "phonemeter_audit_failures_total",
]

PLACE_LABELS: Final = {
    "phone-ledger": "ledger_topic",
    "ClickHouse": "clickhouse",
    "phone-dead-letters": "dead_letters",
}


class Metrics:
    """The metrics of one audit service, in a registry of their own."""

    def __init__(self, now_s: Callable[[], float] = time.time) -> None:
        self.registry = CollectorRegistry()
        self._now_s = now_s
        self._entries = self._gauge("phonemeter_audit_drift_entries", "Lines that differ", "place")
        self._calls = self._gauge("phonemeter_audit_drift_calls", "Calls charged that differ", "place")
        self._micro_yuan = self._gauge("phonemeter_audit_drift_micro_yuan", "Money that differs", "place")
        self._repeated = self._gauge(
            "phonemeter_audit_repeated_events", "Events counted more than once beyond the window"
        )
        self._records = self._gauge("phonemeter_audit_records", "Records that the last audit covered")
        self._seconds = self._gauge("phonemeter_audit_seconds", "Seconds that the last audit took")
        self._last = self._gauge("phonemeter_audit_last_timestamp_seconds", "When the last audit ended")
        self._last_clean = self._gauge(
            "phonemeter_audit_last_clean_timestamp_seconds", "When the last clean audit ended"
        )
        self._failures = self._counter("phonemeter_audit_failures_total", "Audits not carried out")

    def failed(self) -> None:
        """Take note of an audit that could not be carried out."""
        self._failures.inc()

    def audited(self, report: Report) -> None:
        """Take note of an audit."""
        for place in PLACES:
            drift = report.places[place].drift
            self._entries.labels(PLACE_LABELS[place]).set(drift.entries)
            self._calls.labels(PLACE_LABELS[place]).set(drift.calls)
            self._micro_yuan.labels(PLACE_LABELS[place]).set(drift.micro_yuan)
        self._repeated.set(len(report.repeated))
        self._records.set(sum(partition.records for partition in report.partitions))
        self._seconds.set(report.took_s)
        self._last.set(self._now_s())
        if report.clean:
            self._last_clean.set(self._now_s())

    def _counter(self, name: MetricName, meaning: str) -> Counter:
        return Counter(name, meaning, registry=self.registry)

    def _gauge(self, name: MetricName, meaning: str, *labels: str) -> Gauge:
        return Gauge(name, meaning, labels, registry=self.registry)
