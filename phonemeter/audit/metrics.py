"""The audit's metrics: every name in one place with its meaning; dashboards are tested against this list."""

import time
from collections.abc import Callable, Iterator
from typing import Final, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from phonemeter.audit.fleet import NEAREST_MAX, Fleet
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
    # Gauge: seconds from the begin of one audit to the next, as the service was told.
    "phonemeter_audit_interval_seconds",
    # Gauge: apps that the ledger knows.
    "phonemeter_apps",
    # Gauge by capability: apps that have no call left although some would be used.
    "phonemeter_apps_out_of_calls",
    # Gauge by app and capability, of those that run out first: calls that are left.
    "phonemeter_app_calls_left",
    # Gauge by app and capability, of those that run out first: seconds until then.
    "phonemeter_app_run_out_seconds",
    # Gauge: when the balances were read last, in seconds since 1970; 0 before the first time.
    "phonemeter_balances_last_timestamp_seconds",
    # Counter: times that the balances could not be read.
    "phonemeter_balances_failures_total",
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
        ProcessCollector(registry=self.registry)
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
        self.interval = self._gauge(
            "phonemeter_audit_interval_seconds", "From the begin of one audit to the next, as told"
        )
        self._fleet = _FleetCollector()
        self.registry.register(self._fleet)
        self._balances_last = self._gauge(
            "phonemeter_balances_last_timestamp_seconds", "When the balances were read last"
        )
        self._balances_failures = self._counter(
            "phonemeter_balances_failures_total", "Times that the balances could not be read"
        )

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

    def balances(self, fleet: Fleet | None) -> None:
        """Take note of the fleet's balances; None if they could not be read."""
        if fleet is None:
            self._balances_failures.inc()
            return
        self._fleet.fleet = fleet
        self._balances_last.set(self._now_s())

    def _counter(self, name: MetricName, meaning: str) -> Counter:
        return Counter(name, meaning, registry=self.registry)

    def _gauge(self, name: MetricName, meaning: str, *labels: str) -> Gauge:
        return Gauge(name, meaning, labels, registry=self.registry)


class _FleetCollector(Collector):
    """The fleet as it was read last, whole: an app that is not near any more has no series any more."""

    def __init__(self) -> None:
        self.fleet = Fleet()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        fleet = self.fleet
        yield _family("phonemeter_apps", "Apps that the ledger knows", {(): fleet.apps})
        yield _family(
            "phonemeter_apps_out_of_calls",
            "Apps that have no call left although some would be used",
            {(capability,): out for capability, out in fleet.out_of_calls.items()},
            "capability",
        )
        app = ("appid", "capability")
        yield _family(
            "phonemeter_app_calls_left",
            f"Calls left to each of the {NEAREST_MAX} that run out first",
            {(near.appid, near.capability): near.calls_left for near in fleet.nearest},
            *app,
        )
        yield _family(
            "phonemeter_app_run_out_seconds",
            f"Seconds from the ledger's newest time to the forecast run-out of the {NEAREST_MAX} nearest",
            {(near.appid, near.capability): near.run_out_s for near in fleet.nearest},
            *app,
        )


def _family(
    name: MetricName, meaning: str, values: dict[tuple[str, ...], float], *labels: str
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, meaning, labels=labels)
    for of, value in values.items():
        family.add_metric(of, value)
    return family
