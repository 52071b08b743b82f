"""The cost of an event as apps and packs grow: of a batch's work, and of the real worker.

The first is `streams.batch_step.plan_batch` in this process: reading, remembering ids, the rules, the ledger
record and the changed items of the state, of batches as a busy worker gets them; everything but Kafka. The
second is the worker itself on a broker. In both, packs are bought before, and only the taps are counted.
Beside the first is a floor: what grows although nearly nothing is done.
"""

import asyncio
import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from statistics import median
from typing import Final, TypeVar

import msgspec
from msgspec import Struct

from bench.figures import Figure, tell
from bench.kafka_log import publish
from bench.measuring import cost_of_more, ledger_difference
from bench.processes import program, stack
from bench.traffic import PACKS, SKEW, Event, Packs, events
from metering.partition_state import WorkingState
from metering.records import Record
from metering.rules import Rules
from streams.app import YOUNG_OBJECTS_MAX
from streams.batch_step import PartitionProgress, plan_batch, plan_checkpoint
from streams.checkpointer import CHECKPOINT_RECORDS
from streams.state_log import StateLayout

Measured = TypeVar("Measured")

PARTITIONS: Final = 4
BATCH: Final = 20_000
"""Somewhat less than a fetch of 8 MB gives of a partition: a busy worker always has a full one waiting."""

BETWEEN: Final = (10, 1_000, 10_000)
"""Apps, below the most that are asked for."""

WORKER_BETWEEN: Final = (10, 5_000)
PACK_COUNTS: Final = (1, 10, 50, 200)
APPS_OF_PACK_COUNTS: Final = 1_000
CALLS_OF_PACK_COUNTS: Final = 200_000
SKEWS: Final = (("skewed", SKEW), ("uniform", 0.0))
FLAT_WITHIN: Final = 1.2
REPETITIONS: Final = 3
RECORDED_AT_MS: Final = 1_795_359_600_000
"""2026-11-22T15:00:00Z, when the taps of the benchmarks happen."""


@dataclass(frozen=True, slots=True)
class Load:
    """Apps on all partitions together, the packs of each, and how unequal the apps are."""

    apps: int
    packs: Packs = PACKS
    skew: float = SKEW


def figures(taps: int, worker_taps: int, apps_max: int, runs: int) -> Iterator[Figure]:
    """The ratio of an event's cost at the dearest size to that at the cheapest, along each line of growth."""
    under = {"taps": taps}
    for called, skew in SKEWS:
        by_apps = {apps: Load(apps, skew=skew) for apps in (*BETWEEN, apps_max)}
        by_packs = {count: Load(APPS_OF_PACK_COUNTS, _packs(count), skew) for count in PACK_COUNTS}
        rules = partial(cost_of_rules, taps=taps)
        floor = _rounds(by_apps, partial(cost_of_floor, taps=taps), runs)
        yield _flat(f"growth: floor, {called}, by apps", floor, under, target=None)
        yield _flat(f"growth: batch work, {called}, by apps", _rounds(by_apps, rules, runs), under)
        yield _flat(
            f"growth: batch work, {called}, by packs per app",
            _rounds(by_packs, rules, runs),
            {**under, "apps": APPS_OF_PACK_COUNTS},
        )
    for called, skew in SKEWS:
        loads = {apps: Load(apps, skew=skew) for apps in (*WORKER_BETWEEN, apps_max)}
        measured = _rounds(loads, partial(cost_of_worker, taps=worker_taps), runs)
        costs_us = [{size: cost_us for size, (cost_us, _) in one.items()} for one in measured]
        correct = all(right for one in measured for _, right in one.values())
        yield _flat(f"growth: worker, {called}, by apps", costs_us, {"taps": worker_taps}, correct=correct)


def _rounds(
    loads: Mapping[int, Load], measure: Callable[[Load], Measured], runs: int
) -> list[dict[int, Measured]]:
    """Measure all sizes again and again, so that what slows the machine for a while slows all of them."""
    return [{size: measure(load) for size, load in loads.items()} for _ in range(runs)]


class Tap(Struct, gc=False):
    """The fields of an event that the floor reads."""

    id: str
    subject: str


@dataclass(slots=True)
class Counter:
    """All that the floor knows of an app."""

    left: int


