"""Workers that join and leave a group: the longest pause of partitions that stay and of those that move.

Events keep coming to every partition. A pause is the time between two ledger records of a partition, by the
clock of the worker that published them. The workers have a state to restore, made as in `bench.restart`.
"""

import asyncio
import os
import re
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from itertools import pairwise, repeat
from typing import Final, NamedTuple

from aiokafka import AIOKafkaProducer

from bench.figures import Figure, tell
from bench.kafka_log import ends, partition_of, reading, records
from bench.measuring import until_metered
from bench.processes import Program, program, stack
from bench.restart import PROCESSES, PartitionSeed, leave, left_of, line_kinds
from bench.traffic import appids_of, tap
from metering import topics
from phonemeter.settings import Settings
from phonemeter.stack.probes import http_get

PARTITIONS: Final = 6
"""Divides by two and by three: Faust leaves partitions where they are unless that spreads them better."""

PAUSE_S_MAX: Final = 3.0
EVERY_S: Final = 0.05
SETTLE_S: Final = 8.0
LIMIT_S: Final = 90.0
OWNED: Final = re.compile(r'^phonemeter_worker_next_offset\{partition="(\d+)"\} ', re.MULTILINE)

Owners = Mapping[str, frozenset[int]]
"""The partitions that each worker has."""


class Change(NamedTuple):
    """A change of the group, with the owners before and after it."""

    name: str
    began_s: float
    ended_s: float
    before: Owners
    after: Owners

    def stayed(self) -> frozenset[int]:
        """The partitions that kept their worker."""
        kept = (owned & self.after.get(name, frozenset()) for name, owned in self.before.items())
        return frozenset().union(*kept)

    def pause_s(self, published_s: Mapping[int, Sequence[float]], partitions: frozenset[int]) -> float:
        """The longest pause of these partitions."""
        return max(
            (
                later - earlier
                for one in partitions
                for earlier, later in pairwise(published_s[one])
                if self.began_s <= (earlier + later) / 2 <= self.ended_s
            ),
            default=0.0,
        )


def figures(apps: int, ids: int, runs: int) -> Iterator[Figure]:
    """By change, the longest pause of the partitions that stay and of those that move."""
    with ProcessPoolExecutor(PROCESSES) as pool:
        left = list(pool.map(left_of, range(PARTITIONS), repeat(PARTITIONS), repeat(apps), repeat(ids)))
    found = [measure(left, apps) for _ in range(runs)]
    under = {"apps": apps, "remembered_ids": ids, "partitions": PARTITIONS, "workers": "2 and a third"}
    correct = all(is_right for _, is_right in found)
    for name in found[0][0]:
        yield Figure(
            figure=f"rescale: longest pause, {name}",
            values=tuple(pauses[name] for pauses, _ in found),
            unit="s",
            target=PAUSE_S_MAX if "stay" in name else None,
            correct=correct,
            under=under,
        )


def measure(left: Sequence[PartitionSeed], apps: int) -> tuple[dict[str, float], bool]:
    """The pauses of one run, and whether each tap was charged once."""
    with stack("kafka", clock="events", partitions=PARTITIONS) as (settings, _), ExitStack() as working:
        asyncio.run(leave(settings, left))
        workers = [working.enter_context(program(settings, "worker", 1 + number)) for number in range(2)]
        changes, sent = asyncio.run(_changed(settings, workers, apps))
        published_s = {
            one: [
                record.timestamp / 1_000
                for record in asyncio.run(records(settings.kafka, topics.LEDGER, one))
            ]
            for one in range(PARTITIONS)
        }
        tell(f"taps that were sent: {sent}")
        correct = asyncio.run(line_kinds(settings)) == {"duplicate": 0, "charged": sent, "other": 0}
    pauses = {}
    for change in changes:
        stayed = change.stayed()
        moved = frozenset(published_s) - stayed
        tell(f"{change.name}: partitions {sorted(stayed)} stayed, {sorted(moved)} moved")
        pauses[f"{change.name}, partitions that stay"] = change.pause_s(published_s, stayed)
        pauses[f"{change.name}, partitions that move"] = change.pause_s(published_s, moved)
    return pauses, correct


async def _changed(settings: Settings, workers: Sequence[Program], apps: int) -> tuple[list[Change], int]:
    """Change the group while events come; returns the changes, and the number of events."""
    sending = asyncio.Event()
    sender = asyncio.create_task(_send(settings.kafka, apps, sending))
    changes = []
    try:
        owners = await _divided(workers)
        for signal_number, end in ((signal.SIGTERM, "is stopped"), (signal.SIGKILL, "is killed")):
            began_s = time.time()
            with program(settings, "worker", 3) as third:
                joined = await _divided([*workers, third])
                changes.append(
                    Change(f"a worker joins before it {end}", began_s, time.time(), owners, joined)
                )
                began_s = time.time()
                os.kill(third.pid, signal_number)
                owners = await _divided(workers)
                changes.append(Change(f"a worker {end}", began_s, time.time(), joined, owners))
    finally:
        sending.set()
        sent = await sender
    places = range(PARTITIONS)
    kafka = settings.kafka
    async with reading(kafka, topics.LEDGER, places) as ledger, reading(kafka, topics.EVENTS, places) as log:
        await until_metered(ledger, await ends(log), workers)
    return changes, sent


async def _send(kafka: str, apps: int, ended: asyncio.Event) -> int:
    """Publish a tap to each partition again and again, until `ended`; returns how many there were."""
    appids = {partition_of(appid.encode(), PARTITIONS): appid for appid in appids_of(apps)}
    producer = AIOKafkaProducer(bootstrap_servers=kafka, acks="all")
    await producer.start()
    sent = 0
    try:
        while not ended.is_set():
            for appid in appids.values():
                key, value = tap(appid, sent)
                await producer.send(topics.EVENTS, value, key)
                sent += 1
            await asyncio.sleep(EVERY_S)
        await producer.flush()
    finally:
        await producer.stop()
    return sent


async def _divided(workers: Sequence[Program]) -> Owners:
    """The owners once each of the workers has partitions, they have all, and meter them for a while."""
    deadline_s = time.monotonic() + LIMIT_S
    since_s = time.monotonic()
    last: dict[str, frozenset[int]] = {}
    while time.monotonic() < deadline_s:
        owners = {one.name: await asyncio.to_thread(_owned, one) for one in workers}
        if owners != last or not _all_owned(owners):
            since_s, last = time.monotonic(), owners
        elif time.monotonic() - since_s > SETTLE_S:
            return owners
        await asyncio.sleep(0.2)
    raise RuntimeError(f"the workers did not divide the partitions within {LIMIT_S:.0f} s: {last}")


def _all_owned(owners: Owners) -> bool:
    owned = [one for each in owners.values() for one in each]
    return all(owners.values()) and sorted(owned) == list(range(PARTITIONS))


def _owned(worker: Program) -> frozenset[int]:
    try:
        return frozenset(map(int, OWNED.findall(http_get(worker.port, "/metrics")[1])))
    except OSError:
        return frozenset()
