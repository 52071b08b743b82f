"""Workers that join and leave a group: the longest pause of partitions that stay and of those that move.

Events keep coming to every partition. A pause is the time between two ledger records of a partition, by the
clock of the worker that published them. The workers have a state to restore, made as in `bench.restart`.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import repeat
from typing import Final

from aiokafka import AIOKafkaProducer

from bench.figures import Figure, tell
from bench.group_changes import PARTITIONS, Change, Group, longest_pauses, pause_figures
from bench.kafka_log import ends, partition_of, reading, records
from bench.measuring import until_metered
from bench.processes import program, stack
from bench.restart import PROCESSES, PartitionSeed, leave, left_of, line_kinds
from bench.traffic import PACKS, appids_of, purchases, tap
from metering import topics
from phonemeter.settings import Settings

EVERY_S: Final = 0.05


def figures(apps: int, ids: int, runs: int) -> Iterator[Figure]:
    """By change, the longest pause of the partitions that stay and of those that move."""
    with ProcessPoolExecutor(PROCESSES) as pool:
        left = list(pool.map(left_of, range(PARTITIONS), repeat(PARTITIONS), repeat(apps), repeat(ids)))
    found = [measure(left, apps) for _ in range(runs)]
    under = {"apps": apps, "remembered_ids": ids, "partitions": PARTITIONS, "workers": "2 and a third"}
    yield from pause_figures("rescale", found, under)


def measure(left: Sequence[PartitionSeed], apps: int) -> tuple[dict[str, float], bool]:
    """The pauses of one run, and whether each tap was charged once."""
    with stack("kafka", clock="events", partitions=PARTITIONS) as (settings, _), ExitStack() as working:
        asyncio.run(leave(settings, left))
        workers = [working.enter_context(program(settings, "worker", 1 + number)) for number in range(2)]
        changes, sent = asyncio.run(_changed(settings, Group("worker", workers), apps))
        published_s = {
            one: [
                record.timestamp / 1_000
                for record in asyncio.run(records(settings.kafka, topics.LEDGER, one))
            ]
            for one in range(PARTITIONS)
        }
        tell(f"taps that were sent: {sent}")
        correct = asyncio.run(line_kinds(settings)) == {"duplicate": 0, "charged": sent, "other": 0}
    return longest_pauses(changes, published_s), correct


async def _changed(settings: Settings, group: Group, apps: int) -> tuple[list[Change], int]:
    """Change the group while events come; returns the changes, and the number of events."""
    async with steady_taps(settings.kafka, apps) as taps:
        changes = await group.changes(settings)
    places = range(PARTITIONS)
    kafka = settings.kafka
    async with reading(kafka, topics.LEDGER, places) as ledger, reading(kafka, topics.EVENTS, places) as log:
        await until_metered(ledger, await ends(log), group.members)
    return changes, taps.sent


@dataclass(slots=True)
class SteadyTaps:
    """The number of taps that were sent so far."""

    sent: int = 0


@asynccontextmanager
async def steady_taps(kafka: str, apps: int, *, buying: bool = False) -> AsyncIterator[SteadyTaps]:
    """Publish a tap to each partition again and again during the block; of apps `buying` packs before."""
    appids = {partition_of(appid.encode(), PARTITIONS): appid for appid in appids_of(apps)}
    taps, ended = SteadyTaps(), asyncio.Event()

    async def send() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=kafka, acks="all")
        await producer.start()
        try:
            for appid in appids.values() if buying else ():
                for key, value in purchases(appid, PACKS):
                    await producer.send(topics.EVENTS, value, key)
            while not ended.is_set():
                for appid in appids.values():
                    key, value = tap(appid, taps.sent)
                    await producer.send(topics.EVENTS, value, key)
                    taps.sent += 1
                await asyncio.sleep(EVERY_S)
            await producer.flush()
        finally:
            await producer.stop()

    sender = asyncio.create_task(send())
    try:
        yield taps
    finally:
        ended.set()
        await sender