def cost_of_floor(load: Load, taps: int) -> float:
    """Microseconds of CPU per tap of the least that Python can do: the least of some repetitions.

    It decodes a tap, takes a call from its app's only count and encodes a line. It checks and stores nothing,
    remembers no id and knows neither packs nor time. What its cost grows by is the price of reaching an app
    in memory.
    """
    apps = max(load.apps // PARTITIONS, 1)
    traffic = events(taps, apps, packs=load.packs, skew=load.skew)
    decode, encode = msgspec.json.Decoder(Tap).decode, msgspec.json.Encoder().encode
    left = {decode(value).subject: Counter(taps) for _, value in islice(traffic, apps * len(load.packs))}
    batches = [[record.value or b"" for record in batch] for batch in _batches(traffic, 0)]
    return min(_cost_us_of_floor(left, batches, decode, encode) for _ in range(REPETITIONS))


def _cost_us_of_floor(
    left: Mapping[str, Counter],
    batches: Sequence[Sequence[bytes]],
    decode: Callable[[bytes], Tap],
    encode: Callable[[object], bytes],
) -> float:
    began_s = time.process_time()
    for batch in batches:
        lines = []
        for value in batch:
            tap = decode(value)
            counter = left[tap.subject]
            counter.left -= 1
            lines.append((tap.subject, tap.id, counter.left))
        encode(lines)
    return (time.process_time() - began_s) / sum(map(len, batches)) * 1e6


def cost_of_rules(load: Load, taps: int) -> float:
    """Microseconds of CPU per tap of one partition's batches: the least of some repetitions.

    Garbage is looked for as in the worker: for a large state that is part of the cost.
    """
    before = gc.get_threshold()
    gc.set_threshold(YOUNG_OBJECTS_MAX, *before[1:])
    try:
        return _cost_of_rules(load, taps)
    finally:
        gc.set_threshold(*before)
        gc.collect()


def _cost_of_rules(load: Load, taps: int) -> float:
    apps = max(load.apps // PARTITIONS, 1)
    traffic = events(taps, apps, packs=load.packs, skew=load.skew)
    purchases = list(_batches(islice(traffic, apps * len(load.packs)), 0))
    batches = list(_batches(traffic, sum(map(len, purchases))))
    return min(_cost_us(_bought(purchases), batches) for _ in range(REPETITIONS))


def _bought(purchases: Sequence[Sequence[Record]]) -> PartitionProgress:
    progress = PartitionProgress.at_checkpoint(WorkingState(0), StateLayout().begin_epoch(1))
    for batch in purchases:
        progress = _done(progress, batch)
    plan = plan_checkpoint(progress)
    return plan.after if plan is not None else progress


def cost_of_worker(load: Load, taps: int) -> tuple[float, bool]:
    """Microseconds of CPU per tap that the real worker uses, and whether its ledger is right."""
    with stack("kafka", clock="events") as (settings, _):
        traffic = events(taps, load.apps, packs=load.packs, skew=load.skew)
        purchases = islice(traffic, load.apps * len(load.packs))
        asyncio.run(publish(settings.kafka, settings.partitions, purchases))
        with program(settings, "worker") as worker:
            cost = asyncio.run(cost_of_more(settings, [worker], list(traffic)))
        wrong = asyncio.run(ledger_difference(settings.kafka, settings.partitions))
    return cost.cpu_s["worker"] / taps * 1e6, wrong is None


def _cost_us(progress: PartitionProgress, batches: Sequence[Sequence[Record]]) -> float:
    began_s = time.process_time()
    for batch in batches:
        progress = _done(progress, batch)
    plan_checkpoint(progress)
    return (time.process_time() - began_s) / sum(map(len, batches)) * 1e6


def _done(progress: PartitionProgress, batch: Sequence[Record]) -> PartitionProgress:
    plan = plan_batch(
        progress, batch, Rules(), store=progress.uncommitted_records + len(batch) > CHECKPOINT_RECORDS
    )
    if plan is None:
        raise RuntimeError("a batch did nothing: the benchmark gives offsets that were metered already")
    return plan.after


def _batches(traffic: Iterator[Event], first_offset: int) -> Iterator[list[Record]]:
    """The traffic as a busy worker is given it."""
    records = (
        Record(offset, RECORDED_AT_MS, key, value)
        for offset, (key, value) in enumerate(traffic, first_offset)
    )
    while batch := list(islice(records, BATCH)):
        yield batch


def _packs(count: int) -> Packs:
    """Packs with the same number of calls in all, whatever their count, so that no app runs out of calls."""
    return [(CALLS_OF_PACK_COUNTS // count, (90, 180, 365)[number % 3]) for number in range(count)]


def _flat(
    name: str,
    rounds: Sequence[Mapping[int, float]],
    under: Mapping[str, int],
    *,
    correct: bool | None = None,
    target: float | None = FLAT_WITHIN,
) -> Figure:
    usual = {size: median(one[size] for one in rounds) for size in rounds[0]}
    dearest, cheapest = max(usual, key=usual.__getitem__), min(usual, key=usual.__getitem__)
    told = {f"{size:,}": round(cost_us, 2) for size, cost_us in usual.items()}
    tell(f"{name}: {told} us per tap")
    return Figure(
        figure=name,
        values=tuple(one[dearest] / one[cheapest] for one in rounds),
        unit="times the cheapest",
        target=target,
        correct=correct,
        under={**under, "us_per_tap": told},
    )
