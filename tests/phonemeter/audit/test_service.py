"""The audit as a service: metrics that say what the last audit came to."""

import re
from pathlib import Path
from typing import get_args

import pytest

from phonemeter.audit.figures import Figures
from phonemeter.audit.metrics import MetricName, Metrics
from phonemeter.audit.report import PartitionReport, Report
from phonemeter.audit.service import _audit_once
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


def test_the_page_lists_every_metric_and_no_other() -> None:
    listed = re.findall(r"^\| `(phonemeter_audit_\w+)", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(get_args(MetricName))
