"""Published to visible in ClickHouse, with everything on this machine: broker, worker, sink, engine.

The log is filled before; then the sink is started and the worker, and the run ends when ClickHouse has
a line of every event.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

from aiokafka.record.default_records import DefaultRecordBatchBuilder

from bench.figures import Figure
from bench.kafka_log import ends, publish, reading
from bench.measuring import MeteringRun, ledger_difference, watched
from bench.processes import Program, program, stack
from bench.stored import StoredLedger, stored_difference
from bench.traffic import APPS, PACKS, events
from metering import topics
from phonemeter.settings import Settings

RATE_TARGET = 30_000.0
SINK_CPU_TARGET = 8.0
TAIL_S = 6.0
EVENTS_PER_BATCH = 100
LZ4 = 3
"""Number of the codec in Kafka's record batches."""
TOPICS = (topics.EVENTS, topics.LEDGER, topics.STATE)


def figures(taps: int, runs: int) -> Iterator[Figure]:
    """The rate, and what each process uses per million."""
    found = [measure(taps) for _ in range(runs)]
    correct = all(right for _, right, _ in found)
    run, _, sizes = found[-1]
    under = {"events": run.events, "ledger_rows": sizes["rows"], "tail_s": TAIL_S}
    yield Figure(
        figure="end to end: rate",
        values=tuple(run.events_per_s for run, _, _ in found),
        unit="events/s",
        target=RATE_TARGET,
        limit="at least",
        correct=correct,
        under=under,
    )
    for name in run.cpu_s:
        per = "ledger rows" if name == "sink" else "events"
        yield Figure(
            figure=f"end to end: CPU of the {'broker' if name == 'kafka' else name}",
            values=tuple(
                run.cpu_s[name] / (sizes["rows"] if name == "sink" else run.events) * 1e6
                for run, _, sizes in found
            ),
            unit=f"CPU s per million {per}",
            target=SINK_CPU_TARGET if name == "sink" else None,
            correct=correct,
            under={**under, "peak_rss_mb": run.peak_rss_mb[name]},
        )
    yield Figure(
        figure="storage: table ledger, as inserted",
        values=tuple(sizes["clickhouse"] / sizes["rows"] for _, _, sizes in found),
        unit="bytes per ledger row",
        correct=correct,
        under=under,
    )
    yield Figure(
        figure="storage: topic phone-events, lz4",
        values=(_compressed_bytes(),),
        unit="bytes per event",
        under={"events_per_batch": EVENTS_PER_BATCH},
    )
    for topic in TOPICS:
        yield Figure(
            figure=f"storage: topic {topic}",
            values=tuple(sizes[topic] / run.events for run, _, sizes in found),
            unit="bytes per event",
            correct=correct,
            under=under,
        )


def measure(taps: int) -> tuple[MeteringRun, bool, dict[str, int]]:
    """One run: what it took, whether both ledgers are right, and how large everything is."""
    with stack("kafka", "engine", clock="events") as (settings, running):
        asyncio.run(publish(settings.kafka, settings.partitions, events(taps)))
        with program(settings, "sink") as sink, ExitStack() as working:
            # Its start is not to be counted; that of the worker is not, by the mark.
            sink.wait_ready()
            worker = working.enter_context(program(settings, "worker"))
            programs = [worker, sink, *running.values()]
            run = asyncio.run(_watched(settings, programs))
            wrong = asyncio.run(ledger_difference(settings.kafka, settings.partitions))
            wrong = wrong or asyncio.run(stored_difference(settings))
        stored = StoredLedger(settings)
        try:
            sizes = {"rows": stored.count(), "clickhouse": stored.bytes_on_disk()}
        finally:
            stored.close()
        return run, wrong is None, {**sizes, **_topic_bytes(settings.data_dir)}


async def _watched(settings: Settings, programs: Sequence[Program]) -> MeteringRun:
    stored = StoredLedger(settings)
    try:
        async with reading(settings.kafka, topics.EVENTS, range(settings.partitions)) as log:
            log_ends = await ends(log)

        async def progress() -> int:
            return await asyncio.to_thread(stored.count)

        async def done() -> bool:
            return await asyncio.to_thread(stored.stored_up_to) == log_ends

        return await watched(programs, progress, done, sum(log_ends.values()), TAIL_S)
    finally:
        stored.close()


def _topic_bytes(data_dir: Path) -> dict[str, int]:
    """Bytes of each topic's segments on the broker's disk."""
    data = data_dir / "kafka" / "data"
    return {
        topic: sum(file.stat().st_size for file in data.glob(f"{topic}-[0-9]*/*.log")) for topic in TOPICS
    }


def _compressed_bytes() -> float:
    """Bytes per tap where producers compress, in batches as a busy client makes them."""
    builder = DefaultRecordBatchBuilder(2, LZ4, 0, -1, -1, 0, 1 << 20)
    taps = islice(events(EVENTS_PER_BATCH), APPS * len(PACKS), None)
    for offset, (key, value) in enumerate(taps):
        builder.append(offset, 0, key, value, [])
    return len(builder.build()) / EVENTS_PER_BATCH
