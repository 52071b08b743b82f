"""A long seeded run of a partition with traffic, retries, crashes and restarts, and an unchanged ledger.

The simulated worker does the steps of the real one in their order: it meters a batch, publishes the ledger
and stores the state. It crashes between any two of these.
"""

import random
from dataclasses import dataclass, field

import msgspec
import pytest

from metering.ledger import Entry
from metering.partition import MeteringResult, OffsetGapError, meter
from metering.partition_state import PartitionState
from metering.rating import rate
from metering.records import Record
from metering.rules import Rules
from metering.state_items import StateHeader, changed_items, header_of, restore
from tests.metering.building import DAY_MS, at, denied, purchased, refunded, succeeded, ticked
from tests.metering.model import Model
from tests.metering.test_against_model import with_times_as_text

RULES = Rules(trial_calls=50, duplicate_window_ms=30 * DAY_MS, remembered_ids_max=3_000)
APPS = [f"wx-{number}" for number in range(12)]
EVENTS = 12_000


def traffic(seed: int) -> list[bytes]:
    """Half a year of events in the order of the log, some late, some sent twice."""
    chance = random.Random(seed)  # noqa: S311 - a seeded simulation
    log: list[bytes] = []
    bought = [(APPS[0], "none")]
    now_ms = at(-2)
    for number in range(EVENTS):
        now_ms += chance.randrange(2 * 180 * DAY_MS // EVENTS)
        app = chance.choice(APPS[: 1 + number * len(APPS) // EVENTS])
        time_ms = now_ms - (chance.randrange(3 * DAY_MS) if chance.random() < 0.1 else 0)
        kind = chance.random()
        if kind < 0.04:
            paid_at = time_ms - chance.choice((0, 0, DAY_MS, 8 * DAY_MS))
            days, calls = chance.choice((1, 10, 90)), chance.choice((1, 10, 100))
            name = f"pack-{number}"
            bought.append((app, name))
            log.append(
                purchased(
                    time_ms, name, calls=calls, days=days, price=calls * 29_999, paid_at=paid_at, app=app
                )
            )
        elif kind < 0.06:
            app, name = chance.choice(bought[-3:])
            log.append(refunded(time_ms, name, app=app))
        elif kind < 0.08:
            log.append(denied(time_ms))
        elif kind < 0.10:
            log.append(ticked(now_ms))
        elif kind < 0.11:
            log.append(b'{"specversion":"1.0"')
        elif kind < 0.16 and log:
            log.append(chance.choice(log[-40:]))
        else:
            log.append(succeeded(time_ms, app=app, capability=chance.choice(("quick", "quick", "realtime"))))
    return log


@dataclass
class World:
    """The parts that survive a crash: the published ledger and the stored state."""

    published: dict[tuple[int, int], Entry] = field(default_factory=dict)
    header: StateHeader = field(default_factory=StateHeader)
    items: dict[str, bytes] = field(default_factory=dict)
    published_again: int = 0

    def publish(self, metered: MeteringResult) -> None:
        for entry in metered.entries:
            identity = (entry.offset, entry.line)
            if identity in self.published:
                assert self.published[identity] == entry
                self.published_again += 1
            self.published[identity] = entry

    def keep(self, before: PartitionState, metered: MeteringResult) -> None:
        for key, item in changed_items(before, metered.state, metered.changes).items():
            if item is None:
                self.items.pop(key, None)
            else:
                self.items[key] = item
        self.header = header_of(metered.state)

    def state(self) -> PartitionState:
        return restore(0, self.header, self.items)


def live(log: list[Record], world: World, chance: random.Random) -> tuple[int, int]:
    """Meter a log with crashes; returns the numbers of crashes and of refused gaps."""
    crashes = gaps = 0
    state = world.state()
    while state.next_offset < len(log):
        start = max(0, state.next_offset + chance.choice((0, 0, 0, 0, -30, 5)))
        batch = log[start : start + chance.choice((1, 3, 50, 400))]
        try:
            metered = meter(state, batch, RULES)
        except OffsetGapError:
            gaps += 1
            continue
        fate = chance.random()
        if fate >= 0.1:
            world.publish(metered)
        if fate >= 0.2:
            world.keep(state, metered)
            state = metered.state
        if fate < 0.3:
            crashes += 1
            state = world.state()
    return crashes, gaps


@pytest.mark.parametrize("seed", [1, 20_231_126])
def test_a_worker_that_crashes_all_the_time_writes_the_ledger_of_one_that_never_does(seed: int) -> None:
    values = traffic(seed)
    log = [Record(offset, None, None, value) for offset, value in enumerate(values)]
    undisturbed = meter(PartitionState(0), log, RULES)

    world = World()
    crashes, gaps = live(log, world, random.Random(seed))  # noqa: S311 - a seeded simulation

    assert msgspec.json.encode(list(world.published.values())) == msgspec.json.encode(undisturbed.entries)
    assert list(world.published) == sorted(world.published)
    assert world.state().accounts == undisturbed.state.accounts
    assert min(crashes, gaps, world.published_again) > 5


def test_half_a_year_of_traffic_gives_the_accounts_of_the_model() -> None:
    values = traffic(7)
    model = Model(
        billing_start_ms=RULES.billing_start_ms,
        trial_calls=RULES.trial_calls,
        trial_scope=RULES.trial_scope,
        allowed_lateness_ms=RULES.allowed_lateness_ms,
        duplicate_window_ms=RULES.duplicate_window_ms,
        remembered_ids_max=RULES.remembered_ids_max,
    )
    model.read_all(values)
    figures = with_times_as_text(model.figures())
    assert msgspec.to_builtins(rate(values, RULES)) == figures
    statuses = [pack["status"] for app in figures["apps"].values() for pack in app["quick"]["packs"]]
    assert {"active", "exhausted", "lapsed", "refunded"} <= set(statuses)
