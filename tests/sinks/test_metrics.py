"""The sink's metrics: names, ages and lags."""

import math
from typing import get_args

from prometheus_client import generate_latest

from http_service.process_metrics import OF_EVERY_SERVICE
from sinks.metrics import MetricName, Metrics


def exposed(metrics: Metrics) -> dict[str, float]:
    lines = [line for line in generate_latest(metrics.registry).decode().splitlines() if line[0] != "#"]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def test_the_names_that_are_exposed_are_those_that_are_listed() -> None:
    names = {
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in Metrics().registry.collect()
        if not family.name.startswith(OF_EVERY_SERVICE)
    }
    assert names == set(get_args(MetricName))


def test_freshness_is_the_age_of_the_newest_stored_line() -> None:
    now_s = 1_000.0
    metrics = Metrics(lambda: now_s)
    assert math.isnan(exposed(metrics)["phonemeter_sink_newest_line_age_seconds"])
    metrics.saw_entry(990_000)
    metrics.saw_entry(980_000)
    assert exposed(metrics)["phonemeter_sink_newest_line_age_seconds"] == 10.0
    now_s = 1_005.0
    assert exposed(metrics)["phonemeter_sink_newest_line_age_seconds"] == 15.0


def test_a_partition_that_moved_is_not_reported_any_more() -> None:
    metrics = Metrics()
    metrics.set_lag(2, 10, 7)
    metrics.restart_partition(2)
    metrics.forget_partition(2)
    assert not [name for name in exposed(metrics) if 'partition="' in name]
    metrics.forget_partition(2)


def test_lag_in_seconds_counts_from_the_newest_stored_line_and_is_nothing_where_nothing_waits() -> None:
    now_s = 1_000.0
    metrics = Metrics(lambda: now_s)
    lag = 'phonemeter_sink_lag_seconds{partition="2"}'
    metrics.set_lag(2, 10, 5)
    now_s = 1_010.0
    assert exposed(metrics)[lag] == 10.0
    metrics.observe_insert(2, 10, 0.1, oldest_ms=400_000, newest_ms=950_000)
    assert exposed(metrics)[lag] == 60.0
    metrics.set_lag(2, 15, 0)
    assert exposed(metrics)[lag] == 0.0
    now_s = 1_020.0
    metrics.set_lag(2, 15, 1)
    assert exposed(metrics)[lag] == 10.0


def test_an_insert_is_as_fresh_as_its_oldest_line() -> None:
    metrics = Metrics(lambda: 1_000.0)
    metrics.observe_insert(0, 10, 0.1, oldest_ms=996_000, newest_ms=999_000)
    seen = exposed(metrics)
    assert seen["phonemeter_sink_freshness_seconds_sum"] == 4.0
    assert seen["phonemeter_sink_newest_line_age_seconds"] == 1.0
