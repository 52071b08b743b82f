"""Keepers of balances for tests, and what differs between a memory and the view that says the same."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from kafka_access.access import KafkaAccess
from metering.events import CAPABILITIES
from metering.ledger import Entry, EntryKind
from metering.times import DAY_MS, MINUTE_MS, shanghai_day
from sinks.balances.decider import RouteDecider
from sinks.balances.hold_desk import HoldDesk
from sinks.balances.holds import (
    CONFIRMED_MS_MAX,
    SEEN_MS,
    Hold,
    HoldEnd,
    HoldLimits,
    HoldRefusal,
    HoldSource,
    HoldsUnavailableError,
)
from sinks.balances.keeper import BalanceKeeper, KeeperPlaces
from sinks.balances.memory import BalanceMemory, wall_clock_ms
from sinks.balances.metrics import BalanceMetrics
from sinks.balances.part import RoutingPart
from sinks.connection import connect, rows

_LEFT = "SELECT appid, toString(capability), calls_left, trial_remaining FROM balances_now"
_EXEMPT = "SELECT appid, exempt FROM apps"


class NothingAwaited:
    """Nobody waits for an event."""

    event_ids: dict[str, object] = {}  # noqa: RUF012 - it stays empty

    def seen(self, event_id: str, partition: int, offset: int) -> None:
        raise AssertionError(event_id, partition, offset)


@contextmanager
def keeping(kafka: str, clickhouse: str, apps_max: int = 10_000) -> Iterator[BalanceKeeper]:
    """A keeper that follows the ledger in the block."""
    places = KeeperPlaces(KafkaAccess(kafka), clickhouse, apps_max)
    keeper = BalanceKeeper(places, NothingAwaited(), BalanceMetrics(CollectorRegistry()))
    with keeper.running():
        yield keeper


def in_view(clickhouse: str) -> dict[tuple[str, str], tuple[int, int, bool]]:
    """By app and capability: calls left, those of the trial quota, and whether it is exempt, by the views."""
    with connect(clickhouse) as client:
        exempt = dict(rows(client, _EXEMPT))
        return {
            (app, of): (left, trial, exempt.get(app, False)) for app, of, left, trial in rows(client, _LEFT)
        }


def in_memory(memory: BalanceMemory, apps: set[str]) -> dict[tuple[str, str], tuple[int, int, bool]]:
    """The same by a memory."""
    now_ms = memory.now_ms(wall_clock_ms())
    found: dict[tuple[str, str], tuple[int, int, bool]] = {}
    for app in apps:
        for capability in CAPABILITIES:
            balance = memory.balance(app, capability)
            if balance is not None:
                told = (balance.ledger_left_at(now_ms), balance.quotas[0].left, balance.is_exempt)
                found[app, capability] = told
    return found


def agrees(keeper: BalanceKeeper, clickhouse: str) -> bool:
    """Return whether a keeper's memory says the same as the views of all apps, and there are some."""
    memory, told = keeper.memory, in_view(clickhouse)
    apps = {app for app, _ in told}
    return memory is not None and len(memory) == len(apps) > 0 and in_memory(memory, apps) == told


def everything(memory: BalanceMemory) -> dict[tuple[str, str], Any]:
    """All that decisions are made from, of all apps."""
    found: dict[tuple[str, str], Any] = {}
    today = shanghai_day(memory.now_ms(wall_clock_ms()))
    for app, sums in memory._sums.items():
        for capability in CAPABILITIES:
            balance = memory.balance(app, capability)
            assert balance is not None
            quotas = tuple(sorted(balance.quotas[1:], key=str))
            stores = dict(sums._stores[today])
            found[app, capability] = (balance.quotas[0], replace(balance, quotas=quotas), stores)
    return found


def differing(keeper: BalanceKeeper, clickhouse: str) -> dict[tuple[str, str], Any]:
    """The differences, for the message of a failure."""
    assert keeper.memory is not None, keeper.trouble
    told = in_view(clickhouse)
    known = in_memory(keeper.memory, {app for app, _ in told})
    return {key: (told.get(key), known.get(key)) for key in told | known if told.get(key) != known.get(key)}


NOW_MS = 1_800_000_000_000
APP = "wxfb1f3d218d111092"


