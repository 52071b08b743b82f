"""Hypothesis strategies for logs: few apps, packs and moments, so that they meet each other often.

A log is a list of steps. Each moves a hand of the clock on a little and happens there or some time before.
Times lie on a coarse grid or a millisecond beside it, so that many fall on the very edges of validities.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

from hypothesis import strategies as st

from metering.rules import Rules
from tests.metering.building import DAY_MS, HOUR_MS, START_MS, text_of

STEP_MS = 6 * HOUR_MS
BROKEN = b"{"


class Step(NamedTuple):
    """One record to be: `size` and `edge` mean what its kind makes of them."""

    kind: str
    app: str
    moves: int
    late: int
    edge_ms: int
    capability: str
    size: int
    price: int
    repeats: int
    client: str


_CHOICES: tuple[tuple[Any, ...], ...] = (
    (
        *["call"] * 12,
        *["purchase"] * 4,
        "purchase recorded late",
        "purchase that starts later",
        *["refund"] * 2,
        *["unsuccessful", "tick", "broken", "company", "alerting"],
        "government",
    ),
    ("wx-a", "wx-a", "wx-b"),
    (0, 0, 0, 1, 1, 2),
    (0, 0, 0, 0, 1, 2, 4, 8, 12),
    (0, 0, 0, -1, 1),
    ("quick", "quick", "quick", "realtime"),
    (1, 2, 3, 4),
    (0, 1, 7, 100, 7_500_000),
    (0, 0, 0, 0, 0, 1, 3),
    ("", "", "client-1", "client-1", "client-2"),
)


def _step_of(number: int) -> Step:
    """One draw decides all of a step: much faster than a draw for each of its fields."""
    chosen = []
    for choices in _CHOICES:
        number, place = divmod(number, len(choices))
        chosen.append(choices[place])
    return Step(*chosen)


_steps = st.integers(0, prod(map(len, _CHOICES)) - 1).map(_step_of)


def _log_of(steps: list[Step]) -> list[bytes]:
    hand_ms = START_MS - 2 * STEP_MS
    values = []
    for place, step in enumerate(steps):
        hand_ms += step.moves * STEP_MS
        if step.kind == "broken":
            values.append(BROKEN)
            continue
        time_ms = hand_ms - step.late * STEP_MS + step.edge_ms
        kind, data = _EVENTS[step.kind](step, time_ms)
        fields = {
            "specversion": "1.0",
            "id": f"id-{place - step.repeats}",
            "source": "/logs",
            "type": kind,
            "subject": "clock" if kind == "clock.ticked" else step.app,
            "time": text_of(time_ms),
            "data": data,
        }
        values.append(json.dumps(fields).encode())
    return values


def _call(step: Step, _time_ms: int) -> tuple[str, dict[str, Any]]:
    return "phone.authorization.succeeded", {"capability": step.capability, "client": step.client}


def _unsuccessful(step: Step, _time_ms: int) -> tuple[str, dict[str, Any]]:
    kind = "denied" if step.size % 2 else "failed"
    return f"phone.authorization.{kind}", {"capability": step.capability, "errno": 103}


def _purchase(step: Step, time_ms: int) -> tuple[str, dict[str, Any]]:
    return "pack.purchased", {
        "pack_id": f"pack-{(step.price + step.size + step.moves) % 12}",
        "capability": step.capability,
        "calls": step.size,
        "validity_days": 1 + (step.price + step.size) % 4,
        "price_micro_yuan": step.price,
        "paid_at": text_of(time_ms),
    }


def _purchase_recorded_late(step: Step, time_ms: int) -> tuple[str, dict[str, Any]]:
    return _purchase(step, time_ms - step.size * 2 * STEP_MS)


def _purchase_that_starts_later(step: Step, time_ms: int) -> tuple[str, dict[str, Any]]:
    kind, data = _purchase(step, time_ms)
    return kind, data | {"starts_at": text_of(time_ms + step.size * STEP_MS)}


def _refund(step: Step, _time_ms: int) -> tuple[str, dict[str, Any]]:
    return "pack.refunded", {"pack_id": f"pack-{(step.price + step.size + step.moves) % 12}"}


def _owner(step: Step, _time_ms: int) -> tuple[str, dict[str, Any]]:
    return "account.registered", {"entity_type": step.kind}


def _alerting(step: Step, _time_ms: int) -> tuple[str, dict[str, Any]]:
    thresholds: dict[int, dict[str, Any]] = {
        1: {"levels_percent": [step.price % 100, 50], "burn_client_calls": step.moves},
        2: {"expiry_days": [step.late % 5, 1]},
        3: {"run_out_lead_days": step.late},
        4: {"burn_minute_calls": step.late, "burn_percent": 100 + step.price % 150},
    }
    return "account.alerting_set", thresholds[step.size]


def _tick(_step: Step, _time_ms: int) -> tuple[str, dict[str, Any]]:
    return "clock.ticked", {}


_EVENTS: dict[str, Callable[[Step, int], tuple[str, dict[str, Any]]]] = {
    "call": _call,
    "unsuccessful": _unsuccessful,
    "purchase": _purchase,
    "purchase recorded late": _purchase_recorded_late,
    "purchase that starts later": _purchase_that_starts_later,
    "refund": _refund,
    "government": _owner,
    "company": _owner,
    "alerting": _alerting,
    "tick": _tick,
}

rules = st.builds(
    Rules,
    billing_start_ms=st.sampled_from((START_MS, START_MS, START_MS + DAY_MS)),
    trial_calls=st.sampled_from((0, 0, 1, 3)),
    trial_scope=st.sampled_from(("account", "capability")),
    allowed_lateness_ms=st.sampled_from((0, STEP_MS, DAY_MS)),
    duplicate_window_ms=st.sampled_from((0, STEP_MS, DAY_MS)),
    burn_minute_calls=st.sampled_from((0, 1, 2)),
    burn_client_calls=st.sampled_from((0, 2, 3)),
    burn_percent=st.sampled_from((100, 300)),
)

values = st.lists(_steps, min_size=30, max_size=80).map(_log_of)

moments = st.builds(
    lambda step, edge_ms: START_MS + step * STEP_MS + edge_ms, st.integers(-4, 80), st.integers(-1, 1)
)
"""Times as of which accounts are asked for."""


@dataclass(frozen=True)
class Log:
    """A log and the rules it is metered by."""

    values: list[bytes]
    rules: Rules


logs = st.builds(Log, values, rules)
