"""The facts of a log as its corrections say that they should have been (rule 15), slow and simple.

It shares no code with `metering`, and changes decoded events.
"""

import json
from collections.abc import Iterable
from copy import deepcopy
from typing import Any

from tests.metering.model import ms

Event = dict[str, Any]

CORRECTION = "fact.corrected"
USE_CORRECTED = "usecorrected"
"""Attribute of a purchase of which a correction says what was used before the log."""

_OF_CALLS = {"time", "capability", "scene", "store", "env"}
_OF_PACKS = {
    "pack_id",
    "order_id",
    "capability",
    "calls",
    "validity_days",
    "price_micro_yuan",
    "price_basis",
    "paid_at",
    "starts_at",
    "used_before",
}
_OF_REFUNDS = {"time", "pack_id", "by"}
_OF_OWNERS = {"time", "entity_type", "name", "category"}

FIELDS = {
    "phone.authorization.succeeded": _OF_CALLS,
    "pack.purchased": _OF_PACKS,
    "pack.assigned": _OF_PACKS | {"assigned_at"},
    "pack.refunded": _OF_REFUNDS,
    "pack.assignment_cancelled": _OF_REFUNDS,
    "account.registered": _OF_OWNERS,
}
"""The fields that a correction may set, by the type of its fact."""


def as_corrected(events: Iterable[Event], billing_start_ms: int) -> list[Event]:
    """The facts that are left, without corrections; each id of an app occurs once."""
    kept = [deepcopy(event) for event in events]
    facts = {(event["subject"], event["id"]): event for event in kept}
    void: set[tuple[str, str]] = set()
    originals: dict[tuple[str, str], Event] = {}
    for correction in _standing(kept):
        target = (correction["subject"], correction["data"]["event_id"])
        fact = facts.get(target)
        if fact is None or fact["type"] not in FIELDS or _is_free(fact, billing_start_ms):
            continue
        fields = {
            name: value for name, value in (correction["data"].get("set") or {}).items() if value is not None
        }
        if not fields:
            void.add(target)
        elif fields.keys() <= FIELDS[fact["type"]]:
            void.discard(target)
            originals.setdefault(target, deepcopy(fact))
            _set(fact, fields)
    for place, before in originals.items():
        _let_start_follow(facts[place], before, billing_start_ms)
        if "used_before" in facts[place]["data"]:
            data = facts[place]["data"]
            data["used_before"] = min(data["used_before"], data["calls"])
    left = [event for place, event in facts.items() if place not in void and event["type"] != CORRECTION]
    return [event for event in left if not _became_free(event, billing_start_ms)]


def _standing(events: Iterable[Event]) -> list[Event]:
    """The corrections that no later one voids, in their order."""
    void: set[tuple[str, str]] = set()
    standing = []
    corrections = (event for event in events if event["type"] == CORRECTION)
    for event in sorted(corrections, key=lambda each: (ms(each["time"]), each["id"]), reverse=True):
        if (event["subject"], event["id"]) in void:
            continue
        standing.append(event)
        if event["data"].get("void"):
            void.add((event["subject"], event["data"]["event_id"]))
    return standing[::-1]


def _set(fact: Event, fields: dict[str, Any]) -> None:
    if "time" in fields:
        fact.setdefault("was_at", fact["time"])
        fact["time"] = fields["time"]
    fact["data"] |= {name: value for name, value in fields.items() if name != "time"}
    if "used_before" in fields:
        fact[USE_CORRECTED] = True


def _let_start_follow(fact: Event, before: Event, billing_start_ms: int) -> None:
    """Let a pack that starts when it is paid or assigned start at the corrected time."""
    name = {"pack.purchased": "paid_at", "pack.assigned": "assigned_at"}.get(fact["type"])
    data, was = fact["data"], before["data"]
    if name is None or data.get("starts_at") != was.get("starts_at") or data.get(name) == was.get(name):
        return
    had_from: str = was.get(name) or before["time"]
    start_ms = ms(was.get("starts_at") or had_from)
    if max(start_ms, billing_start_ms) == max(ms(had_from), billing_start_ms):
        data.pop("starts_at", None)


def _is_free(fact: Event, billing_start_ms: int) -> bool:
    """True of a call that was made before the start of billing: a correction of it has no effect."""
    own_time: Any = fact.get("was_at", fact["time"])
    return fact["type"] == "phone.authorization.succeeded" and ms(own_time) < billing_start_ms


def _became_free(fact: Event, billing_start_ms: int) -> bool:
    """True of a call that was corrected to a time before the start of billing: nothing counts it any more."""
    moved = fact.pop("was_at", None) is not None and fact["type"] == "phone.authorization.succeeded"
    return moved and ms(fact["time"]) < billing_start_ms


def decoded(values: Iterable[bytes]) -> list[Event]:
    """The events of a log."""
    return [json.loads(value) for value in values]
