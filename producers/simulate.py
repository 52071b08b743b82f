"""Seeded traffic of many mini-programs: the same plan gives the same events, byte for byte. No clock, no I/O.

Events come in the order in which they reach the log: busy and idle hours, large and small apps, bots,
duplicates and late events, packs bought in time, too late, too large or twice, exempt owners, and refusals of
the platform when nothing is left.
"""

import hashlib
import heapq
import math
from bisect import bisect
from collections.abc import Iterator
from dataclasses import dataclass, fields
from itertools import accumulate
from random import Random
from typing import Any, Final, NamedTuple

from metering.events import Capability
from metering.times import DAY_MS, EARLIEST_MS, HOUR_MS, LATEST_MS, format_time
from producers.events import (
    ERRNO_DENIED,
    ERRNO_QUOTA_EXHAUSTED,
    CloudEvent,
    cloud_event,
    event_id,
    named_id,
    to_json,
)
from producers.owners import Habits, Order, Owner
from producers.traffic import FLAT, WEEK, Slot, slots_of_rate, slots_of_total

SOURCE: Final = "/simulation/member-centre"
APPS_MAX: Final = 100_000
DURATION_MS_MAX: Final = 3_660 * DAY_MS
SCENES: Final = ("card_claim", "checkout", "member_join", "coupon_claim", "group_buy", "queueing", "home")
ENVS: Final = ("release",) * 97 + ("trial",) * 2 + ("develop",)
FAILURES: Final = (1_400_002, -1, 40_013)
OWNERS: Final = ("enterprise", "individual_business")
EXEMPT_OWNERS: Final = (
    ("government", ""),
    ("nonprofit", ""),
    ("public_institution", "政务民生"),
)

BOT_TAPS: Final = (100, 600)
BOT_PAUSE_MS: Final = (500, 4_000)
DUPLICATE_DELAY_MS: Final = (1_000, HOUR_MS)
LATE_DELAY_MS: Final = (60_000, 3 * DAY_MS)
REFUSED_WHEN_EMPTY_SHARE: Final = 0.9
"""The platform refuses taps of an app without quota; the rest succeed, as its books are not the owner's."""


