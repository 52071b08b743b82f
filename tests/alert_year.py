"""A year of fifty apps in event time: owners who buy in time, late or too much, bots, late events."""

import heapq
import json
from random import Random
from typing import Any, NamedTuple

from tests.metering.building import text_of

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
MINUTE_MS = 60_000
START_MS = 1_735_660_800_000
"""2025-01-01T00:00:00+08:00."""
DAYS = 365
TRIAL_CALLS = 20

PACKS = ((30, 30), (60, 90), (90, 90), (150, 180), (400, 90), (250, 365))
"""Calls and days; small ones, so that a year sees many of them."""


class Habit(NamedTuple):
    """The buying habits of an owner: calls left, delay after noticing, and how often it is forgotten."""

    at_calls: int
    hours: int
    forgotten_days: int


HABITS = (Habit(30, 1, 0), Habit(8, 5, 0), Habit(0, 20, 3), Habit(0, 2, 25), Habit(200, 1, 0))


def year(seed: int, apps: int = 50) -> list[bytes]:
    """The events of all apps in the order in which they reach the log."""
    arrivals: list[tuple[int, int, bytes]] = []
    for number in range(apps):
        app = App(Random(f"{seed}:{number}"), f"wxyear{number:04d}", number)  # noqa: S311 - seeded traffic
        for arrives_ms, value in app.live():
            heapq.heappush(arrivals, (arrives_ms, len(arrivals), value))
    return [heapq.heappop(arrivals)[2] for _ in range(len(arrivals))]


class App:
    """One app's year. It keeps rough books of its own, as owners do, and is often wrong."""

    def __init__(self, chance: Random, appid: str, number: int) -> None:
        self.chance = chance
        self.appid = appid
        self.habit = HABITS[number % len(HABITS)]
        self.capability = "realtime" if number % 7 == 0 else "quick"
        self.a_day = chance.choice((0.3, 1, 1, 2, 3))
        self.left = TRIAL_CALLS
        self.deciding_until_ms = 0
        self.ids = 0
        self.events: list[tuple[int, bytes]] = []

    def live(self) -> list[tuple[int, bytes]]:
        """The records that reach the log, with their times."""
        if self.chance.random() < 0.3:
            self.set_alerting()
        closed = range(0)
        for day in range(DAYS):
            if self.chance.random() < 0.004:
                closed = range(day, day + self.chance.randrange(10, 60))
            if day in closed:
                continue
            self.day(START_MS + day * DAY_MS)
        self.emit(START_MS + DAYS * DAY_MS, "phone.authorization.denied", {"capability": self.capability})
        return self.events

    def day(self, midnight_ms: int) -> None:
        calls = int(self.a_day) + (self.chance.random() < self.a_day % 1) * 1 + self.chance.randrange(2)
        for _ in range(calls):
            self.call(midnight_ms + self.chance.randrange(8 * HOUR_MS, 22 * HOUR_MS), f"user-{self.ids}")
        if self.chance.random() < 0.004:
            self.bot(midnight_ms + self.chance.randrange(22 * HOUR_MS))

    def bot(self, time_ms: int) -> None:
        pause_ms = self.chance.choice((500, 20_000))
        for _ in range(self.chance.randrange(25, 90)):
            time_ms += pause_ms
            self.call(time_ms, "bot")

    def call(self, time_ms: int, client: str) -> None:
        late_ms = self.chance.randrange(2 * DAY_MS) if self.chance.random() < 0.02 else 0
        data = {"capability": self.capability, "client": client}
        value = self.emit(time_ms + late_ms, "phone.authorization.succeeded", data, time_ms)
        if self.chance.random() < 0.01:
            self.events.append((time_ms + late_ms + MINUTE_MS, value))
        self.left = max(0, self.left - 1)
        if self.left <= self.habit.at_calls and time_ms > self.deciding_until_ms:
            self.buy(time_ms)

    def buy(self, time_ms: int) -> None:
        delay_ms = self.chance.randrange(1, 1 + self.habit.hours) * HOUR_MS
        if self.chance.random() < 0.5:
            delay_ms += self.habit.forgotten_days * DAY_MS
        calls, days = self.chance.choice(PACKS)
        paid_ms = time_ms + delay_ms
        recorded_ms = paid_ms + (self.chance.randrange(1, 30) * HOUR_MS if self.chance.random() < 0.2 else 0)
        starts_ms = paid_ms + (DAY_MS if self.chance.random() < 0.1 else 0)
        pack_id = f"{self.appid}-pack-{self.ids}"
        data = {
            "pack_id": pack_id,
            "capability": self.capability,
            "calls": calls,
            "validity_days": days,
            "price_micro_yuan": calls * 30_000,
            "paid_at": text_of(paid_ms),
            "starts_at": text_of(starts_ms),
        }
        if recorded_ms < START_MS + DAYS * DAY_MS:
            self.emit(recorded_ms, "pack.purchased", data)
        if self.chance.random() < 0.05:
            self.emit(recorded_ms + DAY_MS, "pack.refunded", {"pack_id": pack_id})
        self.left += calls
        self.deciding_until_ms = starts_ms

    def set_alerting(self) -> None:
        data = self.chance.choice(
            (
                {"levels_percent": [50, 10]},
                {"expiry_days": [30, 2], "run_out_lead_days": 3},
                {"burn_minute_calls": 15, "burn_client_calls": 20, "burn_percent": 200},
            )
        )
        self.emit(START_MS + self.chance.randrange(90) * DAY_MS, "account.alerting_set", data)

    def emit(self, arrives_ms: int, kind: str, data: dict[str, Any], time_ms: int | None = None) -> bytes:
        """Put an event into the log; it happened as it arrived unless another time is given."""
        self.ids += 1
        fields = {
            "specversion": "1.0",
            "id": f"{self.appid}-{self.ids}",
            "source": "/tests/year",
            "type": kind,
            "subject": self.appid,
            "time": text_of(arrives_ms if time_ms is None else time_ms),
            "data": data,
        }
        value = json.dumps(fields).encode()
        self.events.append((arrives_ms, value))
        return value
