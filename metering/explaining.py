"""Explaining: what one record of the log did and why, from the state before it.

The decision is not told again but made again, by `metering.partition.meter`; here is only added what it was
made from: the balance, and the packs in the order in which the rules look at them.
"""

from collections.abc import Callable, Sequence
from typing import Final, Literal, NamedTuple

from msgspec import Struct

from metering.accounts import Account
from metering.alerts import sentence_of
from metering.duplicates import digest_of
from metering.events import (
    AnyEvent,
    Capability,
    ClockTicked,
    Rejection,
)
from metering.ledger import Entry
from metering.lines import Lines
from metering.packs import Pack
from metering.partition import PartitionState, Record, meter
from metering.reading import read
from metering.rules import Rules
from metering.time_passing import advance
from metering.times import HOUR_MS, format_time, to_ms

Verdict = Literal["taken", "not_needed", "not_started", "expired", "exhausted", "lapsed", "refunded"]
"""What became of a pack when a call looked for one: it took the call; an earlier quota did; the call was
before its start or after its expiry; or it was valid then, but had ended before the call was recorded."""

_SIDE_EFFECTS: Final = frozenset({"trial_grant", "lapse", "alert", "recovery"})
_CHARGEABLE: Final = frozenset({"charge", "trial_charge", "uncovered"})


class ConsideredPack(Struct, frozen=True):
    """One pack, as it was when the call looked for one."""

    pack_id: str
    calls: int
    remaining: int
    starts_at_ms: int
    expires_at_ms: int
    verdict: Verdict


class Balance(Struct, frozen=True):
    """What an app has left for one capability, in calls.

    Attributes:
        calls_left: trial quota and active packs together.
        trial: of the trial quota.
        packs: of every pack that has not ended, by id, in burn order.
    """

    calls_left: int
    trial: int
    packs: dict[str, int]


class Explanation(Struct, frozen=True):
    """What one record did, and why.

    Attributes:
        partition, offset: its place in the log.
        recorded_at_ms: when it arrived at the broker.
        appid, event_id, capability: of the event; empty where the record is none, or has none.
        time_ms: the event's own time; that of the record where it is no event.
        clock_ms: up to when the app's time had been worked through.
        decision: the kind of its ledger line.
        reason: the reason in that line.
        why: the decision in a sentence.
        pack_id: the pack concerned.
        seen_at_ms: of a duplicate, when its id was seen first, on the app's clock.
        considered: the packs that a call looked at, in their order.
        alerts: what it made alert or recover, a sentence each.
        before, after: the balance; None where the record concerns none.
        entries: all its lines.
    """

    partition: int
    offset: int
    recorded_at_ms: int
    appid: str
    event_id: str
    capability: str
    time_ms: int
    clock_ms: int
    decision: str
    reason: str
    why: str
    pack_id: str
    seen_at_ms: int | None
    considered: list[ConsideredPack]
    alerts: list[str]
    before: Balance | None
    after: Balance | None
    entries: list[Entry]


class _Seen(NamedTuple):
    """What a sentence is made from: the decision's line, the account before it, and what came with it."""

    entry: Entry
    account: Account
    rules: Rules
    seen_at_ms: int | None
    taken_over: int


