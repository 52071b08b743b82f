"""The audit as a service: metrics that say what the last audit came to."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from metering.preconditions import BrokerView
from phonemeter.audit import service
from phonemeter.audit.apps_summary import AppsSummary, NearRunOut, StayingDifference
from phonemeter.audit.figures import LedgerFigures
from phonemeter.audit.metrics import AuditMetrics, MetricName
from phonemeter.audit.report import AuditReport, PartitionReport
from phonemeter.audit.service import _audit_once, _read_once
from phonemeter.errors import OperationError
from sinks.preconditions import Preconditions

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "audit.md"


def report(*, clean: bool) -> AuditReport:
    made = AuditReport(partitions=[PartitionReport(0, 10, 10, 9, 0, records=10)], took_s=0.5)
    if not clean:
        made.places["ClickHouse"].kinds["missing"] = 1
        made.places["ClickHouse"].drift = LedgerFigures(1, 1, 1, 30_000)
    return made


def value(metrics: AuditMetrics, name: MetricName, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_the_drift_is_a_gauge_per_place() -> None:
    metrics = AuditMetrics()
    metrics.record_audit(report(clean=False))
    assert value(metrics, "phonemeter_audit_drift_entries", place="clickhouse") == 1
    assert value(metrics, "phonemeter_audit_drift_micro_yuan", place="clickhouse") == 30_000
    assert value(metrics, "phonemeter_audit_drift_entries", place="ledger_topic") == 0
    metrics.record_audit(report(clean=True))
    assert value(metrics, "phonemeter_audit_drift_entries", place="clickhouse") == 0


def test_only_a_clean_audit_moves_the_time_of_the_last_clean_one() -> None:
    now_s = iter((100.0, 100.0, 200.0))
    metrics = AuditMetrics(lambda: next(now_s))
    metrics.record_audit(report(clean=True))
    metrics.record_audit(report(clean=False))
    assert value(metrics, "phonemeter_audit_last_timestamp_seconds") == 200
    assert value(metrics, "phonemeter_audit_last_clean_timestamp_seconds") == 100


def test_an_audit_that_cannot_be_carried_out_is_told_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    def away() -> AuditReport:
        raise OperationError("Kafka does not answer.")

    metrics = AuditMetrics()
    _audit_once(away, metrics)
    assert value(metrics, "phonemeter_audit_failures_total") == 1
    assert "Kafka does not answer." in caplog.text


def test_an_audit_beside_starting_services_does_not_wait_for_its_next_turn(
    monkeypatch: pytest.MonkeyPatch, free_port: Callable[[], int]
) -> None:
    monkeypatch.setattr(service, "RETRY_S", 0.01)
    tries = iter(
        (OperationError("Kafka does not answer."), OperationError("no ledger yet"), KeyboardInterrupt)
    )

    def starting() -> AuditReport:
        raise next(tries)

    service.audit_periodically(
        starting,
        lambda: AppsSummary(0),
        every_s=3_600,
        balances_every_s=3_600,
        preconditions=Preconditions(frozenset(), lambda: BrokerView({})),
        host="127.0.0.1",
        port=free_port(),
    )
    assert next(tries, None) is None


def test_the_last_audit_decides_whether_the_service_is_healthy() -> None:
    now_s = 1_000.0
    metrics = AuditMetrics(growing_s=lambda: now_s)
    metrics.set_interval(3_600)
    metrics.health.judge_by(Preconditions(frozenset(), lambda: BrokerView({})), metrics.problems)
    metrics.record_failure("Kafka does not answer.")
    assert [one.sentence for one in metrics.health.verdict().problems] == [
        "The audit is starting: Kafka does not answer."
    ]
    metrics.record_audit(report(clean=True))
    assert metrics.health.verdict().state == "healthy"
    metrics.record_audit(report(clean=False))
    assert [one.promise for one in metrics.health.verdict().problems] == ["agreeing"]
    metrics.record_audit(report(clean=True))
    metrics.record_failure("Kafka does not answer.")
    now_s += 3 * 3_600 + 1
    metrics.record_summary(AppsSummary(1))
    assert [one.sentence for one in metrics.health.verdict().problems] == [
        "No audit has ended for 3 h: Kafka does not answer."
    ]


def test_the_apps_nearest_to_trouble_are_gauges_until_they_are_not_near_any_more() -> None:
    metrics = AuditMetrics(lambda: 700.0)
    metrics.record_summary(
        AppsSummary(3, {"quick": 1, "realtime": 0}, (NearRunOut("wx1", "quick", 40, 86_400.0),))
    )
    assert value(metrics, "phonemeter_apps") == 3
    assert value(metrics, "phonemeter_apps_out_of_calls", capability="quick") == 1
    assert value(metrics, "phonemeter_app_calls_left", appid="wx1", capability="quick") == 40
    assert value(metrics, "phonemeter_app_run_out_seconds", appid="wx1", capability="quick") == 86_400
    assert value(metrics, "phonemeter_balances_last_timestamp_seconds") == 700
    metrics.record_summary(AppsSummary(3))
    assert value(metrics, "phonemeter_app_calls_left", appid="wx1", capability="quick") is None


def test_the_largest_differences_to_the_platform_are_gauges_while_they_stay() -> None:
    metrics = AuditMetrics()
    metrics.record_summary(
        AppsSummary(3, differing=21, differences=(StayingDifference("wx1", "quick", "p1", -4, 7_200),))
    )
    quota = {"appid": "wx1", "capability": "quick", "pack_id": "p1"}
    assert value(metrics, "phonemeter_apps_differing_quotas") == 21
    assert value(metrics, "phonemeter_app_difference_calls", **quota) == -4
    assert value(metrics, "phonemeter_app_difference_seconds", **quota) == 7_200
    metrics.record_summary(AppsSummary(3))
    assert value(metrics, "phonemeter_apps_differing_quotas") == 0
    assert value(metrics, "phonemeter_app_difference_calls", **quota) is None


def test_balances_that_cannot_be_read_are_told_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    def away() -> AppsSummary:
        raise OperationError("ClickHouse does not answer.")

    metrics = AuditMetrics()
    metrics.record_summary(AppsSummary(2))
    _read_once(away, metrics)
    assert value(metrics, "phonemeter_balances_failures_total") == 1
    assert value(metrics, "phonemeter_apps") == 2
    assert "ClickHouse does not answer." in caplog.text


def test_the_page_lists_every_metric_and_no_other() -> None:
    listed = re.findall(r"^\| `(phonemeter_\w+)", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(get_args(MetricName))
