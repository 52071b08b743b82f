"""Simulated owners: they watch what is left, and buy in time or too late, too much, or twice."""

import math
from random import Random
from typing import Any, Final, NamedTuple

from metering.catalogue import DEFAULT, Offer
from metering.events import Capability
from metering.rules import BILLING_START_MS, TRIAL_CALLS
from metering.times import DAY_MS, HOUR_MS, MINUTE_MS, format_time
from producers.events import CloudEvent, cloud_event, named_id

SOURCE: Final = "/simulation/purchasing"
LOW_WATER_DAYS: Final = 2
RATE_WINDOW_MS_MIN: Final = HOUR_MS
PLANNED_DAYS: Final = (10, 60)
OVERSIZED_DAYS: Final = (500, 1_200)
REALTIME_MICRO_YUAN_PER_CALL: Final = 40_000
RECORDED_LATE_SHARE: Final = 0.1
STARTS_LATER_SHARE: Final = 0.05
REFUND_REFUSED_SHARE: Final = 0.2

OFFERS: Final = tuple(sorted(DEFAULT, key=lambda offer: offer.calls))


class Habits(NamedTuple):
    """Buying habits: `careless` owners wait until nothing is left; shares are chances per purchase."""

    careless: bool
    oversize_share: float
    refund_share: float


class Order(NamedTuple):
    """An event of the owner, and its arrival in the log."""

    arrives_ms: int
    event: CloudEvent


class _Stock:
    """The calls of one capability that an owner believes to have left."""

    __slots__ = ("calls", "first_ms", "packs", "sequence", "waiting_until_ms")

    def __init__(self) -> None:
        self.calls = 0
        self.first_ms = 0
        self.packs: list[list[int]] = []
        self.sequence = 0
        self.waiting_until_ms = 0


class Owner:
    """The purchasing of one app, with rough books of its own; only the metering decides what a call takes."""

    def __init__(self, appid: str, habits: Habits, rng: Random) -> None:
        self._appid = appid
        self._habits = habits
        self._rng = rng
        self._trial = TRIAL_CALLS
        self._stocks: dict[Capability, _Stock] = {"quick": _Stock(), "realtime": _Stock()}

    def use(self, capability: Capability, now_ms: int) -> bool:
        """Take one call; False when nothing is left that could cover it."""
        if now_ms < BILLING_START_MS:
            return True
        stock = self._stocks[capability]
        stock.first_ms = stock.first_ms or now_ms
        stock.calls += 1
        if self._trial > 0:
            self._trial -= 1
            return True
        stock.packs = [pack for pack in stock.packs if pack[1] > now_ms and pack[2] > 0]
        for pack in stock.packs:
            if pack[0] <= now_ms:
                pack[2] -= 1
                return True
        return False

    def orders(self, capability: Capability, now_ms: int) -> list[Order]:
        """Return the orders that the owner makes now: mostly none."""
        stock = self._stocks[capability]
        if now_ms < max(stock.waiting_until_ms, BILLING_START_MS):
            return []
        left = self._trial + sum(pack[2] for pack in stock.packs if pack[1] > now_ms)
        per_day = stock.calls * DAY_MS / max(RATE_WINDOW_MS_MIN, now_ms - stock.first_ms)
        if left > (0 if self._habits.careless else LOW_WATER_DAYS * per_day):
            return []
        hesitation_ms = (HOUR_MS, 36 * HOUR_MS) if self._habits.careless else (MINUTE_MS, 60 * MINUTE_MS)
        return self._buy(capability, stock, self._choose(per_day), now_ms + self._rng.randint(*hesitation_ms))

    def _choose(self, per_day: float) -> Offer:
        oversized = self._rng.random() < self._habits.oversize_share
        days = self._rng.randint(*(OVERSIZED_DAYS if oversized else PLANNED_DAYS))
        wanted = math.ceil(per_day * days)
        return next((offer for offer in OFFERS if offer.calls >= wanted), OFFERS[-1])

    def _buy(self, capability: Capability, stock: _Stock, offer: Offer, paid_ms: int) -> list[Order]:
        starts_ms = paid_ms
        if self._rng.random() < STARTS_LATER_SHARE:
            starts_ms += self._rng.randint(HOUR_MS, 2 * DAY_MS)
        stock.packs.append([starts_ms, starts_ms + offer.validity_days * DAY_MS, offer.calls])
        stock.packs.sort()
        stock.waiting_until_ms = starts_ms
        recorded_ms = paid_ms
        if self._rng.random() < RECORDED_LATE_SHARE:
            recorded_ms += self._rng.randint(HOUR_MS, 12 * HOUR_MS)
        orders = [self._purchase(capability, stock, offer, paid_ms, starts_ms, recorded_ms)]
        if self._rng.random() < self._habits.refund_share:
            orders += self._mistake(
                capability, stock, offer, recorded_ms + self._rng.randint(2, 30) * MINUTE_MS
            )
        return orders

    def _mistake(self, capability: Capability, stock: _Stock, offer: Offer, paid_ms: int) -> list[Order]:
        """The same pack bought once more and given back, sometimes after the platform's seven days."""
        too_late = self._rng.random() < REFUND_REFUSED_SHARE
        days = self._rng.randint(8, 12) if too_late else self._rng.randint(1, 5)
        purchase = self._purchase(capability, stock, offer, paid_ms, paid_ms, paid_ms)
        pack_id = purchase.event["data"]["pack_id"]
        refunded_ms = paid_ms + days * DAY_MS
        kind = "pack.refunded"
        identifier = named_id(kind, self._appid, pack_id)
        refund = cloud_event(
            kind,
            identifier,
            self._appid,
            format_time(refunded_ms),
            source=SOURCE,
            data={"pack_id": pack_id},
        )
        return [purchase, Order(refunded_ms, refund)]

    def _purchase(
        self,
        capability: Capability,
        stock: _Stock,
        offer: Offer,
        paid_ms: int,
        starts_ms: int,
        recorded_ms: int,
    ) -> Order:
        stock.sequence += 1
        pack_id = f"{self._appid[-6:]}-{capability}-{stock.sequence:04d}"
        price = (
            offer.price_micro_yuan if capability == "quick" else offer.calls * REALTIME_MICRO_YUAN_PER_CALL
        )
        data: dict[str, Any] = {
            "pack_id": pack_id,
            "order_id": f"order-{pack_id}",
            "capability": capability,
            "calls": offer.calls,
            "validity_days": offer.validity_days,
            "price_micro_yuan": price,
            "paid_at": format_time(paid_ms),
        }
        if starts_ms > paid_ms:
            data["starts_at"] = format_time(starts_ms)
        kind = "pack.purchased"
        event = cloud_event(
            kind,
            named_id(kind, self._appid, pack_id),
            self._appid,
            format_time(recorded_ms),
            source=SOURCE,
            data=data,
        )
        return Order(recorded_ms, event)