def explain(state: PartitionState, record: Record, rules: Rules) -> Explanation:
    """Explain a record, given the state of its partition before it.

    Raises:
        OffsetGapError: the state is not the one before the record.
    """
    metered = meter(state, [record], rules)
    event = read(record)
    if isinstance(event, Rejection | ClockTicked):
        return _explain_what_is_no_apps(state, record, event, metered.entries)
    appid, time_ms = event.subject, to_ms(event.time)
    entry = next(entry for entry in metered.entries if _is_outcome(entry, event))
    before = _account_before(state, appid, time_ms, rules)
    after = metered.state.accounts.get(appid, before)
    capability = _capability(entry)
    digest = digest_of(appid, event.id)
    seen = state.ids.newest_sightings([digest]).get(digest) if entry.kind == "duplicate" else None
    taken_over = sum(line.calls == 1 and line.reason == "taken_over" for line in metered.entries)
    seen_at_ms = seen.seen_at_ms if seen else None
    return Explanation(
        state.partition,
        record.offset,
        entry.recorded_at_ms,
        appid,
        event.id,
        entry.capability,
        time_ms,
        after.clock_ms,
        entry.kind,
        entry.reason,
        _WHY[entry.kind](_Seen(entry, before, rules, seen_at_ms, taken_over)),
        entry.pack_id,
        seen_at_ms,
        considered(before, capability, entry) if capability and entry.kind in _CHARGEABLE else [],
        _alerts(metered.entries),
        balance(before, capability) if capability else None,
        balance(after, capability) if capability else None,
        metered.entries,
    )


def considered(account: Account, capability: Capability, entry: Entry) -> list[ConsideredPack]:
    """The packs that a call looks at, in burn order, with what became of each; then those that had ended.

    Args:
        account: as it was when the call was charged, its clock having reached the call.
        capability: of the call.
        entry: the line of the decision.
    """
    use = account.uses[capability]
    found: list[ConsideredPack] = []
    decided = account.trial_of(use) > 0
    for pack in use.open:
        verdict = _verdict(pack, entry.time_ms, decided=decided)
        decided = decided or verdict == "taken"
        found.append(_considered(pack, verdict))
    found += (_considered(pack, "exhausted") for pack in use.spent if pack.covers(entry.time_ms))
    found += (
        _considered(closed.pack, closed.status) for closed in use.closed if closed.pack.covers(entry.time_ms)
    )
    return found


def balance(account: Account, capability: Capability) -> Balance:
    """What an account has left for one capability."""
    use = account.uses[capability]
    trial = account.trial_of(use)
    packs = {pack.pack_id: pack.remaining for pack in sorted((*use.open, *use.spent))}
    return Balance(trial + use.active_remaining, trial, packs)


def _alerts(entries: Sequence[Entry]) -> list[str]:
    return [sentence_of(entry) for entry in entries if entry.kind in {"alert", "recovery"}]


def _is_outcome(entry: Entry, event: AnyEvent) -> bool:
    return entry.event_id == event.id and entry.kind not in _SIDE_EFFECTS and entry.reason != "taken_over"


def _capability(entry: Entry) -> Capability | None:
    return entry.capability if entry.capability in {"quick", "realtime"} else None  # type: ignore[return-value] # a capability, as was just checked


def _account_before(state: PartitionState, appid: str, time_ms: int, rules: Rules) -> Account:
    """The account as the decision finds it: time has passed for it up to the event."""
    known = state.accounts.get(appid)
    account = known.copy() if known else Account.new(appid, rules)
    advance(account, max(time_ms, state.tick_ms, account.clock_ms), Lines(), rules)
    return account


def _explain_what_is_no_apps(
    state: PartitionState, record: Record, event: Rejection | ClockTicked, entries: list[Entry]
) -> Explanation:
    recorded_at_ms = record.recorded_at_ms or state.tick_ms
    rejected = isinstance(event, Rejection)
    return Explanation(
        partition=state.partition,
        offset=record.offset,
        recorded_at_ms=recorded_at_ms,
        appid="",
        event_id="" if isinstance(event, Rejection) else event.id,
        capability="",
        time_ms=recorded_at_ms if isinstance(event, Rejection) else to_ms(event.time),
        clock_ms=state.tick_ms,
        decision="rejection" if rejected else "tick",
        reason=event.reason if isinstance(event, Rejection) else "",
        why=f"The record is no event. {event.sentence}" if isinstance(event, Rejection) else "Time passed.",
        pack_id="",
        seen_at_ms=None,
        considered=[],
        alerts=_alerts(entries),
        before=None,
        after=None,
        entries=entries,
    )