class PlanError(ValueError):
    """An invalid plan: the invalid fields, and the mistake, which follows their names in a sentence."""

    def __init__(self, complaint: str, *names: str) -> None:
        super().__init__(f"{' and '.join(names)} {complaint}")
        self.fields = names
        self.complaint = complaint


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficPlan:
    """The traffic to simulate: `taps` over a duration, or a rate for a duration, for `taps`, or without end.

    Attributes:
        start_ms: its beginning.
        duration_ms: its length.
        taps: taps of ordinary users; bots, duplicates and purchases come on top.
        rate_per_s: such taps per second, as the mean of a whole week.
        seed: another seed, other events.
        apps: number of apps; the n-th gets traffic like n to the power of minus `skew` (Zipf).
        skew: 0 makes all apps alike.
        denied_share, failed_share: shares of taps that give no number.
        realtime_share: share of taps on the real-time component.
        duplicate_share: share of taps that reach the log twice, up to an hour apart.
        late_share: share of taps that reach it minutes to days late.
        bot_share: taps of bots, which drain one app through one client, per ordinary tap.
        exempt_share: share of apps that are exempt.
        careless_share: share of owners who buy only when nothing is left.
        oversize_share: share of purchases far too large, which lapse in the end.
        refund_share: share of purchases made twice by mistake and given back.
        purchases: False for owners who never buy.
        flat: the same activity at all times, instead of Shanghai's days and weeks.

    Raises:
        PlanError: a field has a value that it can't have.
    """

    start_ms: int
    duration_ms: int | None = None
    taps: int | None = None
    rate_per_s: float | None = None
    seed: int = 1
    apps: int = 20
    skew: float = 1.1
    denied_share: float = 0.08
    failed_share: float = 0.02
    realtime_share: float = 0.25
    duplicate_share: float = 0.01
    late_share: float = 0.005
    bot_share: float = 0.02
    exempt_share: float = 0.05
    careless_share: float = 0.2
    oversize_share: float = 0.15
    refund_share: float = 0.05
    purchases: bool = True
    flat: bool = False

    def __post_init__(self) -> None:
        self._check_shares()
        self._check_times()
        if not 1 <= self.apps <= APPS_MAX:
            raise PlanError(f"is {self.apps}; from 1 to {APPS_MAX} can be simulated", "apps")
        if not 0 <= self.skew <= 10:  # noqa: PLR2004 - beyond it one app has everything
            raise PlanError(f"is {self.skew}; it is from 0 (all alike) to 10", "skew")
        if self.taps is not None and self.taps < 0:
            raise PlanError(f"is {self.taps}; it can't be negative", "taps")
        if self.rate_per_s is None and (self.taps is None or self.duration_ms is None):
            raise PlanError("has to be given, or a number of taps and a duration", "rate_per_s")
        if self.rate_per_s is not None and not 1e-6 <= self.rate_per_s <= 1e6:  # noqa: PLR2004 - what integers below resolve
            raise PlanError(f"is {self.rate_per_s}; it is from 0.000001 to 1,000,000", "rate_per_s")

    def _check_shares(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name.endswith("_share") and not 0 <= value <= 1:
                raise PlanError(f"is {value}; a share is from 0 to 1", field.name)
        if self.denied_share + self.failed_share > 1:
            raise PlanError("together exceed 1", "denied_share", "failed_share")

    def _check_times(self) -> None:
        if self.duration_ms is not None and not 0 < self.duration_ms <= DURATION_MS_MAX:
            raise PlanError("has to be more than nothing and at most ten years", "duration_ms")
        if not EARLIEST_MS <= self.start_ms <= LATEST_MS - (self.duration_ms or 0):
            allowed = f"{format_time(EARLIEST_MS)} to {format_time(LATEST_MS)}"
            raise PlanError(
                f"has to keep the whole period within {allowed}, where events may happen", "start_ms"
            )


class Arrival(NamedTuple):
    """One event as its JSON bytes, and its arrival in the log."""

    arrives_ms: int
    value: bytes


def simulate(plan: TrafficPlan) -> Iterator[Arrival]:
    """The events of a plan, in the order of the log; without end if the plan has none."""
    return _Simulation(plan).run()


class _SimulatedApp(NamedTuple):
    appid: str
    name: str
    entity_type: str
    category: str
    exempt: bool
    owner: Owner
    scenes: tuple[str, ...]
    stores: int
    clients: int
    realtime_share: float


class _Simulation:
    def __init__(self, plan: TrafficPlan) -> None:
        self._plan = plan
        self._rng = Random(plan.seed)  # noqa: S311 - reproducible traffic, no secret
        self._apps = [self._app(number) for number in range(1, plan.apps + 1)]
        weights = (max(1, round(10**9 / number**plan.skew)) for number in range(1, plan.apps + 1))
        self._cumulated = list(accumulate(weights))
        self._waiting: list[tuple[int, int, bytes]] = []
        self._queued = 0
        self._taps = 0

    def run(self) -> Iterator[Arrival]:
        for app in self._apps:
            yield Arrival(self._plan.start_ms, to_json(self._registration(app)))
        left = math.inf if self._plan.taps is None else self._plan.taps
        for slot in self._slots():
            taps = int(min(slot.taps, left))
            left -= taps
            self._fill(slot, taps)
            end_ms = slot.start_ms + slot.length_ms
            while self._waiting and self._waiting[0][0] < end_ms:
                arrives_ms, _, value = heapq.heappop(self._waiting)
                yield Arrival(arrives_ms, value)
            if left == 0 and self._plan.duration_ms is None:
                return

    def _slots(self) -> Iterator[Slot]:
        plan = self._plan
        week = FLAT if plan.flat else WEEK
        if plan.rate_per_s is not None:
            return slots_of_rate(plan.start_ms, plan.duration_ms, round(plan.rate_per_s * 10**6), week)
        return slots_of_total(plan.start_ms, plan.duration_ms or 0, plan.taps or 0, week)

    def _fill(self, slot: Slot, taps: int) -> None:
        rng = self._rng
        for offset_ms in sorted(rng.randrange(slot.length_ms) for _ in range(taps)):
            app = self._any_app()
            client = self._client(app, rng.randrange(app.clients))
            self._tap(app, slot.start_ms + offset_ms, client, rng.choice(app.scenes))
        expected_bots = taps * self._plan.bot_share / (sum(BOT_TAPS) / 2)
        if rng.random() < expected_bots:
            self._bot(slot.start_ms)

    def _bot(self, start_ms: int) -> None:
        rng = self._rng
        app = self._any_app()
        client = self._client(app, -1 - self._taps)
        scene = rng.choice(app.scenes)
        arrives_ms = start_ms
        for _ in range(rng.randint(*BOT_TAPS)):
            arrives_ms += rng.randint(*BOT_PAUSE_MS)
            self._tap(app, arrives_ms, client, scene)

    def _tap(self, app: _SimulatedApp, arrives_ms: int, client: str, scene: str) -> None:
        rng, plan = self._rng, self._plan
        self._taps += 1
        capability: Capability = "realtime" if rng.random() < app.realtime_share else "quick"
        outcome, errno = self._outcome(app, capability, arrives_ms)
        store = f"store-{rng.randint(1, app.stores):02d}" if app.stores else ""
        data: dict[str, Any] = {"capability": capability, "scene": scene, "store": store}
        data |= {"env": rng.choice(ENVS), "client": client}
        if errno:
            data["errno"] = errno
        time_ms = arrives_ms
        if rng.random() < plan.late_share:
            time_ms = max(EARLIEST_MS, arrives_ms - self._log_uniform(*LATE_DELAY_MS))
        identifier = event_id(app.appid, f"{plan.seed}.{self._taps}")
        kind = f"phone.authorization.{outcome}"
        value = to_json(
            cloud_event(kind, identifier, app.appid, format_time(time_ms), source=SOURCE, data=data)
        )
        self._queue(arrives_ms, value)
        if rng.random() < plan.duplicate_share:
            self._queue(arrives_ms + self._log_uniform(*DUPLICATE_DELAY_MS), value)
        if plan.purchases and not app.exempt:
            for order in app.owner.orders(capability, arrives_ms):
                self._place(order)

    def _outcome(self, app: _SimulatedApp, capability: Capability, now_ms: int) -> tuple[str, int]:
        drawn = self._rng.random()
        if drawn < self._plan.denied_share:
            return "denied", ERRNO_DENIED
        if drawn < self._plan.denied_share + self._plan.failed_share:
            return "failed", self._rng.choice(FAILURES)
        if app.exempt or app.owner.use(capability, now_ms):
            return "succeeded", 0
        if self._rng.random() < REFUSED_WHEN_EMPTY_SHARE:
            return "failed", ERRNO_QUOTA_EXHAUSTED
        return "succeeded", 0

    def _place(self, order: Order) -> None:
        self._queue(order.arrives_ms, to_json(order.event))

    def _queue(self, arrives_ms: int, value: bytes) -> None:
        self._queued += 1
        heapq.heappush(self._waiting, (arrives_ms, self._queued, value))

    def _any_app(self) -> _SimulatedApp:
        return self._apps[bisect(self._cumulated, self._rng.randrange(self._cumulated[-1]))]

    def _client(self, app: _SimulatedApp, number: int) -> str:
        return hashlib.blake2b(f"{app.appid}:{number}".encode(), digest_size=8).hexdigest()

    def _log_uniform(self, shortest_ms: int, longest_ms: int) -> int:
        return round(math.exp(self._rng.uniform(math.log(shortest_ms), math.log(longest_ms))))

    def _app(self, number: int) -> _SimulatedApp:
        rng, plan = self._rng, self._plan
        appid = "wx" + hashlib.blake2b(f"{plan.seed}:{number}".encode(), digest_size=8).hexdigest()
        exempt = rng.random() < plan.exempt_share
        entity_type, category = rng.choice(EXEMPT_OWNERS) if exempt else (rng.choice(OWNERS), "")
        habits = Habits(rng.random() < plan.careless_share, plan.oversize_share, plan.refund_share)
        return _SimulatedApp(
            appid=appid,
            name=f"Simulated app {number}",
            entity_type=entity_type,
            category=category,
            exempt=exempt,
            owner=Owner(appid, habits, rng),
            scenes=tuple(rng.sample(SCENES, rng.randint(2, 5))),
            stores=rng.choice((0, 1, 3, 8, 20, 60)),
            clients=rng.randint(200, 20_000),
            realtime_share=min(1.0, plan.realtime_share * rng.uniform(0, 2)),
        )

    def _registration(self, app: _SimulatedApp) -> CloudEvent:
        kind = "account.registered"
        data = {"name": app.name, "entity_type": app.entity_type, "category": app.category}
        time = format_time(self._plan.start_ms)
        return cloud_event(kind, named_id(kind, app.appid, time), app.appid, time, source=SOURCE, data=data)
