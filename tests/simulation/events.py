"""Seeded logs of events: few apps, packs and ids, so that they meet each other often."""

import json
import random
from typing import Any, NamedTuple

from metering.rules import Rules
from tests.metering.building import DAY_MS, HOUR_MS, START_MS, text_of

RULES = Rules(trial_calls=2, allowed_lateness_ms=12 * HOUR_MS, duplicate_window_ms=DAY_MS)
RECORDS = 36
"""Per partition."""


class Published(NamedTuple):
    """A record to be published, and the broker's time of it."""

    key: bytes | None
    value: bytes
    at_ms: int


def log_of(partition: int, chance: random.Random) -> list[Published]:
    """A partition's records, in order: calls most of all, packs in time and late, repetitions, garbage."""
    hand_ms = newest_ms = START_MS
    made: list[Published] = []
    for number in range(RECORDS):
        hand_ms += chance.choice((0, 1, HOUR_MS, 6 * HOUR_MS))
        late_ms = chance.choice((0, 0, 0, 0, HOUR_MS, 20 * HOUR_MS))
        time_ms = hand_ms - late_ms
        newest_ms = max(newest_ms, hand_ms)
        repeats = chance.choice((0, 0, 0, 0, 0, 1, 3))
        if chance.random() < 0.04:
            made.append(Published(None, b"{", newest_ms))
            continue
        kind, data = _event(partition, number, time_ms, chance)
        subject = "clock" if kind == "clock.ticked" else f"wx-{partition}-{chance.choice('aab')}"
        event = {
            "specversion": "1.0",
            "id": f"id-{number - repeats}",
            "source": "/simulation",
            "type": kind,
            "subject": subject,
            "time": text_of(time_ms),
            "data": data,
        }
        made.append(Published(subject.encode(), json.dumps(event).encode(), newest_ms))
    return made


def _event(partition: int, number: int, time_ms: int, chance: random.Random) -> tuple[str, dict[str, Any]]:
    drawn = chance.random()
    capability = chance.choice(("quick", "quick", "quick", "realtime"))
    if drawn < 0.68:
        return "phone.authorization.succeeded", {"capability": capability}
    if drawn < 0.74:
        return "phone.authorization.denied", {"capability": capability, "errno": 103}
    if drawn < 0.92:
        return "pack.purchased", {
            "pack_id": f"pack-{partition}-{chance.randrange(RECORDS)}",
            "capability": capability,
            "calls": chance.randint(1, 6),
            "validity_days": chance.randint(1, 3),
            "price_micro_yuan": chance.choice((0, 7, 100, 7_500_000)),
            "paid_at": text_of(time_ms - chance.choice((0, 0, DAY_MS))),
        }
    if drawn < 0.95:
        return "pack.refunded", {"pack_id": f"pack-{partition}-{chance.randrange(max(1, number))}"}
    if drawn < 0.96:
        return "account.registered", {"entity_type": "government"}
    return "clock.ticked", {}
