"""The form of a conformance line, and the events that the lines are made of."""

import base64
import copy
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from metering.placement import partition_of
from metering.rejections import RejectionReason

Line = dict[str, Any]
Event = dict[str, Any]

APP: Final = "wxfb1f3d218d111092"
RECORDED_AT: Final = "2026-10-17T10:05:04.000Z"
PARTITIONS: Final = 4
STRUCTURED_HEADERS: Final = (("content-type", "application/cloudevents+json"),)
REMOVED: Final = object()
"""The value of a field that a change removes."""

SUCCEEDED: Final = "phone.authorization.succeeded"
OPENID: Final = "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"
NUMBER: Final = "13800138000"

BASES: Final[Mapping[str, dict[str, Any] | None]] = {
    SUCCEEDED: {
        "capability": "quick",
        "scene": "card_claim",
        "store": "store-03",
        "env": "release",
        "client": "e7d524b842e625e2",
    },
    "phone.authorization.denied": {"capability": "quick", "errno": 103, "scene": "card_claim"},
    "phone.authorization.failed": {"capability": "realtime", "errno": 1_400_001},
    "pack.purchased": {
        "pack_id": "10001-0001",
        "order_id": "4200001",
        "capability": "quick",
        "calls": 250,
        "validity_days": 90,
        "price_micro_yuan": 7_500_000,
        "paid_at": "2026-10-01T10:00:00+08:00",
    },
    "pack.assigned": {
        "pack_id": "10001-0002",
        "capability": "quick",
        "calls": 250,
        "validity_days": 90,
        "price_micro_yuan": 7_500_000,
        "paid_at": "2026-09-01T10:00:00+08:00",
        "assigned_at": "2026-10-01T10:00:00+08:00",
    },
    "pack.refunded": {"pack_id": "10001-0001", "by": "platform"},
    "pack.assignment_cancelled": {"pack_id": "10001-0002", "by": "owner"},
    "account.registered": {"entity_type": "enterprise", "name": "某某茶饮", "category": "餐饮"},
    "account.opened": {"trial_used": 1_000},
    "account.migrated": {"to": "wxd678efh567hg6787"},
    "fact.corrected": {"event_id": "9f2c", "set": {"store": "store-04"}, "note": "typed wrongly"},
    "account.alerting_set": {"levels_percent": [30, 10], "run_out_lead_days": 14},
    "account.agreement_set": {"policy": "follow"},
    "account.routing_set": {
        "capability": "quick",
        "reserve_calls": 200,
        "store_budgets": [{"calls": 100}, {"store": "store-03", "calls": 50}],
    },
    "account.charge_notice_requested": {
        "capability": "quick",
        "monthly_calls_max": 100,
        "price_min_micro_yuan": 26_000,
        "price_max_micro_yuan": 30_000,
        "charged_from": "2026-11-01T00:00:00+08:00",
        "name": "某某茶饮",
    },
    "platform.usage_observed": {"capability": "quick", "pack_id": "10001-0001", "used": 3, "size": 250},
    "account.settled": {
        "as_of": 7,
        "after": -1,
        "from": "2026-10-01T00:00:00+08:00",
        "moves": [
            {
                "capability": "quick",
                "from": "uncovered",
                "to": "pack:10001-0001",
                "calls": 1,
                "time": "2026-10-01T10:00:00+08:00",
            }
        ],
    },
    "clock.ticked": None,
}
"""Data of an event of each type that is accepted; None where a type has none."""


class NoBaseError(Exception):
    """A type of events has no base to make lines of; the text says what to do."""


def base(tag: str) -> Event:
    """An event of a type that is accepted.

    Raises:
        NoBaseError: the type has none.
    """
    if tag not in BASES:
        raise NoBaseError(
            f"The type {tag} has no conformance line: give it data in BASES of tools/events/lines.py."
        )
    event: Event = {
        "specversion": "1.0",
        "id": "ae865a531daf6eaaf56da98f524fdd5ce19be937803c1e9e7b7da271fc84b568",
        "source": "/backend",
        "type": tag,
        "subject": "clock" if tag == "clock.ticked" else APP,
        "time": "2026-10-17T10:05:03.120Z",
    }
    data = BASES[tag]
    if data is not None:
        event |= {"datacontenttype": "application/json", "data": copy.deepcopy(data)}
    return event


