"""The explanation of one record of the log: what it did and why, from the state before it.

`metering.partition.meter` makes the decision again; this adds its inputs: the balance, and the packs in
consumption order.
"""

from collections.abc import Sequence
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from metering.accounts import Account
from metering.alert_sentences import sentence_of
from metering.decision_sentences import Decision, note_of_settlement, why
from metering.event_reader import read
from metering.events import AnyEvent, Capability, ClockTicked
from metering.journal import Journal
from metering.ledger import MOVED_REASONS, Entry
from metering.milestones import advance
from metering.packs import Pack
from metering.partition import meter
from metering.partition_state import PartitionState
from metering.records import Record
from metering.rejections import Rejection
from metering.remembered_ids import digest_of
from metering.rules import Rules
from metering.times import to_ms

PackVerdict = Literal["taken", "not_needed", "not_started", "expired", "exhausted", "lapsed", "refunded"]
"""The result for a pack that a call considered: it took the call; an earlier quota did; the call was before
its start or after its expiry; or it was valid then, but had ended before the call was recorded."""

_SIDE_EFFECTS: Final = frozenset({"trial_grant", "lapse", "alert", "recovery", "unsettled"})
_CHARGEABLE: Final = frozenset({"charge", "trial_charge", "uncovered"})


class ConsideredPack(Struct, frozen=True):
    """A pack as it was when a call considered it."""

    pack_id: str
    calls: int
    remaining: int
    starts_at_ms: int
    expires_at_ms: int
    verdict: PackVerdict


class CapabilityBalance(Struct, frozen=True):
    """The calls left of an app for one capability.

    Attributes:
        calls_left: of trial quota and active packs together.
        trial: of the trial quota.
        packs: of every pack that has not ended, by id, in consumption order.
    """

    calls_left: int
    trial: int
    packs: dict[str, int]


class Explanation(Struct, frozen=True):
    """The explanation of one record.

    Attributes:
        partition, offset: its place in the log.
        recorded_at_ms: its arrival at the broker.
        appid, event_id, capability: of the event; empty if the record is no event, or has none.
        time_ms: the event's own time; that of the record if it is no event.
        clock_ms: the app's clock.
        decision: the kind of its ledger entry.
        reason: the reason in that entry.
        why: the decision in a sentence.
        pack_id: the pack.
        seen_at_ms: of a duplicate, the time on the app's clock at which its id was seen first.
        considered: the packs that a call considered, in their order.
        alerts: a sentence for each alert and recovery.
        before, after: the balance; None if the record is about none.
        entries: all its entries.
        settlement: a sentence if the app was unsettled, or is from this record on; otherwise empty.
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
    before: CapabilityBalance | None
    after: CapabilityBalance | None
    entries: list[Entry]
    settlement: str = ""


def explain(state: PartitionState, record: Record, rules: Rules) -> Explanation:
    """Explain a record, given the state of its partition before it.

    Raises:
        OffsetGapError: the state is not the one before the record.
    """
    metered = meter(state, [record], rules)
    event = read(record, state.place)
    if isinstance(event, Rejection | ClockTicked):
        return _explain_without_app(state, record, event, metered.entries)
    if metered.dead_letters:
        (letter,) = metered.dead_letters
        held = _explain_without_app(
            state, record, Rejection("beyond_horizon", letter.sentence), metered.entries
        )
        return replace(held, appid=event.subject, event_id=event.id, why=letter.sentence)
    appid, time_ms = event.subject, to_ms(event.time)
    entry = next(entry for entry in metered.entries if _is_outcome(entry, event))
    before = _account_before(state, appid, time_ms, rules)
    after = metered.state.accounts.get(appid, before)
    capability = _capability(entry)
    digest = digest_of(appid, event.id)
    sighting = state.ids.newest_sightings([digest]).get(digest) if entry.kind == "duplicate" else None
    taken_over = sum(one.calls == 1 and one.reason == "taken_over" for one in metered.entries)
    opened = sum(one.calls for one in metered.entries if one.kind == "opening")
    seen_at_ms = sighting.seen_at_ms if sighting else None
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
        why(Decision(entry, before, rules, seen_at_ms, taken_over, opened)),
        entry.pack_id,
        seen_at_ms,
        considered(before, capability, entry) if capability and entry.kind in _CHARGEABLE else [],
        _alerts(metered.entries),
        balance(before, capability) if capability else None,
        balance(after, capability) if capability else None,
        metered.entries,
        note_of_settlement(before, metered.entries),
    )


def considered(account: Account, capability: Capability, entry: Entry) -> list[ConsideredPack]:
    """The packs that a call considers, in consumption order, then those that had ended, with their verdicts.

    The account is as of the call, its clock included.
    """
    capability_account = account.capabilities[capability]
    found: list[ConsideredPack] = []
    decided = account.trial_left(capability_account) > 0
    for pack in capability_account.open:
        verdict = _verdict(pack, entry.time_ms, decided=decided)
        decided = decided or verdict == "taken"
        found.append(_considered(pack, verdict))
    found += (
        _considered(pack, "exhausted") for pack in capability_account.spent if pack.covers(entry.time_ms)
    )
    found += (
        _considered(closed.pack, closed.status)
        for closed in capability_account.closed
        if closed.pack.covers(entry.time_ms)
    )
    return found


def balance(account: Account, capability: Capability) -> CapabilityBalance:
    """The calls left of an account for one capability."""
    capability_account = account.capabilities[capability]
    packs = {
        pack.pack_id: pack.remaining for pack in sorted((*capability_account.open, *capability_account.spent))
    }
    return CapabilityBalance(
        account.balance(capability_account), account.trial_left(capability_account), packs
    )


def _alerts(entries: Sequence[Entry]) -> list[str]:
    return [sentence_of(entry) for entry in entries if entry.kind in {"alert", "recovery"}]


def _is_outcome(entry: Entry, event: AnyEvent) -> bool:
    is_moved = entry.reason in MOVED_REASONS
    return entry.event_id == event.id and entry.kind not in _SIDE_EFFECTS and not is_moved


def _capability(entry: Entry) -> Capability | None:
    return entry.capability if entry.capability in {"quick", "realtime"} else None  # type: ignore[return-value] # a capability, as was just checked


def _account_before(state: PartitionState, appid: str, time_ms: int, rules: Rules) -> Account:
    """The account before the decision, with its clock advanced to the event."""
    known = state.accounts.get(appid)
    account = known.copy() if known else Account.new(appid, rules)
    advance(account, max(time_ms, state.tick_ms, account.clock_ms), Journal(), rules)
    return account


def _explain_without_app(
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


def _verdict(pack: Pack, time_ms: int, *, decided: bool) -> PackVerdict:
    if time_ms < pack.starts_at_ms:
        return "not_started"
    if time_ms >= pack.expires_at_ms:
        return "expired"
    return "not_needed" if decided else "taken"


def _considered(pack: Pack, verdict: PackVerdict) -> ConsideredPack:
    return ConsideredPack(
        pack.pack_id,
        pack.calls,
        pack.remaining,
        pack.starts_at_ms,
        pack.expires_at_ms,
        verdict,
    )
