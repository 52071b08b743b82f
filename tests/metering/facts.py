"""Hypothesis strategies: facts with unique ids, in any order, and corrections of them (rules 8 and 15).

There are few apps, packs and moments, so that they often coincide.
"""

import json
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from hypothesis import strategies as st

from metering.rules import Rules
from tests.metering.building import DAY_MS, HOUR_MS, START_MS, opened, text_of, ticked

STEP_MS: Final = 6 * HOUR_MS
END_MS: Final = START_MS + 40 * DAY_MS

Event = dict[str, Any]

OTHERS = (
    "purchase that starts later",
    "purchase by an agency",
    "refund",
    "refund",
    "taken back",
    "cancelled",
    "government",
    "company",
)


class _Step(NamedTuple):
    """A planned fact; its kind decides which fields count."""

    kind: str
    step: int
    edge_ms: int
    app: str
    capability: str
    pack: int
    pack_of_its_own: bool
    calls: int
    days: int
    price: int
    used: int
    starts: int
    store: str
    head: int


_TERMS: tuple[tuple[Any, ...], ...] = (
    (1, 2, 3, 4),
    (1, 2, 3, 4, 9),
    (0, 7, 100),
    (0, 0, 0, 1, 4),
    tuple(range(-4, 9)),
    ("a", "b"),
    tuple(range(10)),
)

_CHOICES: tuple[tuple[tuple[Any, ...], ...], ...] = (
    (
        ("call",) * 10 + ("purchase",) * 3 + OTHERS,
        tuple(range(-1, 15)),
        (0, 0, 1),
        ("wx-a", "wx-a", "wx-a", "wx-b"),
        ("quick", "quick", "quick", "realtime"),
        tuple(range(4)),
        (False, True),
        *_TERMS,
    ),
    (
        ("call",) * 30 + ("purchase",) * 7 + OTHERS,
        tuple(range(-1, 11)),
        (0, 0, 1),
        ("wx-a",),
        ("quick",),
        tuple(range(4)),
        (False, True),
        *_TERMS,
    ),
)
"""The facts: of everything, or mostly calls and packs of one app."""


class _Mistake(NamedTuple):
    """A planned correction; the type of its fact decides which fields count."""

    aim: str
    victim: int
    what: int
    is_void: bool
    kind: str
    step: int
    edge_ms: int
    capability: str
    pack: int
    calls: int
    days: int
    price: int
    used: int
    starts: int
    store: str
    head: int


_MISTAKES: tuple[tuple[Any, ...], ...] = (
    (*["fact"] * 12, *["correction"] * 3, *["purchase"] * 4, "unknown", "another app", "again"),
    tuple(range(24)),
    tuple(range(12)),
    (False, False, True),
    ("government", "company"),
    tuple(range(-2, 15)),
    (0, 0, 1),
    ("quick", "realtime"),
    tuple(range(4)),
    *_TERMS,
)


def _drawn(choices: Sequence[Sequence[Any]]) -> st.SearchStrategy[list[Any]]:
    """All fields from one draw, which is much faster than a draw for each."""
    draw = st.binary(min_size=len(choices), max_size=len(choices))
    return draw.map(lambda drawn: [each[byte % len(each)] for each, byte in zip(choices, drawn, strict=True)])


def _plans(choices: Sequence[Sequence[Any]]) -> st.SearchStrategy[list[Event]]:
    drawn = _drawn(choices)
    few, many = st.lists(drawn, min_size=3, max_size=8), st.lists(drawn, min_size=12, max_size=24)
    return st.one_of(few, many).map(
        lambda steps: [_fact(_Step(*fields), number) for number, fields in enumerate(steps)]
    )


_facts = st.booleans().flatmap(lambda crowded: _plans(_CHOICES[crowded]))
_mistakes = st.lists(_drawn(_MISTAKES), max_size=8)

facts = _facts.map(lambda events: [_encoded(event) for event in events])
"""Facts of one or two apps."""

corrected_facts = st.builds(
    lambda events, mistakes: [_encoded(event) for event in _with_corrections(events, mistakes)],
    _facts,
    _mistakes,
)
"""Facts, and behind them corrections of any of them: also of corrections, and of what there is not."""


def _encoded(event: Event) -> bytes:
    return json.dumps(event).encode()


def _event(event_id: str, kind: str, app: str, time_ms: int, data: dict[str, Any]) -> Event:
    return {
        "specversion": "1.0",
        "id": event_id,
        "source": "/facts",
        "type": kind,
        "subject": app,
        "time": text_of(time_ms),
        "data": data,
    }


def _fact(step: _Step, number: int) -> Event:
    time_ms = START_MS + step.step * STEP_MS + step.edge_ms
    pack_id = f"{step.app}-pack-{step.pack}"
    kind = "phone.authorization.succeeded"
    data: dict[str, Any] = {"capability": step.capability, "store": step.store}
    if step.kind.startswith("purchase"):
        kind = "pack.purchased"
        data = {
            "pack_id": f"{step.app}-{number}" if step.pack_of_its_own else pack_id,
            "capability": step.capability,
            "calls": step.calls,
            "validity_days": step.days,
            "price_micro_yuan": step.price,
            "paid_at": text_of(time_ms),
            "used_before": min(step.used, step.calls),
        }
        if step.kind == "purchase by an agency":
            kind = "pack.assigned"
            data["paid_at"] = text_of(time_ms - 30 * DAY_MS)
            if step.starts > 0:
                data["assigned_at"] = text_of(time_ms - step.starts % 4 * STEP_MS)
        elif step.kind != "purchase":
            data["starts_at"] = text_of(time_ms + step.starts * STEP_MS)
    elif step.kind in {"refund", "taken back", "cancelled"}:
        kind = "pack.assignment_cancelled" if step.kind == "cancelled" else "pack.refunded"
        data = {"pack_id": pack_id}
        if step.kind == "taken back":
            data["by"] = "platform"
    elif step.kind != "call":
        kind, data = "account.registered", {"entity_type": step.kind}
    return _event(f"id-{step.head}-{number}", kind, step.app, time_ms, data)


