"""A worker that starts with a large state: how soon it meters again, and the memory that it takes.

The state is made by the rules themselves, in other processes: purchases of all apps and as many taps as ids
are to be remembered, metered batch by batch. What a worker would have left of it in the state topic, after
compaction, is published there; the log gets as many records, whose content nobody reads again. So the worker
finds what one that ran for long has left, and its ledger is right only if it has all of that: every partition
gets some repetitions of remembered events, which must be found to be duplicates, and nothing else may be.
"""

import asyncio
import gc
import random
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice, repeat
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition

from bench.checking import CALLS, published
from bench.figures import Figure, tell
from bench.kafka_log import ends, fill, partition_of, publish, reading, records
from bench.measuring import cost_of_more
from bench.processes import Program, ResourceUsage, program, stack
from bench.traffic import Event, appids_of, purchases, shares_of, tap
from kafka_access.access import KafkaAccess
from metering import topics
from metering.ledger import decode_rows
from metering.partition_state import WorkingState
from metering.records import Record
from metering.rules import Rules
from phonemeter.kafka_admin import admin
from phonemeter.settings import Settings
from phonemeter.stack.kafka.topics import alter, wait_until_seen
from streams.batch_step import PartitionProgress, plan_batch
from streams.state_log import StateLayout

PARTITIONS: Final = 4
PACKS: Final = ((1_000, 90), (100_000, 180), (10_000_000, 365))
BATCH: Final = 20_000
RECORDED_AT_MS: Final = 1_795_359_600_000
FILLER: Final = b"0"
REPEATED: Final = 5
TAPS_FIRST: Final = 1_000
TAPS_AFTER: Final = 100_000
MEMORY_TARGET_MB: Final = 1_000.0
READY_TARGET_S: Final = 20.0
LOOK_S: Final = 0.02
LIMIT_S: Final = 300.0
PROCESSES: Final = 2


@dataclass(frozen=True, slots=True)
class PartitionSeed:
    """The log and the stored state of a partition before a worker starts.

    Attributes:
        partition: its number.
        next_offset: as many records are in the log.
        state: keys and values of the state topic's records.
        remembered: some of the events.
    """

    partition: int
    next_offset: int
    state: tuple[tuple[bytes, bytes], ...]
    remembered: tuple[Event, ...]


class RestartCost(NamedTuple):
    """One start: seconds to the first ledger record, what was used until then, the peak after more taps."""

    took_s: float
    used: ResourceUsage
    peak_mb: int
    correct: bool


def figures(apps: int, ids: int, runs: int) -> Iterator[Figure]:
    """Seconds from starting the process to its first ledger record, and its peak memory then and later."""
    with ProcessPoolExecutor(PROCESSES) as pool:
        left = list(pool.map(left_of, range(PARTITIONS), repeat(PARTITIONS), repeat(apps), repeat(ids)))
    state_mb = round(sum(len(key) + len(value) for one in left for key, value in one.state) / 1e6)
    tell(f"a state of {apps:,} apps and {ids:,} remembered ids was made: {state_mb} MB")
    found = [measure(left, apps) for _ in range(runs)]
    correct = all(start.correct for start in found)
    used = found[-1].used
    under = {"apps": apps, "remembered_ids": ids, "state_topic_mb": state_mb}
    yield Figure(
        figure="restart: process start to first ledger record",
        values=tuple(start.took_s for start in found),
        unit="s",
        target=READY_TARGET_S,
        correct=correct,
        under={**under, "cpu_s": round(used.cpu_s, 1), "peak_mb": used.peak_rss_mb},
    )
    yield Figure(
        figure="memory: worker with that state, peak",
        values=tuple(float(start.peak_mb) for start in found),
        unit="MB",
        target=MEMORY_TARGET_MB,
        correct=correct,
        under={**under, "taps_after": TAPS_AFTER},
    )


def measure(left: Sequence[PartitionSeed], apps: int) -> RestartCost:
    """One start, and some more taps after it."""
    with stack("kafka", clock="events") as (settings, _):
        asyncio.run(leave(settings, left))
        repeated = [event for one in left for event in one.remembered]
        new = _taps(appids_of(apps), TAPS_FIRST + TAPS_AFTER, "after")
        asyncio.run(publish(settings.kafka, PARTITIONS, chain(repeated, islice(new, TAPS_FIRST))))
        began_s = time.monotonic()
        with program(settings, "worker") as worker:
            took_s = asyncio.run(_first_record(settings, worker)) - began_s
            used = worker.usage()
            asyncio.run(cost_of_more(settings, [worker], list(new)))
            peak_mb = worker.usage().peak_rss_mb
        # Exactly the repetitions are duplicates, and all new taps are charged.
        lines = asyncio.run(line_kinds(settings))
        correct = lines == {"duplicate": len(repeated), "charged": TAPS_FIRST + TAPS_AFTER, "other": 0}
    return RestartCost(took_s, used, peak_mb, correct)


