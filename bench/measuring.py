"""One run: programs that work through what lies in the log, watched from outside until all of it is done.

In the manner of the peer benchmark, so that its figures can stand beside these: it begins with the first
event that reaches a worker; it ends when the last output can be read; the CPU goes on being counted for some
seconds after that, so that what was put off is counted as well.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer

from bench.checking import difference, expected, published
from bench.figures import tell
from bench.kafka_log import ends, metered_up_to, publish, reading, records
from bench.processes import Program, machine_busy_s
from bench.traffic import Event
from metering import topics
from metering.ledger import decode_rows
from phonemeter.settings import Settings

STEP_S = 0.2
SETTLED_S = 1.0
LIMIT_S = 900.0
TAIL_S = 12.0
"""Of the peer benchmark: longer than the pause between two commits of any peer but one, and than that of the
worker between two checkpoints."""

Progress = Callable[[], Awaitable[int]]
"""The amount of output so far; it is only used to see whether it still grows."""


class Sample(NamedTuple):
    """The measurements of one moment."""

    at_s: float
    progress: int
    cpu_s: Mapping[str, float]
    busy_s: float
    own_cpu_s: float


@dataclass(frozen=True, slots=True)
class MeteringRun:
    """The cost of one run.

    Attributes:
        events: records of the log that were metered.
        wall_s: from the first event to the last output.
        cpu_s: per program, from the first event to some seconds after the last output.
        peak_rss_mb: per program, since it started.
        others_cpu_s: what everything else on the machine used meanwhile, this program's watching left out.
        samples: what was seen on the way.
        first_s: Unix time of the first event.
    """

    events: int
    wall_s: float
    cpu_s: Mapping[str, float]
    peak_rss_mb: Mapping[str, int]
    others_cpu_s: float
    samples: Sequence[Sample]
    first_s: float

    @property
    def events_per_s(self) -> float:
        """Events per second."""
        return self.events / self.wall_s

    def cpu_s_per_million(self, *names: str) -> float:
        """Seconds of CPU of these programs, all if none is named, per million events."""
        return sum(self.cpu_s[name] for name in names or self.cpu_s) / self.events * 1e6


async def watched(
    programs: Sequence[Program],
    progress: Progress,
    done: Callable[[], Awaitable[bool]],
    events: int,
    tail_s: float = TAIL_S,
) -> MeteringRun:
    """Watch the programs until all is done and `tail_s` more.

    Raises:
        RuntimeError: it is not done within the limit, or a program ended.
    """
    began_s = time.time()
    samples: list[Sample] = []
    while not await _is_over(samples, done, tail_s):
        if time.time() - began_s > LIMIT_S:
            raise RuntimeError(f"a run took more than {LIMIT_S:.0f} s; see the logs of the programs")
        await asyncio.sleep(STEP_S)
        samples.append(await _sample(programs, progress))
    return run_of(programs, samples, events)


async def measured_workers(
    kafka: str,
    partitions: int,
    workers: Sequence[Program],
    others: Sequence[Program] = (),
    tail_s: float = TAIL_S,
) -> MeteringRun:
    """Watch workers until the ledger has all that the log has."""
    places = range(partitions)
    async with reading(kafka, topics.LEDGER, places) as ledger, reading(kafka, topics.EVENTS, places) as log:
        events_ends = await ends(log)

        async def progress() -> int:
            return sum((await ends(ledger)).values())

        async def done() -> bool:
            return await metered_up_to(ledger) == events_ends

        return await watched([*workers, *others], progress, done, sum(events_ends.values()), tail_s)


@dataclass(frozen=True, slots=True)
class Cost:
    """Resources used for a number of events: seconds of CPU per program, and seconds of wall time."""

    events: int
    cpu_s: Mapping[str, float]
    wall_s: float


async def cost_of_more(settings: Settings, programs: Sequence[Program], more: Sequence[Event]) -> Cost:
    """Measure the cost of events that are published once the programs have done all that is in the log.

    The events come faster than they are metered, so that there is always a backlog.
    """
    places = range(settings.partitions)
    kafka = settings.kafka
    async with reading(kafka, topics.LEDGER, places) as ledger, reading(kafka, topics.EVENTS, places) as log:
        await until_metered(ledger, await ends(log), programs)
        await asyncio.sleep(TAIL_S)
        before = {one.name: one.usage().cpu_s for one in programs}
        began_s = time.monotonic()
        await publish(kafka, settings.partitions, more)
        await until_metered(ledger, await ends(log), programs)
        wall_s = time.monotonic() - began_s
        # What is put off (storing the state, committing) belongs to these events as well.
        await asyncio.sleep(TAIL_S)
        used = {one.name: one.usage().cpu_s - before[one.name] for one in programs}
    return Cost(len(more), used, wall_s)


async def until_metered(
    ledger: AIOKafkaConsumer, wanted: Mapping[int, int], programs: Sequence[Program]
) -> None:
    """Wait until the ledger has the events up to these offsets.

    Raises:
        RuntimeError: it takes too long, or a program ended.
    """
    deadline_s = time.monotonic() + LIMIT_S
    while await metered_up_to(ledger) != wanted:
        if time.monotonic() > deadline_s:
            raise RuntimeError(f"not metered within {LIMIT_S:.0f} s; see the logs of the programs")
        for one in programs:
            one.usage()
        await asyncio.sleep(STEP_S)


async def ledger_difference(kafka: str, partitions: int) -> str | None:
    """The first difference between the ledger on the broker and the count of `bench.checking`, if any."""
    for partition in range(partitions):
        log = [(one.offset, one.value) for one in await records(kafka, topics.EVENTS, partition)]
        decoded = (decode_rows(one.value) for one in await records(kafka, topics.LEDGER, partition))
        found = (line for record in decoded for line in published(record.columns, record.rows))
        wrong = difference(expected(log), found)
        if wrong is not None:
            tell(f"partition {partition} of the ledger is wrong: {wrong}")
            return wrong
    return None


async def _is_over(samples: list[Sample], done: Callable[[], Awaitable[bool]], tail_s: float) -> bool:
    """True if the last output is `tail_s` old and all is done."""
    if not samples or samples[-1].progress <= 0:
        return False
    last = samples[-1]
    stands_since_s = next(one.at_s for one in samples if one.progress == last.progress)
    if last.at_s - stands_since_s < max(tail_s, SETTLED_S):
        return False
    return await done()


async def _sample(programs: Sequence[Program], progress: Progress) -> Sample:
    reached = await progress()
    cpu_s = {one.name: one.usage().cpu_s for one in programs}
    return Sample(time.time(), reached, cpu_s, machine_busy_s(), time.process_time())


def run_of(programs: Sequence[Program], samples: Sequence[Sample], events: int) -> MeteringRun:
    """The cost of a run, from the samples and the workers' own notes."""
    marks = {one.name: one.first_events() for one in programs if one.mark is not None}
    first_s = min(at_s for at_s, _ in marks.values())
    first = min(samples, key=lambda one: abs(one.at_s - first_s))
    end = next(one for one in samples if one.progress == samples[-1].progress)
    last = samples[-1]
    before = {**first.cpu_s, **{name: cpu_s for name, (_, cpu_s) in marks.items()}}
    cpu_s = {name: last.cpu_s[name] - before[name] for name in last.cpu_s}
    ours = sum(end.cpu_s[name] - first.cpu_s[name] for name in end.cpu_s)
    watching = end.own_cpu_s - first.own_cpu_s
    return MeteringRun(
        events,
        end.at_s - first_s,
        cpu_s,
        {one.name: one.usage().peak_rss_mb for one in programs},
        round(end.busy_s - first.busy_s - ours - watching, 1),
        samples,
        first_s,
    )
