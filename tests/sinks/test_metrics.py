"""The sink's metrics: what is exposed is what is listed."""

import math
from typing import get_args

from prometheus_client import generate_latest

from sinks.metrics import MetricName, Metrics


def exposed(metrics: Metrics) -> dict[str, float]:
    lines = (line for line in generate_latest(metrics.registry).decode().splitlines() if line[0] != "#")
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def test_the_names_that_are_exposed_are_those_that_are_listed() -> None:
    names = {
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in Metrics().registry.collect()
    }
    assert names == set(get_args(MetricName))


def test_freshness_is_the_age_of_the_newest_stored_line() -> None:
    now_s = 1_000.0
    metrics = Metrics(lambda: now_s)
    assert math.isnan(exposed(metrics)["phonemeter_sink_newest_line_age_seconds"])
    metrics.saw_line(990_000)
    metrics.saw_line(980_000)
    assert exposed(metrics)["phonemeter_sink_newest_line_age_seconds"] == 10.0
    now_s = 1_005.0
    assert exposed(metrics)["phonemeter_sink_newest_line_age_seconds"] == 15.0


def test_a_partition_that_moved_is_not_reported_any_more() -> None:
    metrics = Metrics()
    metrics.lag_records.labels(2).set(7)
    metrics.stopped.labels(2).set(0)
    metrics.forget_partition(2)
    assert not [name for name in exposed(metrics) if "partition" in name]
    metrics.forget_partition(2)
