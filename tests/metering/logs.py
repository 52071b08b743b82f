"""Hypothesis strategies for logs: few apps, packs and moments, so that they often coincide.

A log is a list of steps. Each advances the clock a little and happens then or some time before. Times are on
a coarse grid or a millisecond beside it, so that many are at the edges of validities.
"""

import json
from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass
from math import prod
from typing import Any, Final, NamedTuple

from hypothesis import given, seed, settings
from hypothesis import strategies as st

from metering.rules import Rules
from tests.metering.building import DAY_MS, HOUR_MS, START_MS, text_of

STEP_MS = 6 * HOUR_MS
BROKEN = b"{"


class Step(NamedTuple):
    """A planned record; its kind decides the meaning of `size` and `edge`."""

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
    confirmed: bool


_CHOICES: tuple[tuple[Any, ...], ...] = (
    (
        *["call"] * 12,
        *["purchase"] * 4,
        "purchase recorded late",
        "purchase that starts later",
        "assignment recorded late",
        *["refund"] * 2,
        "cancellation",
        "refund by the platform",
        *["unsuccessful", "tick", "broken", "company", "alerting", "routing", "notice"],
        *["refused"] * 3,
        *["observation", "opening", "purchase of a used pack"],
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
    (False, False, True),
)

CHUNK_IDS = 2
"""The ids that are forgotten together in tests with these logs, which are short."""


def _step_of(number: int) -> Step:
    """All fields of a step from one draw, which is much faster than a draw for each."""
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
        if step.confirmed:
            fields["beyondhorizon"] = "count"
        values.append(json.dumps(fields).encode())
    return values


def _call(step: Step, _time_ms: int) -> tuple[str, dict[str, Any]]:
    return "phone.authorization.succeeded", {"capability": step.capability, "client": step.client}


def _unsuccessful(step: Step, _time_ms: int) -> tuple[str, dict[str, Any]]:
    kind = "denied" if step.size % 2 else "failed"
    return f"phone.authorization.{kind}", {"capability": step.capability, "errno": 103}


def _refused(step: Step, _time_ms: int) -> tuple[str, dict[str, Any]]:
    kind = "denied" if step.size == 1 else "failed"
    return f"phone.authorization.{kind}", {"capability": step.capability, "errno": 1_400_001}


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


def _assignment_recorded_late(step: Step, time_ms: int) -> tuple[str, dict[str, Any]]:
    """A pack that was paid long before it was assigned, which is when it begins unless it says so."""
    _, data = _purchase(step, time_ms - 40 * STEP_MS)
    if step.size > 1:
        data["assigned_at"] = text_of(time_ms - step.size * 2 * STEP_MS)
    return "pack.assigned", data


def _cancellation(step: Step, time_ms: int) -> tuple[str, dict[str, Any]]:
    _, data = _refund(step, time_ms)
    return "pack.assignment_cancelled", data


def _refund(step: Step, _time_ms: int) -> tuple[str, dict[str, Any]]:
    return "pack.refunded", {"pack_id": f"pack-{(step.price + step.size + step.moves) % 12}"}


def _refund_by_the_platform(step: Step, time_ms: int) -> tuple[str, dict[str, Any]]:
    kind, data = _refund(step, time_ms)
    return kind, data | {"by": "platform"}


def _observation(step: Step, _time_ms: int) -> tuple[str, dict[str, Any]]:
    pack_id = f"pack-{(step.price + step.size + step.moves) % 12}" if step.size > 1 else ""
    data: dict[str, Any] = {"capability": step.capability, "pack_id": pack_id, "used": step.late}
    return "platform.usage_observed", data | ({"covers": "capability"} if step.edge_ms > 0 else {})


def _opening(step: Step, _time_ms: int) -> tuple[str, dict[str, Any]]:
    capability = {"capability": step.capability} if step.size > 1 else {}
    return "account.opened", {"trial_used": step.moves} | capability


def _purchase_of_a_used_pack(step: Step, time_ms: int) -> tuple[str, dict[str, Any]]:
    kind, data = _purchase(step, time_ms)
    return kind, data | {"used_before": min(step.size, (step.size + step.moves) // 2)}


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


def _routing(step: Step, _time_ms: int) -> tuple[str, dict[str, Any]]:
    choices: dict[int, dict[str, Any]] = {
        1: {"reserve_calls": step.late},
        2: {"store_budgets": [{"calls": step.moves}]},
        3: {"store_budgets": [], "ask_known_members": True},
        4: {"sms_left": step.moves, "when_stale": "sms"},
    }
    return "account.routing_set", {"capability": step.capability} | choices[step.size]


def _notice(step: Step, _time_ms: int) -> tuple[str, dict[str, Any]]:
    return "account.charge_notice_requested", {
        "capability": step.capability,
        "monthly_calls_max": 50,
        "price_min_micro_yuan": step.price,
        "price_max_micro_yuan": step.price + step.late,
        "charged_from": "2023-08-26T00:00:00+08:00",
    }


def _tick(_step: Step, _time_ms: int) -> tuple[str, dict[str, Any]]:
    return "clock.ticked", {}


_EVENTS: dict[str, Callable[[Step, int], tuple[str, dict[str, Any]]]] = {
    "call": _call,
    "unsuccessful": _unsuccessful,
    "refused": _refused,
    "purchase": _purchase,
    "purchase recorded late": _purchase_recorded_late,
    "purchase that starts later": _purchase_that_starts_later,
    "observation": _observation,
    "opening": _opening,
    "purchase of a used pack": _purchase_of_a_used_pack,
    "assignment recorded late": _assignment_recorded_late,
    "refund": _refund,
    "cancellation": _cancellation,
    "refund by the platform": _refund_by_the_platform,
    "government": _owner,
    "company": _owner,
    "alerting": _alerting,
    "routing": _routing,
    "notice": _notice,
    "tick": _tick,
}

rules = st.builds(
    Rules,
    billing_start_ms=st.sampled_from((START_MS, START_MS, START_MS + DAY_MS)),
    trial_calls=st.sampled_from((0, 0, 1, 3)),
    trial_scope=st.sampled_from(("account", "capability")),
    allowed_lateness_ms=st.sampled_from((0, STEP_MS, DAY_MS)),
    duplicate_window_ms=st.sampled_from((0, STEP_MS, DAY_MS)),
    remembered_ids_max=st.sampled_from((2_500_000, 2_500_000, 1, 3, 10)),
    burn_minute_calls=st.sampled_from((0, 1, 2)),
    burn_client_calls=st.sampled_from((0, 2, 3)),
    burn_percent=st.sampled_from((100, 300)),
    refusal_quiet_ms=st.sampled_from((1, 300_000, STEP_MS, DAY_MS)),
)

values = st.lists(_steps, min_size=30, max_size=80).map(_log_of)

moments = st.builds(
    lambda step, edge_ms: START_MS + step * STEP_MS + edge_ms, st.integers(-4, 80), st.integers(-1, 1)
)
"""Times at which accounts are rated."""


@dataclass(frozen=True)
class Log:
    """A log and its rules."""

    values: list[bytes]
    rules: Rules


logs = st.builds(Log, values, rules)

SEARCHES_MAX: Final = 8
"""Limit of searches of `not_met`. The rarest words come about ten times in one, and how often depends on the
modules that are loaded: Hypothesis takes constants from them."""


def not_met(
    wanted: Set[tuple[str, str]], words_of: Callable[[Log], Iterable[tuple[str, str]]]
) -> set[tuple[str, str]]:
    """The wanted words that no generated log gives, of `SEARCHES_MAX` times 500 logs."""
    missing = set(wanted)
    for number in range(SEARCHES_MAX):

        @seed(number)
        @settings(max_examples=500)
        @given(logs)
        def search(log: Log) -> None:
            missing.difference_update(words_of(log))

        search()
        if not missing:
            break
    return missing
