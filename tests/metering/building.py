"""Events for the tests of the rules: small builders that share nothing with the producers."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from metering.dead_letters import DeadLetter
from metering.ledger import CALL_KINDS, Entry
from metering.partition import meter
from metering.partition_state import PartitionState
from metering.rating import CapabilityReport, PackReport, Rating, TrialReport
from metering.records import Record
from metering.rules import BILLING_START_MS, Rules

APP = "wxfb1f3d218d111092"
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
START_MS = BILLING_START_MS
"""Moments in these tests are counted from billing start."""

NO_TRIAL = Rules(trial_calls=0)

_ids = count(1)


def at(days: float = 0, *, hours: int = 0, ms: int = 0) -> int:
    """A moment after billing start, in UTC milliseconds."""
    return START_MS + round(days * DAY_MS) + hours * HOUR_MS + ms


def text_of(time_ms: int) -> str:
    """RFC 3339 of a moment."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=time_ms)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def event(
    kind: str, time_ms: int, data: Mapping[str, object] | None = None, *, app: str = APP, **fields: object
) -> bytes:
    """An event with an id of its own unless one is given."""
    return json.dumps(
        {
            "specversion": "1.0",
            "id": f"event-{next(_ids)}",
            "source": "/tests",
            "type": kind,
            "subject": app,
            "time": text_of(time_ms),
        }
        | ({} if data is None else {"data": data})
        | fields,
        ensure_ascii=False,
    ).encode()


def succeeded(
    time_ms: int, *, app: str = APP, capability: str = "quick", event_id: str | None = None, **data: object
) -> bytes:
    fields = {} if event_id is None else {"id": event_id}
    return event(
        "phone.authorization.succeeded", time_ms, {"capability": capability} | data, app=app, **fields
    )


def denied(time_ms: int, *, capability: str = "quick") -> bytes:
    return event("phone.authorization.denied", time_ms, {"capability": capability, "errno": 103})


def failed(time_ms: int, *, capability: str = "quick") -> bytes:
    return event("phone.authorization.failed", time_ms, {"capability": capability, "errno": 1_400_001})


def purchased(
    time_ms: int,
    pack_id: str,
    *,
    calls: int = 10,
    days: int = 90,
    price: int = 300_000,
    paid_at: int | None = None,
    starts_at: int | None = None,
    price_basis: str | None = None,
    used_before: int | None = None,
    capability: str = "quick",
    app: str = APP,
    event_id: str | None = None,
) -> bytes:
    """A pack recorded at `time_ms`, paid then unless said otherwise."""
    data = {
        "pack_id": pack_id,
        "order_id": f"order-{pack_id}",
        "capability": capability,
        "calls": calls,
        "validity_days": days,
        "price_micro_yuan": price,
        "paid_at": text_of(time_ms if paid_at is None else paid_at),
    }
    if starts_at is not None:
        data["starts_at"] = text_of(starts_at)
    if used_before is not None:
        data["used_before"] = used_before
    if price_basis is not None:
        data["price_basis"] = price_basis
    return event("pack.purchased", time_ms, data, app=app, **({} if event_id is None else {"id": event_id}))


def assigned(
    time_ms: int,
    pack_id: str,
    *,
    assigned_at: int | None = None,
    **fields: Any,  # noqa: ANN401 - as of `purchased`
) -> bytes:
    """A pack that an agency assigned at `time_ms` unless said otherwise."""
    event = json.loads(purchased(time_ms, pack_id, **fields))
    if assigned_at is not None:
        event["data"]["assigned_at"] = text_of(assigned_at)
    return json.dumps(event | {"type": "pack.assigned"}, ensure_ascii=False).encode()


def refunded(time_ms: int, pack_id: str, *, app: str = APP, **data: object) -> bytes:
    return event("pack.refunded", time_ms, {"pack_id": pack_id} | data, app=app)


def cancelled(time_ms: int, pack_id: str, *, app: str = APP, **data: object) -> bytes:
    """The cancellation of an assignment."""
    return event("pack.assignment_cancelled", time_ms, {"pack_id": pack_id} | data, app=app)


def taken_back(time_ms: int, pack_id: str) -> bytes:
    """A refund that the platform did."""
    return refunded(time_ms, pack_id, by="platform")


def opened(time_ms: int, trial_used: int, *, app: str = APP, **data: object) -> bytes:
    return event("account.opened", time_ms, {"trial_used": trial_used} | data, app=app)


def migrated(time_ms: int, to: str, *, app: str = APP) -> bytes:
    return event("account.migrated", time_ms, {"to": to}, app=app)


def corrected(time_ms: int, target: str, *, app: str = APP, **data: object) -> bytes:
    """A correction of the fact of an event id."""
    return event("fact.corrected", time_ms, {"event_id": target} | data, app=app)


def id_of(value: bytes) -> str:
    """The id of an event."""
    return str(json.loads(value)["id"])


def observed(
    time_ms: int, used: int, pack_id: str = "", *, capability: str = "quick", **data: object
) -> bytes:
    """The platform's count of a pack, or of the trial quota."""
    count = {"capability": capability, "pack_id": pack_id, "used": used, "size": 1_000}
    return event("platform.usage_observed", time_ms, count | data)


