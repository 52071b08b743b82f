"""Sinks that join and leave their group: the longest pause of partitions that stay and of those that move.

A worker meters taps that keep coming to every partition. A pause is the time between two moments at which
ClickHouse was seen to have more of a partition, so it contains the one between two INSERTs (`sink_flush_ms`).
In the end ClickHouse must have each line once.
"""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from bench.figures import Figure, tell
from bench.group_changes import PARTITIONS, Change, Group, longest_pauses, pause_figures
from bench.kafka_log import ends, reading
from bench.processes import program, stack
from bench.rescale import steady_taps
from bench.stored import StoredLedger, stored_difference
from metering import topics
from phonemeter.settings import Settings
from sinks.connection import FAILURES

APPS: Final = 100
LOOK_S: Final = 0.1
STORED_S_MAX: Final = 120.0


def figures(runs: int) -> Iterator[Figure]:
    """By change, the longest pause of the partitions that stay and of those that move."""
    found = [_measure() for _ in range(runs)]
    under = {"partitions": PARTITIONS, "sinks": "2 and a third", "seen_every_s": LOOK_S}
    yield from pause_figures("rescale-sinks", found, under)


def _measure() -> tuple[dict[str, float], bool]:
    """The pauses of one run, and whether ClickHouse has each line once."""
    with (
        stack("kafka", "engine", clock="events", partitions=PARTITIONS) as (settings, _),
        ExitStack() as working,
    ):
        sinks = [working.enter_context(program(settings, "sink", 1 + number)) for number in range(2)]
        working.enter_context(program(settings, "worker"))
        for one in sinks:
            one.wait_ready()
        with _seen(settings) as stored_s:
            changes, sent = asyncio.run(_changed(settings, Group("sink", sinks)))
        tell(f"taps that were sent: {sent}")
        correct = asyncio.run(stored_difference(settings)) is None
    return longest_pauses(changes, stored_s), correct


async def _changed(settings: Settings, group: Group) -> tuple[list[Change], int]:
    """Change the group while events come, and wait for their lines; returns the changes and the taps."""
    async with steady_taps(settings.kafka, APPS, buying=True) as taps:
        changes = await group.changes(settings)
    async with reading(settings.kafka, topics.EVENTS, range(PARTITIONS)) as log:
        wanted = await ends(log)
    await asyncio.to_thread(_wait_stored, settings, wanted)
    return changes, taps.sent


def _wait_stored(settings: Settings, wanted: dict[int, int]) -> None:
    until_s = time.monotonic() + STORED_S_MAX
    stored = StoredLedger(settings)
    try:
        while stored.stored_up_to() != wanted:
            if time.monotonic() > until_s:
                raise RuntimeError(f"not all is stored after {STORED_S_MAX:.0f} s; see the logs of the sinks")
            time.sleep(LOOK_S)
    finally:
        stored.close()


@contextmanager
def _seen(settings: Settings) -> Iterator[dict[int, list[float]]]:
    """During the block, the moments at which each partition was seen to have more in ClickHouse."""
    moments_s: dict[int, list[float]] = {one: [] for one in range(PARTITIONS)}
    over = threading.Event()

    def look() -> None:
        stored, before = StoredLedger(settings), dict[int, int]()
        try:
            while not over.wait(LOOK_S):
                try:
                    found = stored.stored_up_to()
                except FAILURES:
                    # The first sink may not have made the table yet.
                    continue
                for one, offset in found.items():
                    if offset != before.get(one):
                        moments_s[one].append(time.time())
                before = found
        finally:
            stored.close()

    looking = threading.Thread(target=look, name="bench-seen")
    looking.start()
    try:
        yield moments_s
    finally:
        over.set()
        looking.join()
