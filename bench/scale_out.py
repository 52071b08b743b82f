"""Two workers with half the partitions each: whether together they use the CPU per event that one uses.

Both settle on the purchases first, so that the group is divided when the taps come; these come faster than
the workers meter them.
"""

import asyncio
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from itertools import islice
from typing import Final

from bench.figures import Figure, tell
from bench.kafka_log import publish
from bench.measuring import Cost, cost_of_more, ledger_difference
from bench.processes import Program, program, stack
from bench.traffic import APPS, PACKS, events
from metering.topics import WORKER_GROUP
from phonemeter.kafka_admin import admin
from phonemeter.settings import Settings
from phonemeter.stack.kafka.progress import NO_COORDINATOR_YET
from phonemeter.stack.probes import http_get

WITHIN: Final = 1.1
DIVIDE_S_MAX: Final = 60.0
RECORDS: Final = re.compile(r"^phonemeter_worker_records_total\{[^}]*\} ([\d.e+]+)$", re.MULTILINE)


def figures(taps: int, runs: int) -> Iterator[Figure]:
    """The ratio of what two workers use per event to what one uses."""
    ratios, correct = [], True
    one = two = 0.0
    for _ in range(runs):
        one, one_is_right = measure(1, taps)
        two, two_are_right = measure(2, taps)
        ratios.append(two / one)
        correct = correct and one_is_right and two_are_right
    yield Figure(
        figure="scale out: CPU per event of two workers, of that of one",
        values=tuple(ratios),
        unit="times",
        target=WITHIN,
        correct=correct,
        under={"taps": taps, "one_cpu_s_per_million": round(one, 2), "two_cpu_s_per_million": round(two, 2)},
    )


def measure(count: int, taps: int) -> tuple[float, bool]:
    """Seconds of CPU per million taps of so many workers together, and whether their ledger is right."""
    with stack("kafka", clock="events") as (settings, _), ExitStack() as working:
        traffic = events(taps)
        purchases = islice(traffic, APPS * len(PACKS))
        workers = [working.enter_context(program(settings, "worker", 1 + number)) for number in range(count)]
        _wait_until_divided(settings, workers)
        asyncio.run(publish(settings.kafka, settings.partitions, purchases))
        cost = asyncio.run(cost_of_more(settings, workers, list(traffic)))
        shared = [_metered(worker) for worker in workers]
        wrong = asyncio.run(ledger_difference(settings.kafka, settings.partitions))
    tell(f"{count} workers: {shared} events each, {_told(cost)}")
    return sum(cost.cpu_s.values()) / taps * 1e6, wrong is None and min(shared) > 0


def _wait_until_divided(settings: Settings, workers: Sequence[Program]) -> None:
    """Wait until all are members of the group; it is divided as soon as the last has joined."""
    for worker in workers:
        worker.wait_ready()
    deadline_s = time.monotonic() + DIVIDE_S_MAX
    with admin(settings.kafka_access) as client:
        while time.monotonic() < deadline_s:
            with suppress(*NO_COORDINATOR_YET):
                group = client.describe_groups([WORKER_GROUP])[WORKER_GROUP]
                if len(group["members"]) == len(workers) and group["group_state"] == "Stable":
                    return
            time.sleep(0.5)
    raise RuntimeError(f"{len(workers)} workers did not form a group within {DIVIDE_S_MAX:.0f} s")


def _metered(worker: Program) -> int:
    return round(sum(map(float, RECORDS.findall(http_get(worker.port, "/metrics")[1]))))


def _told(cost: Cost) -> str:
    return f"{cost.events / cost.wall_s:,.0f} taps/s while they were published"
