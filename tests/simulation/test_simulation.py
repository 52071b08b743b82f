"""Many seeds, every fault, every planted bug. A failure names its seed, which replays exactly."""

from collections import Counter
from itertools import chain

import pytest

from streams.state_log import StateDamagedError
from tests.simulation import mutations
from tests.simulation.checks import WrongOutcomeError
from tests.simulation.found import FOUND_WITH
from tests.simulation.gateway_mutations import OF_GATEWAYS
from tests.simulation.gateway_world import GatewayWorld
from tests.simulation.mutation import Mutation
from tests.simulation.other_log import OtherLog
from tests.simulation.world import World

pytestmark = pytest.mark.slow

SEEDS_MIN, SEEDS_MAX = 60, 600
SEEDS_TO_FIND_A_BUG = range(2_000, 2_400)

FAULTS = {
    "kill -9 of worker",
    "kill -9 of sink",
    "SIGTERM of worker",
    "worker stopped in order",
    "kill -9 of settler",
    "freeze of worker",
    "freeze of sink",
    "freeze of settler",
    "zombie worker woke up",
    "zombie sink woke up",
    "zombie's record arrives after its sleep",
    "record of a dead worker arrives",
    "record of a dead worker lost",
    "workers rebalanced",
    "group forgets worker",
    "sinks rebalanced",
    "sink's partitions reassigned without its knowledge",
    "delivery skips forward",
    "delivery rewinds",
    "stale delivery",
    "worker went back",
    "checkpoint of a zombie worker refused",
    "sink's delivery skips forward",
    "sink's delivery skips the same again",
    "sink's delivery rewinds",
    "sink's delivery stands still",
    "offsets without a ledger record",
    "sink ended by itself",
    "broker away",
    "transaction committed",
    "transaction aborted",
    "offsets without a record",
    "publication given up",
    "publisher renewed",
    "publication refused",
    "worker stopped by PublishRefusedError",
    "acknowledgement lost",
    "commit of offsets lost",
    "sink's commit refused",
    "reply to sink's commit lost",
    "compaction",
    "engine crash",
    "engine crashed within an INSERT",
    "engine in trouble",
    "INSERT refused",
    "INSERT reply lost",
    "INSERT stored later",
    "INSERT broken off",
    "settlement published",
    "settlement published twice",
    "settlement lost",
    "settlement arrives late",
}


GATEWAY_SEEDS_MIN, GATEWAY_SEEDS_MAX = 25, 200
GATEWAY_FAULTS = {
    "kill -9 of gateway",
    "freeze of gateway",
    "request lost with its gateway",
    "event of a gateway not confirmed in time",
    "request answered with 200",
    "request answered with 503",
    "request answered with 409",
    "request answered again",
    "client gives up",
    "broker away",
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
def test_a_planted_bug_is_found(mutation: Mutation) -> None:
    with mutation.search():
        with mutation.planted():
            seed = first_wrong_seed(mutation)
        World(seed).run()


@pytest.mark.parametrize("seed", range(6))
def test_a_log_that_became_another_one_is_refused_and_never_stored_as_metered(seed: int) -> None:
    OtherLog(seed).run()


@pytest.mark.parametrize("mutation", mutations.OF_ANOTHER_LOG, ids=lambda mutation: mutation.name)
def test_a_bug_that_lets_another_log_pass_is_found(mutation: Mutation) -> None:
    with mutation.planted():
        seed = first_wrong_seed(mutation, OtherLog)
    OtherLog(seed).run()


def test_what_a_gateway_accepted_is_in_the_ledger_once_whatever_happens() -> None:
    fired: Counter[str] = Counter()
    for seed in range(GATEWAY_SEEDS_MAX):
        if seed >= GATEWAY_SEEDS_MIN and fired.keys() >= GATEWAY_FAULTS:
            break
        world = GatewayWorld(seed)
        world.run()
        fired += world.faults
    assert fired.keys() >= GATEWAY_FAULTS, GATEWAY_FAULTS - fired.keys()


def test_a_seed_with_gateways_replays_exactly() -> None:
    stories: list[list[str]] = [[], []]
    for story in stories:
        world = GatewayWorld(7, story.append)
        world.run()
        story.append(repr((sorted(world.faults.items()), world.rows())))
    assert stories[0] == stories[1]


@pytest.mark.parametrize("mutation", OF_GATEWAYS, ids=lambda mutation: mutation.name)
def test_a_planted_bug_of_the_gateway_is_found(mutation: Mutation) -> None:
    with mutation.planted():
        seed = first_wrong_seed(mutation, GatewayWorld)
    GatewayWorld(seed).run()


def test_a_seed_is_kept_for_planted_bugs_alone() -> None:
    planted = (*mutations.ALL, *mutations.OF_ANOTHER_LOG, *OF_GATEWAYS)
    assert {mutation.name for mutation in planted} >= FOUND_WITH.keys()


def first_wrong_seed(mutation: Mutation, world: type[World] = World) -> int:
    found_before = FOUND_WITH.get(mutation.name, SEEDS_TO_FIND_A_BUG[0])
    for seed in chain([found_before], SEEDS_TO_FIND_A_BUG):
        try:
            world(seed).run()
        except (WrongOutcomeError, StateDamagedError):
            return seed
    pytest.fail(f"no run went wrong within {len(SEEDS_TO_FIND_A_BUG)} seeds")
