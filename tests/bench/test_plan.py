"""The plan is arithmetic: with round numbers everybody can do it by hand."""

from itertools import pairwise
from typing import Any

import pytest

from bench.plan import Assumed, Measured, as_table, planned

MEASURED = Measured(
    worker=10, sink=5, broker=5, engine=8, rows_per_event=1, row_bytes=25, events_bytes=60, ledger_bytes=40
)
ASSUMED = Assumed(
    calls_a_day=8_640_000_000,
    peak=3,
    busy=0.5,
    kafka_replicas=3,
    clickhouse_replicas=2,
    broker_cores=16,
    clickhouse_cores=32,
    shard_tb=20,
    core_hour_yuan=0.5,
    disk_gb_month_yuan=0.3,
    log_days=10,
    object_gb_month_yuan=0.1,
)


def test_the_plan_follows_from_what_is_measured_and_assumed() -> None:
    plan = planned(MEASURED, ASSUMED)
    assert (plan.mean_per_s, plan.peak_per_s) == (100_000, 300_000)
    # 10 s per million on half a core: 50,000 a second, so 6 workers for 300,000.
    assert (plan.partition_per_s, plan.workers, plan.partitions) == (50_000, 6, 16)
    # 0.3 million a second x 5 s / 0.5.
    assert plan.sinks == 3
    # The same, three times, is 9 cores: one machine would do, three hold the copies.
    assert plan.brokers == 3
    # 8.64e9 x 365 x 25 bytes = 78.84 TB, 20 TB each; the CPU alone would need one.
    assert (plan.rows_a_year_tb, plan.clickhouse_shards) == (78.8, 4)
    # 8.64e9 x 100 bytes = 0.864 TB a day.
    assert (plan.log_on_disk_tb, plan.log_a_year_tb) == (25.9, 315.4)
    assert plan.cores == 6 + 3 + 3 * 16 + 4 * 2 * 32
    assert plan.cores_yuan_a_day == plan.cores * 12
    disk_gb, object_gb = 78_840 * 2 + 25_920, 315_360
    assert plan.storage_yuan_a_day == round((disk_gb * 0.3 + object_gb * 0.1) / 30)
    assert plan.yuan_a_day == plan.cores_yuan_a_day + plan.storage_yuan_a_day


def test_more_calls_never_need_less() -> None:
    plans = [planned(MEASURED, Assumed(calls_a_day=10**power)) for power in range(6, 12)]
    for fewer, more in pairwise(plans):
        assert fewer.workers <= more.workers
        assert fewer.partitions <= more.partitions
        assert fewer.clickhouse_shards <= more.clickhouse_shards
        assert fewer.yuan_a_day < more.yuan_a_day


def lines() -> list[dict[str, Any]]:
    under = {"events": 100, "ledger_rows": 102}
    names = ("worker", "sink", "broker", "engine")
    cpu = [{"figure": f"end to end: CPU of the {name}", "value": 9, "under": under} for name in names]
    storage = ("curves: storage", "storage: topic phone-events, lz4", "storage: topic phone-ledger")
    return cpu + [{"figure": name, "value": 30, "under": under} for name in storage]


def test_the_plan_takes_the_last_of_each_figure() -> None:
    measured = Measured.of([*lines(), {"peer": "another"}, {**lines()[0], "value": 12}])
    assert (measured.worker, measured.sink, measured.row_bytes) == (12, 9, 30)
    assert measured.rows_per_event == pytest.approx(1.02)


def test_a_plan_without_figures_says_which_are_missing() -> None:
    with pytest.raises(ValueError, match=r"storage: topic phone-ledger$"):
        Measured.of(lines()[:-1])


def test_every_row_says_where_it_comes_from() -> None:
    table = as_table(MEASURED, ASSUMED, planned(MEASURED, ASSUMED))
    assert all(row.count("|") == 4 for row in table)