class Log:
    """The ledger of one partition, written entry by entry."""

    def __init__(self, memory: BalanceMemory) -> None:
        self.memory = memory
        self.awaited: set[str] = set()
        self.seen: list[tuple[str, int, int]] = []
        self._offset = 0

    def add(self, kind: EntryKind, appid: str = APP, capability: str = "quick", **more: Any) -> int:  # noqa: ANN401
        """Add one entry, and return its offset."""
        entry = Entry(self._offset, 0, kind, NOW_MS, NOW_MS, appid, capability)
        self.memory.take(0, [replace(entry, **more)], self.awaited, lambda *told: self.seen.append(told))
        self._offset += 1
        return self._offset - 1

    def buy(self, pack_id: str, calls: int, *, starts_at_ms: int = NOW_MS, days: int = 90) -> int:
        """Add the entry of a pack."""
        terms = {"starts_at_ms": starts_at_ms, "expires_at_ms": starts_at_ms + days * DAY_MS}
        details = json.dumps(terms)
        return self.add("purchase", calls=calls, pack_id=pack_id, details=details)

    def charge(self, pack_id: str = "P", calls: int = 1, **more: Any) -> int:  # noqa: ANN401
        """Add the entry of calls that a pack was charged for."""
        return self.add("charge", pack_id=pack_id, calls=calls, **more)


class HeldInMemory:
    """In place of the business database: one gateway's holds, or away."""

    def __init__(self) -> None:
        self.holds: dict[str, Hold] = {}
        self.away = False

    def grant(self, hold: Hold, limits: HoldLimits) -> Hold | HoldRefusal:
        self._check()
        for each in self.holds.values():
            if hold.repeat is not None and each.repeat == hold.repeat:
                return each
        if len(self.holds) >= limits.free:
            return "nothing_left"
        self.holds[hold.hold_id] = hold
        return hold

    def release(self, appid: str, hold_id: str, now_ms: int) -> HoldEnd:
        self._check()
        found = self.holds.get(hold_id)
        if found is None or found.appid != appid or found.ends_at_ms <= now_ms:
            return "unknown"
        if found.event_id is not None:
            return "confirmed"
        del self.holds[hold_id]
        return "released"

    def confirm(self, appid: str, hold_id: str, event_id: str, now_ms: int) -> bool:
        self._check()
        found = self.holds.get(hold_id)
        if found is None or found.appid != appid or found.event_id is not None:
            return False
        self.holds[hold_id] = replace(found, event_id=event_id, ends_at_ms=now_ms + CONFIRMED_MS_MAX)
        return True

    def mark_seen(self, seen: Mapping[str, int], now_ms: int) -> None:
        self._check()
        for hold in tuple(self.holds.values()):
            if hold.event_id is not None and hold.event_id in seen:
                self.holds[hold.hold_id] = replace(
                    hold, seen_offset=seen[hold.event_id], ends_at_ms=now_ms + SEEN_MS
                )

    def open(self, now_ms: int) -> Sequence[Hold]:
        self._check()
        return [hold for hold in self.holds.values() if hold.ends_at_ms > now_ms]

    def _check(self) -> None:
        if self.away:
            raise HoldsUnavailableError("The business database is away.")


class Desk(NamedTuple):
    """A part for decisions, with a memory that a test writes and a clock that it sets."""

    part: RoutingPart
    log: Log
    source: HeldInMemory
    desk: HoldDesk
    keeper: BalanceKeeper
    metrics: BalanceMetrics


def desk(now_ms: int = NOW_MS, *, known: bool = True, shared: HoldSource | None = None) -> Desk:
    """A part whose memory is empty and as of now; without one if nothing is `known`.

    Its holds are its own, or in a source that it has in common with others.
    """
    metrics, source = BalanceMetrics(CollectorRegistry()), HeldInMemory()
    holding = HoldDesk(shared or source, lambda: now_ms)
    keeper = BalanceKeeper(
        KeeperPlaces(KafkaAccess("127.0.0.1:1"), "clickhouse://127.0.0.1:1/x", 100), holding, metrics
    )
    memory = BalanceMemory(1, 100)
    memory.note_time(now_ms, of_clock=True)
    memory.confirm(0, now_ms)
    if known:
        keeper.memory, keeper.trouble = memory, ""
    decider = RouteDecider(keeper, holding, MINUTE_MS, 0, lambda: now_ms)
    return Desk(RoutingPart(keeper, holding, decider, metrics), Log(memory), source, holding, keeper, metrics)
