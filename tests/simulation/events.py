"""Seeded logs of events, with few apps, packs and ids, so that the same ones occur often."""

import json
import random
from itertools import count
from typing import Any, NamedTuple

from metering.placement import partition_of
from metering.records import Record
from metering.rules import Rules, Terms
from tests.metering.building import DAY_MS, HOUR_MS, START_MS, text_of

RULES = Rules(
    trial_calls=2, allowed_lateness_ms=12 * HOUR_MS, duplicate_window_ms=3 * DAY_MS, remembered_ids_max=12
)
TERMS = Terms(rules=RULES)
RECORDS = 36
"""Records per partition."""

PACKS = 10
"""The names of packs of a partition, so that some are bought twice, and refunds are mostly of a known one."""

CORRECTED = 0.15
"""The share of corrections among them."""

PARTITIONS = 2


def _app_of(partition: int, letter: str) -> str:
    """The id of an app that belongs to a partition."""
    names = (f"wx-{letter}{number}" for number in count())
    return next(name for name in names if partition_of(name.encode(), PARTITIONS) == partition)


APPS = {(partition, letter): _app_of(partition, letter) for partition in range(PARTITIONS) for letter in "ab"}
"""The apps of each partition."""


class Published(NamedTuple):
    """A record to publish, with the broker's time."""

    key: bytes | None
    value: bytes
    at_ms: int


def log_of(partition: int, chance: random.Random) -> list[Published]:
    """A partition's records, in order: mostly calls, packs in time and late, repeated ids, garbage."""
    hand_ms = newest_ms = START_MS
    made: list[Published] = []
    facts: list[dict[str, Any]] = []
    for number in range(RECORDS):
        hand_ms += chance.choice((0, 1, HOUR_MS, 6 * HOUR_MS))
        late_ms = chance.choice((0, 0, 0, 0, HOUR_MS, 20 * HOUR_MS))
        time_ms = hand_ms - late_ms
        newest_ms = max(newest_ms, hand_ms)
        repeats = chance.choice((0, 0, 0, 0, 0, 1, 3))
        if chance.random() < 0.04:
            made.append(_no_event_here(partition, number, newest_ms))
            continue
        if facts and chance.random() < CORRECTED:
            kind, subject, data = _correction(partition, number, time_ms, facts, chance)
        else:
            kind, data = _event(partition, number, time_ms, chance)
            subject = "clock" if kind == "clock.ticked" else APPS[partition, chance.choice("aab")]
        value = _encoded(f"id-{number - repeats}", kind, subject, time_ms, data)
        facts.append(json.loads(value))
        made.append(Published(subject.encode(), value, newest_ms))
    return made


def _correction(
    partition: int, number: int, time_ms: int, facts: list[dict[str, Any]], chance: random.Random
) -> tuple[str, str, dict[str, Any]]:
    """A correction of a fact, mostly of one that has arrived: its type, app and data."""
    known = [fact for fact in facts if fact["subject"] != "clock"]
    if not known or chance.random() < 0.3:
        app = APPS[partition, chance.choice("aab")]
        coming = {"event_id": f"id-{number + chance.randint(1, 4)}"}
        return "fact.corrected", app, coming | chance.choice(({"void": True}, {"set": {"store": "store-2"}}))
    packs = [fact for fact in known if "validity_days" in fact["data"]]
    refunds = [fact for fact in known if fact["data"].keys() == {"pack_id", "by"}]
    victim = chance.choice(chance.choice((known, packs or known, refunds or known)))
    data: dict[str, Any] = {"event_id": victim["id"]}
    if chance.random() < 0.4:
        return "fact.corrected", victim["subject"], data | {"void": True}
    time = text_of(time_ms - chance.choice((0, HOUR_MS, 6 * HOUR_MS, DAY_MS)))
    choices: dict[str, tuple[dict[str, Any], ...]] = {
        "phone.authorization.succeeded": (
            {"store": "store-2"},
            {"capability": chance.choice(("quick", "realtime"))},
            {"time": time},
            {"time": time, "store": "store-3"},
        ),
        "pack.purchased": (
            {"calls": chance.randint(1, 6)},
            {"validity_days": chance.randint(1, 3), "price_micro_yuan": chance.choice((0, 7, 100))},
            {"capability": chance.choice(("quick", "realtime"))},
            {"paid_at": time},
            {"pack_id": f"pack-{partition}-{chance.randrange(PACKS)}"},
            {"used_before": chance.randint(0, 2)},
        ),
        "pack.refunded": ({"time": time}, {"by": "platform"}, {"by": "owner"}),
        "account.registered": ({"time": time}, {"entity_type": "company"}),
    }
    return (
        "fact.corrected",
        victim["subject"],
        data
        | {"set": chance.choice(choices.get(_SAME.get(victim["type"], victim["type"]), ({"by": "owner"},)))},
    )


