"""The audit as a service: metrics that say what the last audit came to."""

import re
from pathlib import Path
from typing import get_args

import pytest

from phonemeter.audit.figures import Figures
from phonemeter.audit.fleet import Fleet, Near
from phonemeter.audit.metrics import MetricName, Metrics
from phonemeter.audit.report import PartitionReport, Report
from phonemeter.audit.service import _audit_once, _read_once
from phonemeter.errors import OperationError

PAGE = Path(__file__).parents[3] / "docs" / "audit.md"


def report(*, clean: bool) -> Report:
    made = Report(partitions=[PartitionReport(0, 10, 10, 9, 0, records=10)], took_s=0.5)
    if not clean:
        made.places["ClickHouse"].kinds["missing"] = 1
        made.places["ClickHouse"].drift = Figures(1, 1, 1, 30_000)
    return made


def value(metrics: Metrics, name: MetricName, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_the_drift_is_a_gauge_per_place() -> None:
    metrics = Metrics()
    metrics.audited(report(clean=False))
    assert value(metrics, "phonemeter_audit_drift_entries", place="clickhouse") == 1
    assert value(metrics, "phonemeter_audit_drift_micro_yuan", place="clickhouse") == 30_000
    assert value(metrics, "phonemeter_audit_drift_entries", place="ledger_topic") == 0
    metrics.audited(report(clean=True))
    assert value(metrics, "phonemeter_audit_drift_entries", place="clickhouse") == 0


def test_only_a_clean_audit_moves_the_time_of_the_last_clean_one() -> None:
    now_s = iter((100.0, 100.0, 200.0))
    metrics = Metrics(lambda: next(now_s))
    metrics.audited(report(clean=True))
    metrics.audited(report(clean=False))
    assert value(metrics, "phonemeter_audit_last_timestamp_seconds") == 200
    assert value(metrics, "phonemeter_audit_last_clean_timestamp_seconds") == 100


def test_an_audit_that_cannot_be_carried_out_is_told_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    def away() -> Report:
        raise OperationError("Kafka does not answer.")

    metrics = Metrics()
    _audit_once(away, metrics)
    assert value(metrics, "phonemeter_audit_failures_total") == 1
    assert "Kafka does not answer." in caplog.text


def test_the_apps_nearest_to_trouble_are_gauges_until_they_are_not_near_any_more() -> None:
    metrics = Metrics(lambda: 700.0)
    metrics.balances(Fleet(3, {"quick": 1, "realtime": 0}, (Near("wx1", "quick", 40, 86_400.0),)))
    assert value(metrics, "phonemeter_apps") == 3
    assert value(metrics, "phonemeter_apps_out_of_calls", capability="quick") == 1
    assert value(metrics, "phonemeter_app_calls_left", appid="wx1", capability="quick") == 40
    assert value(metrics, "phonemeter_app_run_out_seconds", appid="wx1", capability="quick") == 86_400
    assert value(metrics, "phonemeter_balances_last_timestamp_seconds") == 700
    metrics.balances(Fleet(3))
    assert value(metrics, "phonemeter_app_calls_left", appid="wx1", capability="quick") is None


def test_balances_that_cannot_be_read_are_told_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    def away() -> Fleet:
        raise OperationError("ClickHouse does not answer.")

    metrics = Metrics()
    metrics.balances(Fleet(2))
    _read_once(away, metrics)
    assert value(metrics, "phonemeter_balances_failures_total") == 1
    assert value(metrics, "phonemeter_apps") == 2
    assert "ClickHouse does not answer." in caplog.text


def test_the_page_lists_every_metric_and_no_other() -> None:
    listed = re.findall(r"^\| `(phonemeter_\w+)", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(get_args(MetricName))
