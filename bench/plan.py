"""A capacity plan for ten billion calls a day, calculated from the measured figures.

`python -m bench.plan LINES` reads the lines that `make bench` printed and prints the plan. Everything that is
not measured is an assumption, and is named as one: change it there and calculate again.
"""

import argparse
import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

SECONDS_A_DAY: Final = 86_400
DAYS_A_YEAR: Final = 365
HOURS_A_DAY: Final = 24
DAYS_A_MONTH: Final = 30
MILLION: Final = 1_000_000
GB: Final = 1e9
TB: Final = 1e12


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The measurements that the plan needs, per event and on this machine.

    Attributes:
        worker, sink, broker, engine: seconds of CPU per million events (of the sink per million rows).
        rows_per_event: ledger rows.
        row_bytes: of a ledger row in ClickHouse, projections and indexes included.
        events_bytes, ledger_bytes: of an event in each topic on one broker's disk.
    """

    worker: float
    sink: float
    broker: float
    engine: float
    rows_per_event: float
    row_bytes: float
    events_bytes: float
    ledger_bytes: float

    @staticmethod
    def of(lines: Iterable[Mapping[str, Any]]) -> "Measured":
        """Take them from the lines of `make bench`; of a figure that is there twice the last counts.

        Raises:
            ValueError: a figure is missing.
        """
        found = {line["figure"]: line for line in lines if "figure" in line}
        missing = sorted(set(_FIGURES.values()) - found.keys())
        if missing:
            raise ValueError(f"the plan needs figures that are not there: {', '.join(missing)}")
        values = {name: float(found[figure]["value"]) for name, figure in _FIGURES.items()}
        under = found[_FIGURES["sink"]]["under"]
        return Measured(**values, rows_per_event=under["ledger_rows"] / under["events"])


_FIGURES: Final = {
    "worker": "end to end: CPU of the worker",
    "sink": "end to end: CPU of the sink",
    "broker": "end to end: CPU of the broker",
    "engine": "end to end: CPU of the engine",
    "row_bytes": "curves: storage",
    "events_bytes": "storage: topic phone-events, lz4",
    "ledger_bytes": "storage: topic phone-ledger",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumed:
    """The assumptions of the plan. Prices are in yuan; ask your own provider for them.

    Attributes:
        calls_a_day: the load.
        peak: the busiest second, of the mean one.
        busy: how much of a core may be in use at the peak.
        kafka_replicas, clickhouse_replicas: copies of everything.
        broker_cores, clickhouse_cores: of one machine of each.
        shard_tb: what the disks of one ClickHouse machine hold.
        core_hour_yuan: price of a core for an hour, memory included.
        disk_gb_month_yuan: price of a gigabyte on an SSD for a month.
        log_days: how long events and ledger stay on the brokers' disks before they move to object storage.
        object_gb_month_yuan: price of a gigabyte there for a month.
    """

    calls_a_day: int = 10_000_000_000
    peak: float = 3.0
    busy: float = 0.6
    kafka_replicas: int = 3
    clickhouse_replicas: int = 2
    broker_cores: int = 16
    clickhouse_cores: int = 32
    shard_tb: float = 30.0
    core_hour_yuan: float = 0.30
    disk_gb_month_yuan: float = 0.50
    log_days: int = 7
    object_gb_month_yuan: float = 0.12


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacityPlan:
    """The plan. Every number follows from the two above; see `planned`."""

    mean_per_s: int
    peak_per_s: int
    partition_per_s: int
    workers: int
    partitions: int
    sinks: int
    brokers: int
    clickhouse_shards: int
    rows_a_year_tb: float
    log_on_disk_tb: float
    log_a_year_tb: float
    cores: int
    cores_yuan_a_day: int
    storage_yuan_a_day: int

    @property
    def yuan_a_day(self) -> int:
        """All of it."""
        return self.cores_yuan_a_day + self.storage_yuan_a_day


def planned(measured: Measured, assumed: Assumed) -> CapacityPlan:
    """Calculate the plan. Storage is that of a first full year, which is kept."""
    mean_per_s = assumed.calls_a_day / SECONDS_A_DAY
    peak_per_s = mean_per_s * assumed.peak
    # Millions of events at the peak, and how many seconds of a core there are for each second.
    load = peak_per_s / MILLION / assumed.busy
    partition_per_s = MILLION / measured.worker * assumed.busy
    workers = math.ceil(peak_per_s / partition_per_s)
    sinks = math.ceil(load * measured.sink * measured.rows_per_event)
    broker_cores = load * measured.broker * assumed.kafka_replicas
    brokers = max(assumed.kafka_replicas, math.ceil(broker_cores / assumed.broker_cores))
    rows_a_year_tb = assumed.calls_a_day * DAYS_A_YEAR * measured.rows_per_event * measured.row_bytes / TB
    shards = max(
        math.ceil(load * measured.engine / assumed.clickhouse_cores),
        math.ceil(rows_a_year_tb / assumed.shard_tb),
    )
    log_a_day_tb = assumed.calls_a_day * (measured.events_bytes + measured.ledger_bytes) / TB
    log_on_disk_tb = log_a_day_tb * assumed.log_days * assumed.kafka_replicas
    cores = (
        workers
        + sinks
        + brokers * assumed.broker_cores
        + shards * assumed.clickhouse_replicas * assumed.clickhouse_cores
    )
    on_disks_gb = (rows_a_year_tb * assumed.clickhouse_replicas + log_on_disk_tb) * TB / GB
    in_objects_gb = log_a_day_tb * DAYS_A_YEAR * TB / GB
    storage_yuan_a_month = (
        on_disks_gb * assumed.disk_gb_month_yuan + in_objects_gb * assumed.object_gb_month_yuan
    )
    return CapacityPlan(
        mean_per_s=round(mean_per_s),
        peak_per_s=round(peak_per_s),
        partition_per_s=round(partition_per_s),
        workers=workers,
        partitions=_room_to_double(workers),
        sinks=sinks,
        brokers=brokers,
        clickhouse_shards=shards,
        rows_a_year_tb=round(rows_a_year_tb, 1),
        log_on_disk_tb=round(log_on_disk_tb, 1),
        log_a_year_tb=round(log_a_day_tb * DAYS_A_YEAR, 1),
        cores=cores,
        cores_yuan_a_day=round(cores * assumed.core_hour_yuan * HOURS_A_DAY),
        storage_yuan_a_day=round(storage_yuan_a_month / DAYS_A_MONTH),
    )


def as_table(measured: Measured, assumed: Assumed, plan: CapacityPlan) -> list[str]:
    """The plan as rows of Markdown, each with how it comes about."""
    rows = (
        ("calls a day", f"{assumed.calls_a_day:,}", "assumed"),
        ("events/s, mean and peak", f"{plan.mean_per_s:,}, {plan.peak_per_s:,}", f"peak {assumed.peak:g}x"),
        (
            "one worker, one partition, one app at most",
            f"{plan.partition_per_s:,} events/s",
            f"{measured.worker:g} CPU s per million, core {assumed.busy:.0%} busy",
        ),
        ("workers", f"{plan.workers}", "peak / that"),
        ("partitions of each topic", f"{plan.partitions}", "room to double the workers; it cannot change"),
        ("sinks", f"{plan.sinks}", f"{measured.sink:g} CPU s per million rows"),
        (
            "brokers",
            f"{plan.brokers} x {assumed.broker_cores} cores",
            f"{measured.broker:g} CPU s per million and replica, {assumed.kafka_replicas} replicas",
        ),
        (
            "ClickHouse",
            f"{plan.clickhouse_shards} x {assumed.clickhouse_replicas} x {assumed.clickhouse_cores} cores",
            f"shards, replicas; {measured.engine:g} CPU s per million; {assumed.shard_tb:g} TB per machine",
        ),
        (
            "ledger rows of a year, one copy",
            f"{plan.rows_a_year_tb:,} TB",
            f"{measured.row_bytes:g} bytes a row, {measured.rows_per_event:.2f} rows an event",
        ),
        (
            "log on the brokers, all copies",
            f"{plan.log_on_disk_tb:,} TB",
            f"{assumed.log_days} days, {measured.events_bytes:g} + {measured.ledger_bytes:g} bytes an event",
        ),
        ("log of a year in object storage", f"{plan.log_a_year_tb:,} TB", "kept for ever: it is the truth"),
        ("cores in all", f"{plan.cores:,}", ""),
        ("cores, a day", f"¥{plan.cores_yuan_a_day:,}", f"¥{assumed.core_hour_yuan:.2f} an hour"),
        (
            "storage, a day, at the end of the first year",
            f"¥{plan.storage_yuan_a_day:,}",
            f"¥{assumed.disk_gb_month_yuan:.2f} and ¥{assumed.object_gb_month_yuan:.2f} a GB and month",
        ),
        ("cost a day", f"¥{plan.yuan_a_day:,}", "both"),
        (
            "of what the calls cost their owners, at ¥0.027",
            f"{plan.yuan_a_day / (assumed.calls_a_day * 0.027):.3%}",
            "the cheapest quick call of the price list",
        ),
    )
    return ["| | | from |", "|---|---|---|", *(f"| {what} | {much} | {why} |" for what, much, why in rows)]


def _room_to_double(workers: int) -> int:
    """The least power of two that is at least twice the workers: it divides evenly as they are doubled."""
    return 1 << max(2 * workers - 1, 1).bit_length()


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the plan for the figures in a file."""
    parser = argparse.ArgumentParser(prog="python -m bench.plan", description=__doc__)
    parser.add_argument("lines", type=Path, help="what `make bench` printed")
    for one in fields(Assumed):
        kind = int if one.type is int or one.type == "int" else float
        parser.add_argument(f"--{one.name.replace('_', '-')}", type=kind, default=one.default)
    given = vars(parser.parse_args(arguments))
    lines = [json.loads(line) for line in given.pop("lines").read_text().splitlines() if line[:1] == "{"]
    measured, assumed = Measured.of(lines), Assumed(**given)
    sys.stdout.write("\n".join(as_table(measured, assumed, planned(measured, assumed))) + "\n")


if __name__ == "__main__":
    main()