def _verdict(pack: Pack, time_ms: int, *, decided: bool) -> Verdict:
    if time_ms < pack.starts_at_ms:
        return "not_started"
    if time_ms >= pack.expires_at_ms:
        return "expired"
    return "not_needed" if decided else "taken"


def _considered(pack: Pack, verdict: Verdict) -> ConsideredPack:
    return ConsideredPack(
        pack.pack_id,
        pack.calls,
        pack.remaining,
        pack.starts_at_ms,
        pack.expires_at_ms,
        verdict,
    )


_UNCOVERED: Final = {
    "no_pack": "no pack was valid at its time",
    "exhausted": "the packs that were valid at its time held no calls any more",
    "too_late": "the pack that was valid at its time had lapsed when it arrived",
}

_REFUSALS: Final = {
    "known_pack": "a pack of that id was bought before",
    "too_many_packs": "the account holds as many packs as it can",
    "unknown_pack": "the app never bought that pack",
    "already_refunded": "the pack was refunded before",
    "lapsed": "the pack has lapsed",
    "used": "calls of the pack have been used",
    "after_7_days": "it was paid more than 7 days before",
}


def _why_duplicate(seen: _Seen) -> str:
    hours = seen.rules.duplicate_window_ms / HOUR_MS
    first = f" at {format_time(seen.seen_at_ms)}" if seen.seen_at_ms is not None else ""
    return f"Its id was seen{first}, less than {hours:g} h before: it was counted then, and only then."


def _why_exempt(seen: _Seen) -> str:
    account = seen.account
    owner = f"{account.entity_type}{f', {account.category}' if account.category else ''}"
    return f"The app is exempt ({owner}): its calls are counted and never charged."


def _why_purchase(seen: _Seen) -> str:
    over = f" and took over {seen.taken_over:,} uncovered calls" if seen.taken_over else ""
    return f"Pack {seen.entry.pack_id} of {seen.entry.calls:,} calls was added{over}."


def _why_refused(seen: _Seen) -> str:
    what = seen.entry.kind.removesuffix("_refused")
    return f"The {what} of pack {seen.entry.pack_id} was refused: {_REFUSALS[seen.entry.reason]}."


def _why_registration(seen: _Seen) -> str:
    how = "exempt" if seen.entry.reason == "exempt" else "charged"
    return f"The app's owner was registered; its calls are {how}."


_WHY: Final[dict[str, Callable[[_Seen], str]]] = {
    "charge": lambda seen: (
        f"Pack {seen.entry.pack_id} took the call: of the packs that were valid at its time and held calls, "
        f"it expires first."
    ),
    "trial_charge": lambda seen: (
        f"The trial quota took the call, before any pack; it holds {seen.entry.remaining:,} more."
    ),
    "free": lambda seen: (
        f"The call was before billing began ({format_time(seen.rules.billing_start_ms)}): it is free."
    ),
    "exempt": _why_exempt,
    "uncovered": lambda seen: (
        f"Nothing could cover the call: the trial quota is used up, and {_UNCOVERED[seen.entry.reason]}."
    ),
    "denied": lambda seen: f"The user refused (errno {seen.entry.errno}): counted, never charged.",
    "failed": lambda seen: f"The component failed (errno {seen.entry.errno}): counted, never charged.",
    "duplicate": _why_duplicate,
    "purchase": _why_purchase,
    "purchase_refused": _why_refused,
    "refund": lambda seen: (
        f"Pack {seen.entry.pack_id} was given back: it was untouched and paid within 7 days."
    ),
    "refund_refused": _why_refused,
    "registration": _why_registration,
    "alerting_set": lambda _seen: "The app's alert thresholds were set.",
    "usage_observed": lambda _seen: "What the platform itself counted was noted.",
}
"""A sentence for each kind of line that is the outcome of an event."""