def changed(event: Event, changes: Mapping[str, object]) -> Event:
    """An event with fields, such as `data.calls`, set to something else or removed."""
    whole = copy.deepcopy(event)
    for path, value in changes.items():
        *parents, name = path.split(".")
        place = whole
        for parent in parents:
            place = place[parent]
        if value is REMOVED:
            del place[name]
        else:
            place[name] = value
    return whole


def text_of(event: Event) -> str:
    """An event in JSON."""
    return json.dumps(event, ensure_ascii=False, separators=(",", ":"))


def accepted(tag: str) -> dict[str, str]:
    """The outcome of an event that is taken as one of a type."""
    return {"accepted": tag}


def refused(reason: RejectionReason) -> dict[str, str]:
    """The outcome of a record that becomes a dead letter."""
    return {"refused": reason}


def record_line(
    name: str,
    value: str | bytes | None,
    expected: Mapping[str, str],
    why: str,
    *,
    key: str | bytes | None = APP,
    headers: Sequence[tuple[str, str | bytes | None]] = STRUCTURED_HEADERS,
    partition: int | None = None,
) -> Line:
    """A line of a record; it is in the partition of its key unless another one is given."""
    if partition is None:
        in_bytes = key.encode() if isinstance(key, str) else key
        partition = partition_of(in_bytes, PARTITIONS) if in_bytes else 0
    return {
        "name": name,
        "check": "record",
        "record": {
            "key": _shown(key),
            "headers": [[header, _shown(text)] for header, text in headers],
            "value": _shown(value),
        },
        "recorded_at": RECORDED_AT,
        "partition": partition,
        "partitions": PARTITIONS,
        "expected": dict(expected),
        "why": why,
    }


def structured(name: str, event: Event, expected: Mapping[str, str], why: str) -> Line:
    """A line of an event in structured mode, with its subject as the key."""
    key = event.get("subject")
    return record_line(name, text_of(event), expected, why, key=key if isinstance(key, str) else APP)


def tap_line(name: str, changes: Mapping[str, object], reason: RejectionReason | None, why: str) -> Line:
    """A line of a changed tap in structured mode; without a reason it is accepted."""
    expected = accepted(SUCCEEDED) if reason is None else refused(reason)
    return structured(name, changed(base(SUCCEEDED), changes), expected, why)


def binary_headers(event: Event) -> dict[str, str]:
    """The headers of an event in binary mode."""
    attributes = {f"ce_{name}": event[name] for name in event if name not in {"data", "datacontenttype"}}
    content_type = event.get("datacontenttype")
    return attributes | ({"content-type": content_type} if content_type else {})


def binary(
    name: str,
    event: Event,
    expected: Mapping[str, str],
    why: str,
    *,
    headers: Mapping[str, object] | None = None,
    value: str | bytes | None = None,
) -> Line:
    """A line of an event in binary mode, with some headers changed."""
    made: dict[str, Any] = {**binary_headers(event), **(headers or {})}
    given = [(header, text) for header, text in made.items() if text is not REMOVED]
    data = text_of(event["data"]) if value is None and "data" in event else value
    return record_line(name, data, expected, why, key=event["subject"], headers=given)


def _shown(value: str | bytes | None) -> str | dict[str, str] | None:
    """A text as it is, bytes in base64, none as null."""
    return {"base64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def bytes_of(shown: str | dict[str, str] | None) -> bytes | None:
    """The bytes of a key, a value or a header of a line."""
    if isinstance(shown, dict):
        return base64.b64decode(shown["base64"])
    return None if shown is None else shown.encode()


TAP: Final = base(SUCCEEDED)
TAKEN: Final = accepted(SUCCEEDED)
PURCHASE: Final = base("pack.purchased")
