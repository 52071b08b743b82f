"""The sink alone: a real topic of ledger records, stored in the real engine, its rows counted independently.

`python -m bench.sink [--rows N] [--runs N]` prints one JSON line per figure: the sink's seconds of CPU (user
and system, all threads, every position read included) per million rows, and rows per second from the first
published to the last stored. The lines are those that the rules make of simulated traffic. A run counts only
if what ClickHouse has of each column adds up to what was published.
"""

import argparse
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from zlib import crc32

from clickhouse_driver import Client
from kafka import KafkaProducer

from bench.figures import Figure, conditions, tell, write
from bench.kafka_log import partition_of
from bench.processes import Program, program, stack
from metering.ledger import Entry, encode_records
from metering.partition import meter
from metering.partition_state import PartitionState
from metering.records import Record
from metering.rules import Rules
from metering.times import DAY_MS
from metering.topics import LEDGER
from phonemeter.settings import Settings
from phonemeter.stack.kafka.topics import ensure_topics
from producers.simulate import TrafficPlan, simulate
from sinks.connection import connect, rows
from sinks.entry_columns import shorten_ids

ROWS = 500_000
APPS = 100
START_MS = 1_735_689_600_000
CPU_TARGET = 8.0
LATENCY_MS = 30
EVENTS_PER_TURN = 20_000
TAIL_S = 5.0
WAIT_S = 600.0
LOOK_S = 0.1
BEGINS = " begins at record "
"""In the sink's log, once per partition."""

Sums = Mapping[int, tuple[int, ...]]
"""For each source partition: rows, and what each column adds up to, texts by their CRC-32."""

_SUMS = """
SELECT source_partition, count(), sum(source_offset), sum(line), sum(toUnixTimestamp64Milli(time)),
    sum(toUnixTimestamp64Milli(recorded_at)), sum(calls), sum(amount_micro_yuan), sum(remaining), sum(errno),
    sum(CRC32(concatWithSeparator('|', kind, appid, capability, event_id, pack_id, reason, scene, store, env,
        client, source, details)))
FROM ledger
GROUP BY source_partition
SETTINGS optimize_use_projections = 0
"""


def main() -> None:
    """Measure as asked on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--runs", type=int, default=3)
    asked = parser.parse_args()
    under = conditions()
    for figure in figures(asked.rows, asked.runs):
        write(figure.as_line(under))


def figures(count: int, runs: int) -> Iterator[Figure]:
    """Resources of the sink and of the engine, and their speed."""
    entries: dict[int, list[Entry]] = {}
    found = []
    for _ in range(runs):
        with stack("kafka", "engine", clock="events") as (settings, running):
            entries = entries or _lines(count, settings.partitions)
            found.append(_measure(settings, running["engine"], entries))
    correct = all(one["correct"] for one in found)
    under = {
        "rows": sum(map(len, entries.values())),
        "partitions": len(entries),
        "inserts": [round(one["inserts"]) for one in found],
        "peak_rss_mb": round(max(one["peak_rss_mb"] for one in found)),
    }
    for name, unit, key, target in (
        ("sink: CPU", "CPU s per million rows", "sink", CPU_TARGET),
        ("sink: CPU of the engine meanwhile", "CPU s per million rows", "engine", None),
    ):
        values = tuple(one[key] for one in found)
        yield Figure(figure=name, values=values, unit=unit, target=target, correct=correct, under=under)
    rate = tuple(one["rows_per_s"] for one in found)
    yield Figure(figure="sink: rate", values=rate, unit="rows/s", correct=correct, under=under)


def _lines(count: int, partitions: int) -> dict[int, list[Entry]]:
    """The ledger entries of about so many simulated events, by partition."""
    tell(f"simulating {count:,} taps")
    plan = TrafficPlan(start_ms=START_MS, duration_ms=365 * DAY_MS, taps=count, apps=APPS)
    logs: dict[int, list[Record]] = {partition: [] for partition in range(partitions)}
    for arrival in simulate(plan):
        key = arrival.value.partition(b'"subject":"')[2].partition(b'"')[0]
        log = logs[partition_of(key, partitions)]
        log.append(Record(len(log), arrival.arrives_ms + LATENCY_MS, key, arrival.value))
    return {partition: list(_metered(partition, log)) for partition, log in logs.items()}


def _metered(partition: int, log: list[Record]) -> Iterator[Entry]:
    state = PartitionState(partition)
    for start in range(0, len(log), EVENTS_PER_TURN):
        metered = meter(state, log[start : start + EVENTS_PER_TURN], Rules())
        state = metered.state
        yield from metered.entries


def _measure(settings: Settings, engine: Program, entries: Mapping[int, list[Entry]]) -> dict[str, float]:
    """One run, from the moment the sink waits for lines to some seconds after it stored the last."""
    ensure_topics(settings.kafka_access, settings.partitions)
    count = sum(map(len, entries.values()))
    with program(settings, "sink") as sink, connect(settings.clickhouse) as client:
        _wait(lambda: sink.log.read_text().count(BEGINS) == settings.partitions, "the sink to begin")
        before = (sink.usage().cpu_s, engine.usage().cpu_s)
        began_s = time.monotonic()
        _publish(settings.kafka, entries)
        _wait(lambda: rows(client, "SELECT count() FROM ledger") == [(count,)], "all rows to be stored")
        took_s = time.monotonic() - began_s
        time.sleep(TAIL_S)
        used = sink.usage()
        after = (used.cpu_s, engine.usage().cpu_s)
        correct = _stored(client) == _published(entries, settings.event_id_digits)
        ((inserts,),) = rows(client, "SELECT max(max_block_number) FROM system.parts WHERE table = 'ledger'")
    return {
        "correct": correct,
        "sink": (after[0] - before[0]) / count * 1e6,
        "engine": (after[1] - before[1]) / count * 1e6,
        "rows_per_s": count / took_s,
        "inserts": inserts,
        "peak_rss_mb": used.peak_rss_mb,
    }


def _publish(kafka: str, entries: Mapping[int, list[Entry]]) -> None:
    producer = KafkaProducer(bootstrap_servers=kafka, acks="all")
    for partition, lines in entries.items():
        for value in encode_records(partition, lines):
            producer.send(LEDGER, value, partition=partition)
    producer.flush()
    producer.close()


def _wait(condition: Callable[[], bool], what: str) -> None:
    until_s = time.monotonic() + WAIT_S
    while not condition():
        if time.monotonic() > until_s:
            raise RuntimeError(f"waited {WAIT_S:.0f} s in vain for {what}; see its log")
        time.sleep(LOOK_S)


def _stored(client: Client) -> Sums:
    return {partition: tuple(sums) for partition, *sums in rows(client, _SUMS)}


def _published(entries: Mapping[int, list[Entry]], digits: int) -> Sums:
    sums: dict[int, tuple[int, ...]] = {}
    for partition, lines in entries.items():
        if not lines:
            continue
        of: Counter[int] = Counter()
        for one in lines:
            (event_id,) = shorten_ids((one.event_id,), digits)
            texts = (
                one.kind, one.appid, one.capability, event_id, one.pack_id, one.reason, one.scene, one.store,
                one.env, one.client, one.source, one.details,
            )  # fmt: skip
            numbers = (
                1, one.offset, one.line, one.time_ms, one.recorded_at_ms, one.calls, one.amount_micro_yuan,
                one.remaining, one.errno, crc32("|".join(texts).encode()),
            )  # fmt: skip
            of.update(dict(enumerate(numbers)))
        sums[partition] = tuple(of[place] for place in range(10))
    return sums


if __name__ == "__main__":
    main()
