"""The audit's metrics: every name in one place with its meaning; dashboards are tested against this list."""

import time
from collections.abc import Callable, Iterator
from typing import Final, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from http_service.process_metrics import add_process_metrics
from metering.health import Problem
from metering.health_checks import AuditFindings, audit_problems
from phonemeter.audit.apps_summary import NEAREST_MAX, AppsSummary
from phonemeter.audit.report import PLACES, AuditReport
from sinks.health import Health

MetricName = Literal[
    # Gauge by place: entries or letters in which a place differs from the rules.
    "phonemeter_audit_drift_entries",
    # Gauge by place: calls charged too many or too few there, added up without cancelling.
    "phonemeter_audit_drift_calls",
    # Gauge by place: the same in micro-yuan.
    "phonemeter_audit_drift_micro_yuan",
    # Gauge: events that were counted more than once because they came back beyond the window.
    "phonemeter_audit_repeated_events",
    # Gauge: packs that were in two apps at once.
    "phonemeter_audit_shared_packs",
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
    # Gauge: seconds from the beginning of one audit to the next, as configured.
    "phonemeter_audit_interval_seconds",
    # Gauge: apps in the ledger.
    "phonemeter_apps",
    # Gauge by capability: apps that have no call left although some would be used.
    "phonemeter_apps_out_of_calls",
    # Gauge by app and capability, of those that run out first: calls that are left.
    "phonemeter_app_calls_left",
    # Gauge by app and capability, of those that run out first: seconds until then.
    "phonemeter_app_run_out_seconds",
    # Gauge: packs and trial quotas whose difference to the platform's count stays.
    "phonemeter_apps_differing_quotas",
    # Gauge by app, capability and pack, of the largest that stay: calls that the platform counts more.
    "phonemeter_app_difference_calls",
    # Gauge by app, capability and pack, of the same: seconds for which the difference is the same.
    "phonemeter_app_difference_seconds",
    # Gauge: when the balances were read last, in seconds since 1970; 0 before the first time.
    "phonemeter_balances_last_timestamp_seconds",
    # Counter: times that the balances could not be read.
    "phonemeter_balances_failures_total",
    # Gauge by promise: 1 while it holds.
    "phonemeter_audit_healthy",
]

PLACE_LABELS: Final = {
    "phone-ledger": "ledger_topic",
    "ClickHouse": "clickhouse",
    "phone-dead-letters": "dead_letters",
}


