"""Notifiers without Kafka: one log, a clock set by hand, crashes at any step, zombies, a receiver."""

from collections import Counter
from dataclasses import dataclass, field
from random import Random

from metering.times import DAY_MS, HOUR_MS, SECOND_MS
from sinks.notifier import planning
from sinks.notifier.owned_partition import OwnedPartition
from sinks.notifier.planning import AttemptLimits, AttemptOutcome
from sinks.notifier.records import AnyRecord, Delivery, DeliveryRequest, encode, key_of
from sinks.notifier.routes import Route, Routes
from sinks.notifier.schedule import Policy
from tests.sinks.notifier.parts import alert

LIMITS = AttemptLimits(Policy(5_000, DAY_MS), 15 * SECOND_MS)
ROUTES = {name: Route(name=name, channel="webhook", address="") for name in ("first", "second")}


@dataclass
class World:
    """The log of one partition, compacted at times, and a receiver that counts messages."""

    random: Random
    now_ms: int = 1_000_000_000_000
    log: list[tuple[bytes, bytes | None]] = field(default_factory=list)
    compactions: int = 0
    sent: Counter[tuple[str, int]] = field(default_factory=Counter)
    delivered: Counter[str] = field(default_factory=Counter)
    unrecorded: Counter[str] = field(default_factory=Counter)
    """Messages that arrived, without a record of it."""

    def publish(self, record: AnyRecord) -> None:
        self.log.append((key_of(record), encode(record)))

    def compact(self) -> None:
        newest = {key: number for number, (key, _) in enumerate(self.log)}
        self.log = [self.log[number] for number in sorted(newest.values())]
        self.compactions += 1

    def request(self, offset: int, route: str, *, held_ms: int = 0) -> None:
        due_ms = self.now_ms + held_ms
        self.publish(
            DeliveryRequest(
                at_ms=self.now_ms, alert=alert(offset), route=route, due_ms=due_ms, held=held_ms > 0
            )
        )

    def receive(self, delivery: Delivery) -> bool:
        """Accept a message or not: late attempts always succeed, so that every delivery ends."""
        self.sent[delivery.id, delivery.attempt] += 1
        accepted = delivery.attempt > 4 or self.random.random() < 0.5
        self.delivered[delivery.id] += accepted
        return accepted


class SimulatedNotifier:
    """One notifier from its fence to its end. Reads the log, acts on it, and may lag behind."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.partition = OwnedPartition(0, owner=f"owner-{world.random.random()}")
        self.read = 0
        self.compactions = world.compactions
        self.under_way: dict[str, Delivery] = {}
        fence = self.partition.fence(world.now_ms)
        world.log.append((fence.key, fence.value))

    def catch_up(self) -> None:
        if self.compactions != self.world.compactions:
            # Kafka's offsets survive compaction, and indexes in this log do not: it reads no further.
            return
        for key, value in self.world.log[self.read :]:
            delivery = self.partition.read(key, value)
            if delivery is not None:
                self.under_way[delivery.id] = delivery
        self.read = len(self.world.log)

    def plan(self) -> None:
        if not self.partition.is_active:
            return
        now_ms = self.world.now_ms
        for delivery_id, repair in self.partition.repairs(now_ms).items():
            self.world.log.append((repair.key, repair.value))
            self.partition.note_published(delivery_id, now_ms)
        for delivery in self.partition.next_steps(Routes(routes=ROUTES), self.under_way, LIMITS, now_ms):
            self.world.publish(delivery)
            self.partition.note_published(delivery.id, now_ms)

    def deliver(self, *, crash: str = "") -> None:
        """Make the attempts that were read back; with `crash`, end before or after the first one."""
        while self.under_way:
            delivery = self.under_way.pop(next(iter(self.under_way)))
            if crash == "before":
                return
            if planning.is_stale(delivery, self.world.now_ms):
                stale = AttemptOutcome(delivered=False, reason="paused")
                self.world.publish(planning.conclude(delivery, stale, LIMITS, self.world.now_ms))
                continue
            accepted = self.world.receive(delivery)
            if crash == "after":
                self.world.unrecorded[delivery.id] += accepted
                return
            outcome = AttemptOutcome(delivered=accepted, reason="")
            self.world.publish(planning.conclude(delivery, outcome, LIMITS, self.world.now_ms))


class Simulation:
    """Notifiers that deliver some alerts, crash, and are replaced."""

    def __init__(self, seed: int, alerts: int) -> None:
        self.random = Random(seed)  # noqa: S311 - no secret
        self.world = World(self.random)
        self.waiting = list(range(alerts))
        self.owner = SimulatedNotifier(self.world)
        self.zombies: list[SimulatedNotifier] = []
        self.steps = (
            self.request,
            self.request_again,
            self.crash,
            self.replace,
            self.run_zombie,
            self.wait,
            self.run_owner,
        )

    def request(self) -> None:
        if self.waiting:
            offset = self.waiting.pop()
            for route in ROUTES:
                self.world.request(offset, route, held_ms=self.random.choice((0, 0, HOUR_MS)))

    def request_again(self) -> None:
        """Repeat a request, as the worker publishes an alert again after a crash."""
        if 5 not in self.waiting:
            for route in ROUTES:
                self.world.request(5, route)

    def crash(self) -> None:
        self.owner.deliver(crash=self.random.choice(("", "before", "after")))
        if self.random.random() < 0.3:
            # Kafka compacts nothing younger than an hour, and a notifier repairs void records sooner.
            self.owner = SimulatedNotifier(self.world)
            self.owner.catch_up()
            self.owner.plan()
            self.world.compact()
        self.owner = SimulatedNotifier(self.world)

    def replace(self) -> None:
        """Make the owner a zombie, which still publishes behind the fence of its successor."""
        self.zombies.append(self.owner)
        self.owner = SimulatedNotifier(self.world)

    def run_zombie(self) -> None:
        if self.zombies:
            zombie = self.zombies.pop()
            if zombie.compactions == self.world.compactions:
                self.random.choice((zombie.plan, zombie.catch_up, zombie.deliver))()
                zombie.deliver()

    def wait(self) -> None:
        self.world.now_ms += self.random.choice((1_000, 60_000, HOUR_MS))

    def run_owner(self) -> None:
        for _ in range(self.random.randrange(12)):
            self.random.choice((self.owner.catch_up, self.owner.deliver, self.owner.plan))()


def simulate(seed: int, alerts: int = 6) -> World:
    """Run notifiers until every delivery is finished."""
    simulation = Simulation(seed, alerts)
    for _ in range(150):
        simulation.random.choices(simulation.steps, (2, 1, 2, 1, 2, 4, 8))[0]()
    while simulation.waiting:
        simulation.request()
    for _ in range(60):
        simulation.owner.plan()
        simulation.owner.catch_up()
        simulation.owner.deliver()
        simulation.owner.catch_up()
        simulation.world.now_ms += HOUR_MS // 2
    return simulation.world