_SAME = {"pack.assigned": "pack.purchased", "pack.assignment_cancelled": "pack.refunded"}
"""Types of facts that are corrected as another one is."""


def is_misplaced(record: Record, partition: int) -> bool:
    """Return whether a record is of an app that belongs to another partition."""
    return record.key in {name.encode() for (home, _), name in APPS.items() if home != partition}


def _no_event_here(partition: int, number: int, at_ms: int) -> Published:
    """Garbage, or a record of a client with another partitioner."""
    if number % 2:
        return Published(None, b"{", at_ms)
    subject = APPS[(partition + 1) % PARTITIONS, "a"]
    kind, data = "phone.authorization.succeeded", {"capability": "quick"}
    return Published(subject.encode(), _encoded(f"id-{number}", kind, subject, at_ms, data), at_ms)


def _encoded(event_id: str, kind: str, subject: str, time_ms: int, data: dict[str, Any]) -> bytes:
    event = {
        "specversion": "1.0",
        "id": event_id,
        "source": "/simulation",
        "type": kind,
        "subject": subject,
        "time": text_of(time_ms),
        "data": data,
    }
    return json.dumps(event).encode()


def _event(partition: int, number: int, time_ms: int, chance: random.Random) -> tuple[str, dict[str, Any]]:
    drawn = chance.random()
    capability = chance.choice(("quick", "quick", "quick", "realtime"))
    if drawn < 0.68:
        return "phone.authorization.succeeded", {"capability": capability}
    if drawn < 0.74:
        outcome, errno = ("denied", 103) if drawn < 0.71 else ("failed", 1_400_001)
        return f"phone.authorization.{outcome}", {"capability": capability, "errno": errno}
    if drawn < 0.92:
        kind = "pack.assigned" if number % 5 == 0 else "pack.purchased"
        return kind, {
            "pack_id": f"pack-{partition}-{chance.randrange(PACKS)}",
            "capability": capability,
            "calls": chance.randint(1, 6),
            "validity_days": chance.randint(1, 3),
            "price_micro_yuan": chance.choice((0, 7, 100, 7_500_000)),
            "paid_at": text_of(time_ms - chance.choice((0, 0, DAY_MS))),
            "used_before": chance.choice((0, 0, 0, 1)),
        }
    return _administration(partition, number, chance)


def _administration(partition: int, number: int, chance: random.Random) -> tuple[str, dict[str, Any]]:
    """A refund, an owner, what was used before the log, a routing policy, a charge notice, or a tick."""
    drawn = chance.random()
    if drawn < 0.2:
        pack_id = chance.choice(("", f"pack-{partition}-{chance.randrange(PACKS)}"))
        return "platform.usage_observed", {"capability": "realtime", "pack_id": pack_id, "used": number % 4}
    if drawn < 0.25:
        return "account.opened", {"trial_used": number % 3}
    if drawn < 0.5:
        by = chance.choice(("owner", "platform"))
        kind = "pack.refunded" if number % 3 else "pack.assignment_cancelled"
        return kind, {"pack_id": f"pack-{partition}-{chance.randrange(PACKS)}", "by": by}
    if drawn < 0.6:
        return "account.registered", {"entity_type": "government"}
    if drawn < 0.63:
        choices: dict[str, Any] = {"reserve_calls": number} if number % 2 else {"sms_left": number}
        return "account.routing_set", {"capability": "quick", **choices}
    return _notice(number) if drawn < 0.65 else ("clock.ticked", {})


def _notice(number: int) -> tuple[str, dict[str, Any]]:
    return "account.charge_notice_requested", {
        "capability": "quick",
        "monthly_calls_max": 50,
        "price_min_micro_yuan": 26_000,
        "price_max_micro_yuan": 26_000 + number,
        "charged_from": "2023-08-26T00:00:00+08:00",
    }