class AuditMetrics:
    """The metrics of one audit service, in a registry of their own."""

    def __init__(
        self, now_s: Callable[[], float] = time.time, growing_s: Callable[[], float] = time.monotonic
    ) -> None:
        self.registry = CollectorRegistry()
        add_process_metrics(self.registry)
        self._now_s = now_s
        self._growing_s = growing_s
        self._interval_s = 0.0
        self._report: AuditReport | None = None
        self._failure = ""
        self._ended_s = self._balances_s = growing_s()
        name: MetricName = "phonemeter_audit_healthy"
        self.health = Health(name, "audit", has_loop=False)
        self.registry.register(self.health)
        self._entries = self._gauge("phonemeter_audit_drift_entries", "Lines that differ", "place")
        self._calls = self._gauge("phonemeter_audit_drift_calls", "Calls charged that differ", "place")
        self._micro_yuan = self._gauge("phonemeter_audit_drift_micro_yuan", "Money that differs", "place")
        self._repeated = self._gauge(
            "phonemeter_audit_repeated_events", "Events counted more than once beyond the window"
        )
        self._shared_packs = self._gauge(
            "phonemeter_audit_shared_packs", "Packs that were in two apps at once"
        )
        self._records = self._gauge("phonemeter_audit_records", "Records that the last audit covered")
        self._seconds = self._gauge("phonemeter_audit_seconds", "Seconds that the last audit took")
        self._last = self._gauge("phonemeter_audit_last_timestamp_seconds", "When the last audit ended")
        self._last_clean = self._gauge(
            "phonemeter_audit_last_clean_timestamp_seconds", "When the last clean audit ended"
        )
        self._failures = self._counter("phonemeter_audit_failures_total", "Audits not carried out")
        self._interval = self._gauge(
            "phonemeter_audit_interval_seconds", "From the begin of one audit to the next, as told"
        )
        self._summary_collector = _SummaryCollector()
        self.registry.register(self._summary_collector)
        self._balances_last = self._gauge(
            "phonemeter_balances_last_timestamp_seconds", "When the balances were read last"
        )
        self._balances_failures = self._counter(
            "phonemeter_balances_failures_total", "Times that the balances could not be read"
        )

    def set_interval(self, interval_s: float) -> None:
        """Set the interval between audits."""
        self._interval_s = interval_s
        self._interval.set(interval_s)

    def record_failure(self, why: str) -> None:
        """Record an audit that could not be carried out."""
        self._failures.inc()
        self._failure = why
        self.health.set_waiting(why)

    def problems(self) -> Iterator[Problem]:
        """The problems after the last audit and the last reading of balances."""
        now_s = self._growing_s()
        report = self._report
        drift = {str(place): report.places[place].drift.entries for place in PLACES} if report else {}
        yield from audit_problems(
            AuditFindings(
                self._interval_s, now_s - self._ended_s, self._failure, drift, now_s - self._balances_s
            )
        )

    def record_audit(self, report: AuditReport) -> None:
        """Record an audit."""
        for place in PLACES:
            drift = report.places[place].drift
            self._entries.labels(PLACE_LABELS[place]).set(drift.entries)
            self._calls.labels(PLACE_LABELS[place]).set(drift.calls)
            self._micro_yuan.labels(PLACE_LABELS[place]).set(drift.micro_yuan)
        self._repeated.set(len(report.repeated))
        self._shared_packs.set(len(report.shared_packs))
        self._records.set(sum(partition.records for partition in report.partitions))
        self._seconds.set(report.took_s)
        self._last.set(self._now_s())
        if report.clean:
            self._last_clean.set(self._now_s())
        self._report, self._failure, self._ended_s = report, "", self._growing_s()
        self.health.record_turn()

    def record_summary(self, summary: AppsSummary | None) -> None:
        """Record the summary of all apps; None if it could not be read."""
        if summary is None:
            self._balances_failures.inc()
            return
        self._summary_collector.summary = summary
        self._balances_s = self._growing_s()
        self._balances_last.set(self._now_s())

    def _counter(self, name: MetricName, meaning: str) -> Counter:
        return Counter(name, meaning, registry=self.registry)

    def _gauge(self, name: MetricName, meaning: str, *labels: str) -> Gauge:
        return Gauge(name, meaning, labels, registry=self.registry)


class _SummaryCollector(Collector):
    """A collector of the last summary: an app that leaves it has no series any more."""

    def __init__(self) -> None:
        self.summary = AppsSummary()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        summary = self.summary
        yield _family("phonemeter_apps", "Apps that the ledger knows", {(): summary.apps})
        yield _family(
            "phonemeter_apps_out_of_calls",
            "Apps that have no call left although some would be used",
            {(capability,): out for capability, out in summary.out_of_calls.items()},
            "capability",
        )
        app = ("appid", "capability")
        yield _family(
            "phonemeter_app_calls_left",
            f"Calls left to each of the {NEAREST_MAX} that run out first",
            {(near.appid, near.capability): near.calls_left for near in summary.nearest},
            *app,
        )
        yield _family(
            "phonemeter_app_run_out_seconds",
            f"Seconds from now to the forecast run-out of the {NEAREST_MAX} nearest",
            {(near.appid, near.capability): near.run_out_s for near in summary.nearest},
            *app,
        )
        yield _family(
            "phonemeter_apps_differing_quotas",
            "Packs and trial quotas whose difference to the platform's count stays",
            {(): summary.differing},
        )
        quota = ("appid", "capability", "pack_id")
        yield _family(
            "phonemeter_app_difference_calls",
            f"Calls that the platform counts more than the ledger, of the {NEAREST_MAX} largest that stay",
            {(one.appid, one.capability, one.pack_id): one.calls for one in summary.differences},
            *quota,
        )
        yield _family(
            "phonemeter_app_difference_seconds",
            f"Seconds for which the difference is the same, of the {NEAREST_MAX} largest that stay",
            {(one.appid, one.capability, one.pack_id): one.lasting_s for one in summary.differences},
            *quota,
        )


def _family(
    name: MetricName, meaning: str, values: dict[tuple[str, ...], float], *labels: str
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, meaning, labels=labels)
    for of, value in values.items():
        family.add_metric(of, value)
    return family