def _with_corrections(events: list[Event], mistakes: list[list[Any]]) -> list[Event]:
    """The facts with corrections behind them."""
    corrections: list[Event] = []
    for number, fields in enumerate(mistakes):
        mistake = _Mistake(*fields)
        victim = _victim(events, corrections, mistake)
        app = victim["subject"]
        time_ms = START_MS + (mistake.victim % 12) * STEP_MS
        event_id = f"id-{mistake.head}-c{number}"
        if mistake.aim == "again" and corrections:
            corrections.append({**corrections[-1], "id": event_id})
            continue
        data = {"event_id": victim["id"]}
        if mistake.aim == "unknown":
            data = {"event_id": "id-unknown"}
        elif mistake.aim == "another app":
            app = "wx-b" if app == "wx-a" else "wx-a"
        data |= {"void": True} if mistake.is_void else {"set": _changed(victim, mistake)}
        corrections.append(_event(event_id, "fact.corrected", app, time_ms, data))
    return [*events, *corrections]


def _victim(events: list[Event], corrections: list[Event], mistake: _Mistake) -> Event:
    """The fact that a correction is about: mostly any, or a purchase, or a correction."""
    among = events
    if mistake.aim == "correction":
        among = corrections or events
    elif mistake.aim == "purchase":
        among = [event for event in events if "validity_days" in event["data"]] or events
    return among[mistake.victim % len(among)]


def _changed(victim: Event, mistake: _Mistake) -> dict[str, Any]:
    """The fields that a correction sets."""
    choices = _CHANGES.get(victim["type"], (("note",),))
    names = choices[mistake.what % len(choices)]
    time = text_of(START_MS + mistake.step * STEP_MS + mistake.edge_ms)
    values = {
        "time": time,
        "capability": mistake.capability,
        "scene": f"scene-{mistake.store}",
        "store": f"corrected-{mistake.store}",
        "env": mistake.store,
        "pack_id": f"{victim['subject']}-pack-{mistake.pack}",
        "order_id": f"order-{mistake.store}",
        "calls": mistake.calls,
        "validity_days": mistake.days,
        "price_micro_yuan": mistake.price,
        "price_basis": "catalogue",
        "paid_at": time,
        "assigned_at": time,
        "starts_at": text_of(START_MS + (mistake.step + mistake.starts) * STEP_MS),
        "used_before": mistake.used,
        "by": "platform" if mistake.is_void or mistake.calls > 1 else "owner",
        "entity_type": mistake.kind,
        "name": "Harbour",
        "category": "",
    }
    return {name: values[name] for name in names if name != "note"} or {"by": "owner"}


_Choices = tuple[tuple[str, ...], ...]

_OF_CALLS: Final[_Choices] = (
    ("store",),
    ("scene",),
    ("env", "store"),
    ("capability",),
    ("time",),
    ("time",),
    ("time", "store"),
    ("time", "capability"),
    ("store", "calls"),
)
_OF_PACKS: Final[_Choices] = (
    ("calls",),
    ("price_micro_yuan",),
    ("validity_days",),
    ("capability",),
    ("pack_id",),
    ("paid_at",),
    ("paid_at",),
    ("starts_at",),
    ("used_before",),
    ("calls", "price_micro_yuan", "validity_days", "order_id", "price_basis"),
    ("calls", "used_before"),
    ("calls", "time"),
    ("calls", "assigned_at"),
)
_OF_REFUNDS: Final[_Choices] = (("time",), ("pack_id",), ("by",), ("pack_id", "time"), ("calls",))
_OF_OWNERS: Final[_Choices] = (("time",), ("entity_type",), ("time", "entity_type", "name"), ("by", "name"))
_CHANGES: Final[dict[str, _Choices]] = {
    "phone.authorization.succeeded": _OF_CALLS,
    "pack.purchased": _OF_PACKS,
    "pack.assigned": (("assigned_at",), ("assigned_at", "paid_at"), *_OF_PACKS),
    "pack.refunded": _OF_REFUNDS,
    "pack.assignment_cancelled": _OF_REFUNDS,
    "account.registered": _OF_OWNERS,
}
"""Fields that are set of a fact; the last choice of some has a field that does not belong to it."""

rules = st.builds(
    Rules,
    billing_start_ms=st.sampled_from((START_MS, START_MS, START_MS, START_MS + DAY_MS)),
    trial_calls=st.sampled_from((0, 0, 0, 1, 3)),
    trial_scope=st.sampled_from(("account", "capability")),
    allowed_lateness_ms=st.sampled_from((0, STEP_MS, DAY_MS)),
)

openings = st.sampled_from((0, 0, 1, 2)).map(
    lambda used: opened(START_MS - 3 * STEP_MS, used, app="wx-a", capability="quick")
)
"""Calls of a trial quota that were used before the log (rule 16), told as the first fact."""

ticks = st.lists(st.tuples(st.integers(0, 24), st.integers(0, 30)), max_size=4)
"""Clock ticks: their place among the facts and their time in steps."""


def arrange(arrival: Sequence[bytes], at: list[tuple[int, int]]) -> list[bytes]:
    """The facts as they arrive, with ticks among them."""
    log = list(arrival)
    for place, step in at:
        log.insert(place, ticked(START_MS + step * STEP_MS))
    return log
