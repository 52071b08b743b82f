from collections import Counter
from collections.abc import Callable

import pytest

from metering.partition import PartitionState, Record, meter
from metering.rules import Rules
from metering.times import DAY_MS
from streams.batch_step import Held, Publish, Work
from streams.state_log import Placed, Placement, StateDamagedError
from tests.streams.building import APPS, START_MS, purchase, tap, taps, tick
from tests.streams.simulation import Simulation

RULES = Rules(trial_calls=20)
SEEDS = range(150)


def log() -> list[Record]:
    """Taps, repeated taps, packs, garbage, and time enough for packs to lapse and ids to be forgotten."""
    records = [*taps(0, 60), purchase(60, APPS[0], 30), purchase(61, APPS[1], 7), *taps(62, 200)]
    records += [tap(200, APPS[2], event_id="tap-62"), Record(201, START_MS, None, b"{"), *taps(202, 300)]
    records += [tick(300, START_MS + 2 * DAY_MS), *taps(301, 380)]
    records += [tick(380, START_MS + 200 * DAY_MS), purchase(381, APPS[2], 9), *taps(382, 420)]
    return records


def check(seed: int) -> Counter[str]:
    simulation = Simulation(seed, log(), RULES)
    simulation.run()
    truth = meter(PartitionState(0), log(), RULES)
    assert simulation.ledger() == truth.entries, f"seed {seed}"
    assert simulation.broker.held(0).state.accounts == truth.state.accounts, f"seed {seed}"
    return simulation.faults


def check_all() -> Counter[str]:
    return sum((check(seed) for seed in SEEDS), Counter[str]())


def test_whatever_happens_the_ledger_is_that_of_an_undisturbed_run_and_every_fault_fires() -> None:
    fired = check_all()
    assert set(fired) == {
        "crash",
        "crash before commit",
        "compaction",
        "skip forward",
        "rewind",
        "rewind skipped",
        "gap noticed",
        "zombie",
        "published twice",
    }
    assert all(fired.values())


async def header_before_outcome(work: Work, publish: Publish) -> Held:
    await publish((work.header,))
    await publish(work.outcome)
    return work.after


async def state_without_ledger(work: Work, publish: Publish) -> Held:
    await publish([record for record in work.outcome if record.topic != "phone-ledger"])
    await publish((work.header,))
    return work.after


def one_slot(key: str, placed: Placed) -> bytes:
    return f"{key}#{placed.epoch}.0".encode()


def one_epoch(placement: Placement, _now_ms: int) -> Placement:
    return placement


@pytest.mark.parametrize(
    ("module", "name", "mutation"),
    [
        ("tests.streams.simulation", "carry_out", header_before_outcome),
        ("tests.streams.simulation", "carry_out", state_without_ledger),
        ("streams.state_log", "_record_key", one_slot),
        ("streams.state_log.Placement", "taken_over", one_epoch),
    ],
)
def test_the_simulation_finds_a_planted_bug(
    monkeypatch: pytest.MonkeyPatch, module: str, name: str, mutation: Callable[..., object]
) -> None:
    monkeypatch.setattr(f"{module}.{name}", mutation)
    with pytest.raises((AssertionError, StateDamagedError)):
        check_all()
