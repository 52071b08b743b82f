"""Settling: the application of a settlement to its app (rule 8).

All moves of an event are applied together or none is. Its entries come in an order in which every running
balance is right: first what is taken back, then what is taken instead, then what lapses of it.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Final, Literal

from metering import alert_rules, use
from metering.accounts import NEVER_MS, Account, CapabilityAccount
from metering.events import Capability, Move, OwnerTerms, Settled
from metering.following import is_following, only_follows
from metering.journal import Journal, details_json
from metering.lateness import end_of_trial, newest_call_ms, remain_unsettled
from metering.ledger import EntryKind
from metering.milestones import schedule
from metering.registration import owner_details, set_owner
from metering.rules import Rules, rules_of_decisions
from metering.settled_packs import SettledPacks
from metering.settlement_changes import PACK, PackChange, SettlementChanges, within
from metering.times import DAY_MS, shanghai_day, shanghai_midnight, to_ms
from metering.uncovered import UncoveredCall, UncoveredCalls

SettlementRefusal = Literal["overtaken", "does_not_fit", "other_rules", "not_following"]
_KINDS: Final[dict[str, EntryKind]] = {
    "trial": "trial_charge",
    "uncovered": "uncovered",
    "exempt": "exempt",
    "corrected": "corrected",
    "followed": "followed",
}
_CHARGED: Final = frozenset({"charge", "trial_charge"})

Remembered = Mapping[Capability, UncoveredCalls]


def settle(account: Account, event: Settled, held: Remembered, journal: Journal, rules: Rules) -> Remembered:
    """Apply a settlement to its app, or refuse it with a reason.

    Returns:
        The remembered uncovered calls, of which `held` is those before, without those that were moved.
    """
    settlement = _Settlement(account, event, journal, rules)
    refusal = settlement.refusal()
    if is_following(event.data) and refusal != "overtaken":
        # Also one that is refused, so that those that come after it in the log follow it whatever the rules.
        account.followed_id = event.id
    if refusal is not None:
        _refuse(event, account.clock_ms, refusal, journal)
        return held
    settlement.apply()
    settlement.end()
    return {capability: settlement.still_uncovered(capability, calls) for capability, calls in held.items()}


def refuse_unknown(event: Settled, time_ms: int, journal: Journal) -> None:
    """Refuse a settlement of an app that has no account."""
    _refuse(event, time_ms, "does_not_fit", journal)


def _refuse(event: Settled, time_ms: int, refusal: SettlementRefusal, journal: Journal) -> None:
    journal.add(
        "settlement_refused",
        time_ms,
        event.subject,
        event_id=event.id,
        reason=refusal,
        source=event.source,
        details=_details(event),
    )


def _details(event: Settled) -> str:
    data = event.data
    terms = len(data.packs) + len(data.removed) + (data.owner is not None)
    # Left out where there is none, so that a log gives the ledger that it gave before.
    return details_json(
        **({"terms": terms} if terms else {}),
        **({"follows": event.id} if is_following(data) else {}),
        after=data.after,
        as_of=data.as_of,
        from_ms=to_ms(data.from_),
        moves=len(data.moves),
        part=data.part,
        parts=data.parts,
        refunds=len(data.refunded) + len(data.not_refunded),
    )


class _Settlement:
    """One event of a settlement, and the account that it is for."""

    def __init__(self, account: Account, event: Settled, journal: Journal, rules: Rules) -> None:
        self._account = account
        self._event = event
        self._data = event.data
        self._journal = journal
        self._rules = rules
        self._changes = SettlementChanges(account, event.data, rules)
        self._packs = SettledPacks(account, event, journal)

    def refusal(self) -> SettlementRefusal | None:
        """The reason that the settlement cannot be applied; nothing is changed."""
        account, data = self._account, self._data
        if is_following(data):
            return self._refusal_to_follow()
        if data.rules and data.rules != rules_of_decisions(self._rules):
            return "other_rules"
        expected = (data.as_of, data.after, data.part - 1)
        in_turn = account.settling == expected if data.part > 1 else account.settled_offset == data.after
        if not in_turn or data.as_of >= self._journal.offset or data.part > data.parts:
            return "overtaken"
        from_uncovered = any(move.from_ == "uncovered" for move in data.moves)
        if from_uncovered and account.taken_over_offset > data.as_of:
            # These calls may have been taken over since.
            return "overtaken"
        return None if self._changes.fit() else "does_not_fit"

    def _refusal_to_follow(self) -> SettlementRefusal | None:
        """The reason that one which follows the platform's count cannot be applied.

        It may come after any other settlement, as it says only what the platform counts.
        """
        if self._data.follows != self._account.followed_id:
            return "overtaken"
        if not self._account.follows:
            return "not_following"
        return None if only_follows(self._data) and self._changes.fit() else "does_not_fit"

    def apply(self) -> None:
        """Write the entries and change the account."""
        self._journal.add(
            "settlement",
            self._account.clock_ms,
            self._event.subject,
            event_id=self._event.id,
            source=self._event.source,
            details=_details(self._event),
        )
        changes = self._changes.packs.values()
        for change in changes:
            lapsed, refunded = self._ends(change)
            self._packs.refund(change, min(refunded, change.refunded))
            self._packs.lapse(change, min(lapsed, change.lapsed))
        for move in self._data.moves:
            self._book(move, move.from_, -move.calls, into=False)
        for change in changes:
            if change.is_replaced:
                self._packs.take_away(change)
        for terms in self._data.packs:
            self._packs.add_bought(self._changes.bought[terms.pack.pack_id], terms)
        for move in self._data.moves:
            self._book(move, move.to, move.calls, into=True)
        for change in (*changes, *self._changes.bought.values()):
            if change.is_replaced:
                continue
            lapsed, refunded = self._ends(change)
            self._packs.refund(change, refunded, tell=change.is_flipped)
            self._packs.lapse(change, lapsed)
            self._packs.place(change)
        if self._data.owner is not None:
            self._set_owner(self._data.owner)

    def end(self) -> None:
        """Look once at what follows from the balance, and note what was settled."""
        account, data = self._account, self._data
        if self._moved:
            _recount(account)
            schedule(account, self._rules)
            for capability in account.capabilities:
                alert_rules.review(account, capability, self._journal, self._rules)
            # What came since was decided on the balance before: it has to be looked at, too.
            account.unsettled_offset = self._journal.offset
        followed_ms = max((to_ms(move.time) for move in data.moves if is_following(data)), default=-1)
        for capability_account in account.capabilities.values():
            # Before that time its quota holds other calls than after it.
            capability_account.turn(followed_ms)
            # So many calls are uncovered, but perhaps not these.
            capability_account.unremembered_ms = max(
                capability_account.unremembered_ms, capability_account.newest_call_ms
            )
        account.settled_offset = self._journal.offset
        last = data.part == data.parts
        account.settling = () if last else (data.as_of, data.after, data.part)
        if last and account.unsettled_offset <= data.as_of:
            account.unsettled_ms = NEVER_MS
        elif self._moved or account.unsettled_ms < NEVER_MS:
            # A correction may concern an earlier time than it was marked with.
            account.unsettled_ms = min(account.unsettled_ms, shanghai_midnight(to_ms(data.from_)))
            remain_unsettled(account, to_ms(data.from_), self._event.id, self._event.source, self._journal)

    def still_uncovered(self, capability: Capability, calls: UncoveredCalls) -> UncoveredCalls:
        """The remembered uncovered calls without those that were moved, the earliest of each group first."""
        gone: Counter[tuple[int, str, str, str]] = Counter()
        for move in self._data.moves:
            if move.capability == capability and move.from_ == "uncovered":
                gone[_group(to_ms(move.time), move)] += move.calls
        if not gone:
            return calls
        taken = []
        for call in sorted(calls.all(), key=lambda each: (each.time_ms, each.offset)):
            group = _group(call.time_ms, call)
            if gone[group] > 0:
                gone[group] -= 1
                taken.append(call)
        return calls.without(taken) if taken else calls

    @property
    def _moved(self) -> bool:
        data = self._data
        return bool(
            data.moves or data.refunded or data.not_refunded or data.packs or data.removed or data.owner
        )

    def _ends(self, change: PackChange) -> tuple[int, int]:
        return change.ends(self._account.clock_ms, self._rules)

    def _book(self, move: Move, quota: str, calls: int, *, into: bool) -> None:
        """Write one entry of a move's pair: of the quota `into` which it is, or of the other one."""
        account, capability = self._account, move.capability
        capability_account = account.capabilities[capability]
        time_ms, amount, pack_id, left = to_ms(move.time), 0, "", 0
        kind = _KINDS.get(quota, "charge")
        if kind == "charge":
            pack_id = quota.removeprefix(PACK)
            change = self._changes.after(pack_id) if into else self._changes.packs[pack_id]
            pack, used = change.pack, change.used
            change.used += calls
            time_ms, pack_id, left = within(pack, time_ms), pack.pack_id, change.left
            amount = pack.cost(change.used) - pack.cost(used)
        elif kind == "trial_charge":
            left = self._book_trial(capability_account, calls)
        elif kind == "uncovered" and calls > 0:
            day_end_ms = shanghai_midnight(time_ms) + DAY_MS - 1
            capability_account.unremembered_ms = max(capability_account.unremembered_ms, day_end_ms)
        if kind in _CHARGED:
            use.count_moved_calls(account, capability, shanghai_day(time_ms), calls)
        self._journal.add(
            kind,
            time_ms,
            account.appid,
            capability,
            event_id=self._event.id,
            calls=calls,
            amount_micro_yuan=amount,
            pack_id=pack_id,
            remaining=left,
            reason="settled",
            scene=move.scene,
            store=move.store,
            env=move.env,
            source=self._event.source,
            details=_pair(move),
        )

    def _book_trial(self, capability_account: CapabilityAccount, calls: int) -> int:
        account = self._account
        if self._rules.trial_scope == "account":
            account.trial -= calls
            if account.trial == 0:
                end_of_trial(account, account.capabilities.values(), 0)
            return account.trial
        capability_account.trial -= calls
        if capability_account.trial == 0:
            end_of_trial(account, (capability_account,), 0)
        return capability_account.trial

    def _set_owner(self, owner: OwnerTerms) -> None:
        """Set the owner that should have held."""
        account = self._account
        set_owner(account, owner, to_ms(owner.time) if owner.of else -1, owner.of)
        # A call of before the owner's time is late as well, though there was none yet.
        for capability_account in account.capabilities.values():
            capability_account.turn(max(newest_call_ms(account), account.registered_ms))
        self._journal.add(
            "registration",
            to_ms(owner.time),
            account.appid,
            event_id=self._event.id,
            reason="exempt" if account.exempt else "charged",
            source=self._event.source,
            details=owner_details(owner, of=owner.of),
        )


def _recount(account: Account) -> None:
    """Count the calls and the size of the active packs again."""
    for capability_account in account.capabilities.values():
        active = [pack for pack in capability_account.open if pack.covers(account.clock_ms)]
        capability_account.active_size = sum(pack.calls for pack in active)
        capability_account.active_remaining = sum(pack.remaining for pack in active)


def _group(time_ms: int, at: Move | UncoveredCall) -> tuple[int, str, str, str]:
    return shanghai_day(time_ms), at.scene, at.store, at.env


def _pair(move: Move) -> str:
    return details_json(**{"from": move.from_, "to": move.to})
