"""Many seeds, every fault, every planted bug. A failure names its seed, which replays exactly."""

from collections import Counter

import pytest

from streams.state_log import StateDamagedError
from tests.simulation import mutations
from tests.simulation.checks import WrongOutcomeError
from tests.simulation.world import World

SEEDS_MIN, SEEDS_MAX = 60, 600
SEEDS_TO_FIND_A_BUG = range(2_000, 2_400)

FAULTS = {
    "kill -9 of worker",
    "kill -9 of sink",
    "SIGTERM of worker",
    "worker ended in order",
    "freeze of worker",
    "freeze of sink",
    "zombie worker woke up",
    "zombie sink woke up",
    "zombie's record arrives after its sleep",
    "record of a dead worker arrives",
    "record of a dead worker lost",
    "workers' partitions divided anew",
    "group forgets worker",
    "sinks' partitions divided anew",
    "sink's partitions taken without its knowledge",
    "delivery skips forward",
    "delivery rewinds",
    "stale delivery",
    "worker went back",
    "checkpoint of a worker of the past refused",
    "sink's delivery skips forward",
    "sink's delivery skips the same again",
    "sink's delivery rewinds",
    "sink ended by itself",
    "broker away",
    "publication given up",
    "publication refused",
    "worker stopped by RefusedError",
    "acknowledgement lost",
    "commit of offsets lost",
    "sink's commit refused",
    "sink's commit unheard of",
    "compaction",
    "engine crash",
    "engine crashed within an INSERT",
    "engine in trouble",
    "INSERT refused",
    "INSERT reply lost",
    "INSERT stored later",
    "INSERT broken off",
}


def test_whatever_happens_every_line_is_stored_once_and_every_fault_fires() -> None:
    fired: Counter[str] = Counter()
    for seed in range(SEEDS_MAX):
        if seed >= SEEDS_MIN and fired.keys() >= FAULTS:
            break
        world = World(seed)
        world.run()
        fired += world.faults
    assert fired.keys() >= FAULTS, FAULTS - fired.keys()


def test_a_seed_replays_exactly() -> None:
    stories: list[list[str]] = [[], []]
    for story in stories:
        world = World(7, story.append)
        world.run()
        story.append(repr((sorted(world.faults.items()), world.rows())))
    assert stories[0] == stories[1]


@pytest.mark.parametrize("mutation", mutations.ALL, ids=lambda mutation: mutation.name)
def test_a_planted_bug_is_found(mutation: mutations.Mutation) -> None:
    with mutation.looked_for():
        with mutation.planted():
            seed = first_wrong_seed()
        World(seed).run()


def first_wrong_seed() -> int:
    for seed in SEEDS_TO_FIND_A_BUG:
        try:
            World(seed).run()
        except (WrongOutcomeError, StateDamagedError):
            return seed
    pytest.fail(f"no run went wrong within {len(SEEDS_TO_FIND_A_BUG)} seeds")
