"""Events for the tests of the rules: small builders that share nothing with the producers."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count

from metering.dead_letters import DeadLetter
from metering.ledger import Entry
from metering.partition import PartitionState, Record, meter
from metering.rating import PackReport, Rating, TrialReport, UseReport
from metering.rules import BILLING_START_MS, Rules

APP = "wxfb1f3d218d111092"
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
START_MS = BILLING_START_MS
"""Moments in these tests are counted from billing start."""

NO_TRIAL = Rules(trial_calls=0)

_ids = count(1)


def at(days: float = 0, *, hours: int = 0, ms: int = 0) -> int:
    """A moment so long after billing start, in UTC milliseconds."""
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
    return event("pack.purchased", time_ms, data, app=app, **({} if event_id is None else {"id": event_id}))


def refunded(time_ms: int, pack_id: str, *, app: str = APP) -> bytes:
    return event("pack.refunded", time_ms, {"pack_id": pack_id}, app=app)


def registered(time_ms: int, entity_type: str, category: str = "", *, app: str = APP) -> bytes:
    data = {"name": "Harbour Café", "entity_type": entity_type, "category": category}
    return event("account.registered", time_ms, data, app=app)


def alerting_set(time_ms: int, **data: object) -> bytes:
    return event("account.alerting_set", time_ms, data)


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
    """A log played through the rules, to be looked at and played on."""

    rules: Rules = field(default_factory=Rules)
    state: PartitionState = field(default_factory=lambda: PartitionState(0))
    entries: list[Entry] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)

    def on(self, *values: bytes) -> list[Entry]:
        """Play more events; gives their entries."""
        return self._meter(records(values, self.state.next_offset))

    def arriving(self, *values: tuple[int, bytes]) -> list[Entry]:
        """Play more events, each given with the broker's time; gives their entries."""
        return self._meter(arrived(values, self.state.next_offset))

    def _meter(self, more: Iterable[Record]) -> list[Entry]:
        metered = meter(self.state, more, self.rules)
        self.state = metered.state
        self.entries += metered.entries
        self.dead_letters += metered.dead_letters
        return metered.entries

    def with_(self, *values: bytes) -> "Play":
        """The same played on with more events; this one stays as it is."""
        other = Play(self.rules, self.state, list(self.entries), list(self.dead_letters))
        other.on(*values)
        return other

    def kinds(self) -> list[str]:
        return [entry.kind for entry in self.entries]

    def of(self, *kinds: str) -> list[Entry]:
        return [entry for entry in self.entries if entry.kind in kinds]

    def packs_charged(self) -> list[str]:
        return [entry.pack_id for entry in self.of("charge")]


def play(*values: bytes, rules: Rules = NO_TRIAL) -> Play:
    """Play a log from its beginning; without a trial quota unless rules are given."""
    played = Play(rules)
    played.on(*values)
    return played


def use_of(rating: Rating, capability: str = "quick", *, app: str = APP) -> UseReport:
    report = rating.apps[app][capability]
    assert isinstance(report, UseReport)
    return report


def trial_of(rating: Rating, *, app: str = APP) -> TrialReport:
    report = rating.apps[app]["trial"]
    assert isinstance(report, TrialReport)
    return report


def pack_of(rating: Rating, pack_id: str, *, app: str = APP) -> PackReport:
    packs: Sequence[PackReport] = [*use_of(rating, app=app).packs, *use_of(rating, "realtime", app=app).packs]
    return next(pack for pack in packs if pack.pack_id == pack_id)
