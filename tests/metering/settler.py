"""A settler of the pure rules alone: it reads a log's entries, works out and publishes into the log."""

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from metering.accounts import NEVER_MS, Account
from metering.events import SettlementData
from metering.ledger import Entry
from metering.ledger_facts import LedgerFacts
from metering.packs import Pack
from metering.settlement import work_out
from metering.settlement_events import settlement_event, settlement_parts
from tests.metering.as_corrected import as_corrected, decoded
from tests.metering.building import START_MS, Play, text_of
from tests.metering.model import ms

ROUNDS_MAX = 8
"""A settled log needs two: one that moves, and one that finds nothing left."""


@dataclass
class Reading:
    """An app as a settler has read it: its account as of an offset."""

    account: Account
    facts: LedgerFacts
    as_of: int


@dataclass
class Settler:
    """It reads a play's ledger as a settler reads ClickHouse."""

    played: Play
    facts: dict[str, LedgerFacts] = field(default_factory=dict)
    read_entries: int = 0

    def read(self, appid: str) -> Reading:
        """Read an app as of now."""
        places: dict[Any, int] = {}
        facts = LedgerFacts(places)
        for entry in self.played.entries:
            if entry.appid == appid:
                facts.add(entry)
        return Reading(self.played.state.accounts[appid].copy(), facts, self.played.state.next_offset - 1)

    def events(self, reading: Reading) -> list[bytes]:
        """Work an app out as it was read."""
        rules = self.played.rules
        sums = reading.facts.sums(reading.account, rules)
        correction = work_out(sums, reading.facts.facts, reading.facts.calls(sums.from_ms), rules)
        data = settlement_parts(sums, correction, as_of=reading.as_of, after=reading.account.settled_offset)
        return [self.event(reading.account, each) for each in data]

    def event(self, account: Account, data: SettlementData) -> bytes:
        return settlement_event(account.appid, data, time_ms=account.clock_ms, source="/settler")

    def unsettled(self) -> list[str]:
        accounts = self.played.state.accounts
        return [appid for appid in sorted(accounts) if accounts[appid].unsettled_ms < NEVER_MS]

    def settle(self) -> int:
        """Settle every app; the number of rounds."""
        for done in range(ROUNDS_MAX):
            waiting = self.unsettled()
            if not waiting:
                return done
            for appid in waiting:
                self.played.on(*self.events(self.read(appid)))
        raise AssertionError(f"{self.unsettled()} are not settled after {ROUNDS_MAX} rounds")


RANKS = {
    "account.registered": 0,
    "pack.purchased": 1,
    "pack.assigned": 1,
    "pack.refunded": 2,
    "pack.assignment_cancelled": 2,
}


def in_effective_order(values: Iterable[bytes], billing_start_ms: int = START_MS) -> list[bytes]:
    """The same facts as they should have been, in the order of their effective time, and at it."""
    keyed = []
    for event in as_corrected(decoded(values), billing_start_ms):
        time_ms = effective_ms(event, billing_start_ms)
        if event["type"] == "pack.assigned":
            event["data"].setdefault("assigned_at", event["time"])
        event["time"] = text_of(time_ms)
        rank = RANKS.get(event["type"], 3)
        keyed.append(((time_ms, rank, event["id"]), json.dumps(event, ensure_ascii=False).encode()))
    return [value for _, value in sorted(keyed)]


def effective_ms(event: dict[str, Any], billing_start_ms: int) -> int:
    """The time from which a fact counts (rule 8)."""
    data = event["data"]
    if event["type"] == "pack.purchased":
        had_from = data["paid_at"]
    elif event["type"] == "pack.assigned":
        had_from = data.get("assigned_at") or event["time"]
    else:
        return ms(event["time"])
    return min(ms(had_from), max(ms(data.get("starts_at") or had_from), billing_start_ms))


def figures_of(played: Play) -> dict[str, Any]:
    """All final figures of a log, by app: what does not depend on the order of arrival.

    Apps of which all facts are void are left out.
    """
    figures: dict[str, Any] = {}
    for appid, account in played.state.accounts.items():
        found = _figures(account, [entry for entry in played.entries if entry.appid == appid])
        if found != _figures(Account.new(appid, played.rules), []):
            figures[appid] = found
    return figures


def _figures(account: Account, entries: list[Entry]) -> dict[str, Any]:
    return {
        "trial": account.trials,
        "owner": (account.entity_type, account.name, account.category, account.exempt),
        "packs": sorted(_pack_figures(account)),
        "terms": sorted(_terms(pack) for each in account.capabilities.values() for pack in each.packs),
        "sums": _sums(entries),
    }


def _pack_figures(account: Account) -> list[tuple[object, ...]]:
    found: list[tuple[object, ...]] = []
    for capability, use in account.capabilities.items():
        found += ((capability, pack.pack_id, "held", pack.remaining, 0) for pack in (*use.open, *use.spent))
        found += (
            (capability, closed.pack.pack_id, _status(closed.status), closed.refunded, closed.lapsed)
            for closed in use.closed
        )
    return found


def _terms(pack: Pack) -> tuple[object, ...]:
    """The terms of a pack, and what was used of it before the log."""
    dates = (pack.paid_at_ms, pack.starts_at_ms, pack.expires_at_ms)
    return pack.pack_id, pack.calls, pack.price_micro_yuan, *dates, pack.used_before, pack.order_id


def _status(status: str) -> str:
    """An exhausted pack is the same whether it was used up before its expiry or by a settlement after it."""
    return "held" if status == "exhausted" else status


def _sums(entries: list[Entry]) -> dict[object, tuple[int, int]]:
    """Calls by kind, capability, pack, Shanghai day and store, and the money of packs."""
    calls: defaultdict[object, int] = defaultdict(int)
    money: defaultdict[object, int] = defaultdict(int)
    for entry in entries:
        if entry.kind in {"charge", "trial_charge", "free", "exempt", "uncovered"}:
            day = (entry.time_ms + 8 * 3_600_000) // 86_400_000
            place = (entry.scene, entry.store, entry.env)
            calls[entry.kind, entry.capability, entry.pack_id, day, *place] += entry.calls
        if entry.kind in {"charge", "lapse", "refund"}:
            calls[entry.kind, entry.capability, entry.pack_id] += entry.calls
            money[entry.kind, entry.capability, entry.pack_id] += entry.amount_micro_yuan
    keys = {key for key, number in calls.items() if number} | {key for key, number in money.items() if number}
    return {key: (calls[key], money[key]) for key in sorted(keys, key=str)}