def registered(time_ms: int, entity_type: str, category: str = "", *, app: str = APP) -> bytes:
    data = {"name": "Harbour Café", "entity_type": entity_type, "category": category}
    return event("account.registered", time_ms, data, app=app)


def settled(
    time_ms: int,
    *moves: Mapping[str, object],
    as_of: int,
    after: int = -1,
    from_ms: int | None = None,
    app: str = APP,
    **data: object,
) -> bytes:
    """A settlement; `move` makes its moves."""
    fields = {"as_of": as_of, "after": after, "from": text_of(time_ms if from_ms is None else from_ms)}
    return event("account.settled", time_ms, {**fields, "moves": moves, **data}, app=app)


def move(
    time_ms: int, source: str, target: str, calls: int = 1, *, capability: str = "quick", **where: str
) -> dict[str, object]:
    return {
        "capability": capability,
        "from": source,
        "to": target,
        "calls": calls,
        "time": text_of(time_ms),
        **where,
    }


def agreement_set(time_ms: int, policy: str = "follow", *, app: str = APP) -> bytes:
    return event("account.agreement_set", time_ms, {"policy": policy}, app=app)


def routing_set(time_ms: int, *, app: str = APP, capability: str = "quick", **data: object) -> bytes:
    return event("account.routing_set", time_ms, {"capability": capability, **data}, app=app)


def notice_requested(time_ms: int, *, app: str = APP, capability: str = "quick", **data: object) -> bytes:
    """A request for a charge notice such as WeChat's own of June 2023."""
    told = {
        "capability": capability,
        "monthly_calls_max": 100,
        "price_min_micro_yuan": 26_000,
        "price_max_micro_yuan": 30_000,
        "charged_from": "2023-08-26T00:00:00+08:00",
    }
    return event("account.charge_notice_requested", time_ms, told | data, app=app)


def alerting_set(time_ms: int, *, app: str = APP, **data: object) -> bytes:
    return event("account.alerting_set", time_ms, data, app=app)


def ticked(time_ms: int) -> bytes:
    return event("clock.ticked", time_ms, app="clock")


def records(values: Iterable[bytes], first: int = 0) -> list[Record]:
    """The records of a file, which have neither key nor broker time."""
    return [Record(offset, None, None, value) for offset, value in enumerate(values, first)]


def arrived(values: Iterable[tuple[int, bytes]], first: int = 0) -> list[Record]:
    """The records of a broker, which have its time and their app's key."""
    return [
        Record(offset, recorded_at_ms, json.loads(value)["subject"].encode(), value)
        for offset, (recorded_at_ms, value) in enumerate(values, first)
    ]


@dataclass
class Play:
    """A log metered by the rules, which can be continued."""

    rules: Rules = field(default_factory=Rules)
    state: PartitionState = field(default_factory=lambda: PartitionState(0))
    entries: list[Entry] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)

    def on(self, *values: bytes) -> list[Entry]:
        """Meter more events and return their entries."""
        return self._meter(records(values, self.state.next_offset))

    def arriving(self, *values: tuple[int, bytes]) -> list[Entry]:
        """Meter more events, each given with the broker's time, and return their entries."""
        return self._meter(arrived(values, self.state.next_offset))

    def _meter(self, more: Iterable[Record]) -> list[Entry]:
        metered = meter(self.state, more, self.rules)
        self.state = metered.state
        self.entries += metered.entries
        self.dead_letters += metered.dead_letters
        return metered.entries

    def with_(self, *values: bytes) -> "Play":
        """A copy continued with more events."""
        other = Play(self.rules, self.state, list(self.entries), list(self.dead_letters))
        other.on(*values)
        return other

    def kinds(self) -> list[str]:
        """Kinds of the entries of apps, without the first tick's."""
        return [entry.kind for entry in self.entries if entry.kind != "clock_start"]

    def of(self, *kinds: str) -> list[Entry]:
        return [entry for entry in self.entries if entry.kind in kinds]

    def packs_charged(self) -> list[str]:
        return [entry.pack_id for entry in self.of("charge")]


def call_kinds(played: Play) -> dict[str, int]:
    """The calls of a log by kind of entry, `corrected` ones included."""
    sums: Counter[str] = Counter()
    for entry in played.of(*CALL_KINDS, "corrected"):
        sums[entry.kind] += entry.calls
    return {kind: calls for kind, calls in sorted(sums.items()) if calls}


def play(*values: bytes, rules: Rules = NO_TRIAL) -> Play:
    """Meter a log from its beginning; without a trial quota unless rules are given."""
    played = Play(rules)
    played.on(*values)
    return played


def use_of(rating: Rating, capability: str = "quick", *, app: str = APP) -> CapabilityReport:
    report = rating.apps[app][capability]
    assert isinstance(report, CapabilityReport)
    return report


def trial_of(rating: Rating, *, app: str = APP) -> TrialReport:
    report = rating.apps[app]["trial"]
    assert isinstance(report, TrialReport)
    return report


def pack_of(rating: Rating, pack_id: str, *, app: str = APP) -> PackReport:
    packs: Sequence[PackReport] = [*use_of(rating, app=app).packs, *use_of(rating, "realtime", app=app).packs]
    return next(pack for pack in packs if pack.pack_id == pack_id)
