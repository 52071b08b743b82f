"""Notifiers without Kafka: one log, a clock moved by hand, crashes at any step, a receiver that remembers."""

from collections import Counter
from dataclasses import dataclass, field
from random import Random

from metering.times import DAY_MS, HOUR_MS, SECOND_MS
from sinks.notifier import planning
from sinks.notifier.planning import Limits, Outcome
from sinks.notifier.records import AnyRecord, Asked, Chain, Claim, chain_key, decode, encode, key_of
from sinks.notifier.routes import Route
from sinks.notifier.schedule import Policy
from sinks.notifier.share import Share
from tests.sinks.notifier.parts import alert

LIMITS = Limits(Policy(5_000, DAY_MS), 15 * SECOND_MS)
ROUTES = {name: Route(name=name, channel="webhook", address="") for name in ("first", "second")}


@dataclass
class World:
    """The log of one partition, compacted at times, and who has received which message how often."""

    random: Random
    now_ms: int = 1_000_000_000_000
    log: list[tuple[bytes, bytes | None]] = field(default_factory=list)
    compactions: int = 0
    sent: Counter[tuple[str, int]] = field(default_factory=Counter)
    delivered: Counter[str] = field(default_factory=Counter)
    unrecorded: Counter[str] = field(default_factory=Counter)
    """Messages that arrived, of which nobody could record it."""

    def publish(self, record: AnyRecord) -> None:
        self.log.append((key_of(record), encode(record)))

    def compact(self) -> None:
        newest = {key: number for number, (key, _) in enumerate(self.log)}
        self.log = [self.log[number] for number in sorted(newest.values())]
        self.compactions += 1

    def ask(self, offset: int, route: str, *, held_ms: int = 0) -> None:
        due_ms = self.now_ms + held_ms
        self.publish(
            Asked(at_ms=self.now_ms, alert=alert(offset), route=route, due_ms=due_ms, held=held_ms > 0)
        )

    def receive(self, chain: Chain) -> bool:
        """Take a message, or fail to: the last attempts always succeed, so that every chain ends."""
        self.sent[chain.id, chain.attempt] += 1
        taken = chain.attempt > 4 or self.random.random() < 0.5
        self.delivered[chain.id] += taken
        return taken


class Incarnation:
    """One notifier from its claim to its end. Reads the log, acts on it, and may lag behind."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.share = Share(0, owner=f"owner-{world.random.random()}")
        self.read = 0
        self.compactions = world.compactions
        self.begun: list[Chain] = []
        world.publish(Claim(at_ms=world.now_ms, owner=self.share.owner))

    def catch_up(self) -> None:
        if self.compactions != self.world.compactions:
            # Kafka's offsets survive compaction and the places in this log do not: it reads no further.
            return
        for key, value in self.world.log[self.read :]:
            if value is None:
                self.share.unread.pop(self.share.known.erase(key), None)
                continue
            record = decode(value)
            chain = self.share.known.apply(record)
            if isinstance(record, Chain):
                self.share.unread.pop(record.id, None)
            if chain is not None and self.share.active and chain.owner == self.share.owner:
                self.begun.append(chain)
        self.read = len(self.world.log)

    def plan(self) -> None:
        if not self.share.active:
            return
        known, now_ms = self.share.known, self.world.now_ms
        mine = frozenset(chain.id for chain in self.begun)
        for name in [one for one in known.contradicted if self.share.settled(one, now_ms)]:
            chain = planning.corrected(known, name)
            self.world.log.append((chain_key(name), None if chain is None else encode(chain)))
            self.share.unread[name] = now_ms
        chains = [
            *planning.interrupted(known, mine, LIMITS, now_ms),
            *planning.begun(known, ROUTES, {}, {}, now_ms),
        ]
        for chain in chains:
            if chain.id not in mine and self.share.settled(chain.id, now_ms):
                self.world.publish(chain)
                self.share.unread[chain.id] = now_ms

    def deliver(self, *, crash: str = "") -> None:
        """Make the attempts that were read back; with `crash`, end before or after the first one."""
        while self.begun:
            chain = self.begun.pop(0)
            if crash == "before":
                return
            if planning.is_stale(chain, self.world.now_ms):
                stale = Outcome(delivered=False, reason="stood still")
                self.world.publish(planning.concluded(chain, stale, LIMITS, self.world.now_ms))
                continue
            taken = self.world.receive(chain)
            if crash == "after":
                self.world.unrecorded[chain.id] += taken
                return
            outcome = Outcome(delivered=taken, reason="")
            self.world.publish(planning.concluded(chain, outcome, LIMITS, self.world.now_ms))


class Simulation:
    """Notifiers that live and die over some alerts."""

    def __init__(self, seed: int, alerts: int) -> None:
        self.random = Random(seed)  # noqa: S311 - no secret
        self.world = World(self.random)
        self.waiting = list(range(alerts))
        self.living = Incarnation(self.world)
        self.replaced: list[Incarnation] = []
        self.steps = (self.ask, self.ask_again, self.crash, self.replace, self.stir, self.wait, self.work)

    def ask(self) -> None:
        if self.waiting:
            offset = self.waiting.pop()
            for route in ROUTES:
                self.world.ask(offset, route, held_ms=self.random.choice((0, 0, HOUR_MS)))

    def ask_again(self) -> None:
        """The worker publishes an alert again after a crash, and it is asked for again."""
        if 5 not in self.waiting:
            for route in ROUTES:
                self.world.ask(5, route)

    def crash(self) -> None:
        self.living.deliver(crash=self.random.choice(("", "before", "after")))
        if self.random.random() < 0.3:
            # Kafka compacts nothing younger than an hour: by then a notifier has corrected what is void.
            self.living = Incarnation(self.world)
            self.living.catch_up()
            self.living.plan()
            self.world.compact()
        self.living = Incarnation(self.world)

    def replace(self) -> None:
        """Taken for dead, and still at work for a while: it publishes after the next one's claim."""
        self.replaced.append(self.living)
        self.living = Incarnation(self.world)

    def stir(self) -> None:
        if self.replaced:
            old = self.replaced.pop()
            if old.compactions == self.world.compactions:
                self.random.choice((old.plan, old.catch_up, old.deliver))()
                old.deliver()

    def wait(self) -> None:
        self.world.now_ms += self.random.choice((1_000, 60_000, HOUR_MS))

    def work(self) -> None:
        for _ in range(self.random.randrange(12)):
            self.random.choice((self.living.catch_up, self.living.deliver, self.living.plan))()


def simulate(seed: int, alerts: int = 6) -> World:
    """Let notifiers live and die until every chain is over."""
    simulation = Simulation(seed, alerts)
    for _ in range(150):
        simulation.random.choices(simulation.steps, (2, 1, 2, 1, 2, 4, 8))[0]()
    while simulation.waiting:
        simulation.ask()
    for _ in range(60):
        simulation.living.plan()
        simulation.living.catch_up()
        simulation.living.deliver()
        simulation.living.catch_up()
        simulation.world.now_ms += HOUR_MS // 2
    return simulation.world