def left_of(partition: int, partitions: int, apps: int, ids: int) -> PartitionSeed:
    """The partition after all its apps have bought packs and its share of the ids was metered."""
    # Nothing here is garbage; looking for some in a heap of this size takes most of the time.
    gc.disable()
    ours = [appid for appid in appids_of(apps) if partition_of(appid.encode(), partitions) == partition]
    count = ids // partitions - len(ours) * len(PACKS)
    traffic = chain(
        chain.from_iterable(purchases(appid, PACKS) for appid in ours),
        _taps(ours, count, f"before-{partition}"),
    )
    progress = PartitionProgress.at_checkpoint(WorkingState(partition), StateLayout().begin_epoch(1))
    state: dict[bytes, bytes] = {}
    batch: list[Record] = []
    offset = 0
    while events := list(islice(traffic, BATCH)):
        batch = [Record(offset + at, RECORDED_AT_MS, *event) for at, event in enumerate(events)]
        offset += len(batch)
        progress = _metered(progress, batch, state)
    remembered = tuple((record.key or b"", record.value or b"") for record in batch[-REPEATED:])
    return PartitionSeed(partition, offset, tuple(state.items()), remembered)


def _metered(
    progress: PartitionProgress, batch: Sequence[Record], state: dict[bytes, bytes]
) -> PartitionProgress:
    plan = plan_batch(progress, batch, Rules())
    if plan is None or plan.header is None:
        raise RuntimeError("a batch did nothing: the benchmark gives offsets that were metered already")
    for out in (*plan.outcome, plan.header):
        if out.topic == topics.STATE and out.key is not None:
            if out.value is None:
                state.pop(out.key, None)
            else:
                # The newest of a key is the last, as in the topic.
                state.pop(out.key, None)
                state[out.key] = out.value
    return plan.after


def _taps(appids: Sequence[str], count: int, seed: str) -> Iterator[Event]:
    chance = random.Random(seed)  # noqa: S311 - a seed that replays is the point
    shares = shares_of(len(appids))
    for start in range(0, count, BATCH):
        for appid in chance.choices(appids, cum_weights=shares, k=min(BATCH, count - start)):
            yield tap(appid, chance.getrandbits(128))


async def leave(settings: Settings, left: Sequence[PartitionSeed]) -> None:
    """Leave the partitions as a worker that ran for long has left them."""
    # The state tells the last record and when it arrived, and the worker compares the log with that.
    await asyncio.to_thread(_take_times_of, settings.kafka_access, "CreateTime")
    for one in left:
        await fill(settings.kafka, topics.STATE, one.partition, one.state)
        records_before = chain(repeat((None, FILLER), one.next_offset - 1), one.remembered[-1:])
        await fill(settings.kafka, topics.EVENTS, one.partition, records_before, RECORDED_AT_MS)
    await asyncio.to_thread(_take_times_of, settings.kafka_access, "LogAppendTime")
    group = AIOKafkaConsumer(
        bootstrap_servers=settings.kafka, group_id=topics.WORKER_GROUP, enable_auto_commit=False
    )
    await group.start()
    try:
        places = {TopicPartition(topics.EVENTS, one.partition): one.next_offset for one in left}
        group.assign(list(places))
        await group.commit(places)
    finally:
        await group.stop()


def _take_times_of(kafka: KafkaAccess, clock: str) -> None:
    """Have the log take the times of its records from producers, or from the broker's clock again."""
    setting = "message.timestamp.type"
    with admin(kafka) as client:
        alter(client, topics.EVENTS, {setting: clock})
        wait_until_seen(client, {(topics.EVENTS, setting): clock})


async def _first_record(settings: Settings, worker: Program) -> float:
    """The monotonic time at which a ledger record can be read."""
    async with reading(settings.kafka, topics.LEDGER, range(PARTITIONS)) as ledger:
        deadline_s = time.monotonic() + LIMIT_S
        while time.monotonic() < deadline_s:
            if any((await ends(ledger)).values()):
                return time.monotonic()
            worker.usage()
            await asyncio.sleep(LOOK_S)
    raise RuntimeError(f"the worker metered nothing within {LIMIT_S:.0f} s; see {worker.log}")


async def line_kinds(settings: Settings) -> dict[str, int]:
    """The ledger's lines: of charged calls, of duplicates, of anything else.

    Lines that a worker published again after a takeover are the same lines.
    """
    kinds = {"duplicate": 0, "charged": 0, "other": 0}
    for partition in range(settings.partitions):
        rows: dict[tuple[int, int], tuple[Sequence[str], Sequence[Any]]] = {}
        for one in await records(settings.kafka, topics.LEDGER, partition):
            record = decode_rows(one.value)
            rows |= {(row[0], row[1]): (record.columns, row) for row in record.rows}
        for columns, row in rows.values():
            for line in published(columns, [row]):
                charged = line.kind in CALLS and line.kind != "uncovered"
                kinds["charged" if charged else line.kind if line.kind in kinds else "other"] += 1
    tell(f"lines after the restart: {kinds}")
    return kinds
