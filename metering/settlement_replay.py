"""The facts of one app in the order of their effective time, and what its calls are taken from then.

One loop over the calls, which may be millions: between two changes of the quotas a call costs a lookup.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Final, NamedTuple

from metering.events import CAPABILITIES, Capability
from metering.exemption import is_exempt
from metering.following import FOLLOWED
from metering.purchases import objection_to_refund
from metering.rules import Rules
from metering.settlement_changes import PACK
from metering.settlement_facts import (
    AccountFacts,
    CallFact,
    FollowedFact,
    LedgerSums,
    PurchaseFact,
    RefundFact,
)
from metering.times import DAY_MS, shanghai_day, shanghai_midnight

UNLIMITED_CALLS: Final = 2**62

Place = tuple[str, str, str]


class _Quota:
    """A quota with the calls left in it, of as many as can be taken from it."""

    __slots__ = ("left", "name", "size")

    def __init__(self, name: str, left: int, size: int = UNLIMITED_CALLS) -> None:
        self.name = name
        self.left = left
        self.size = size


class _PackQuota(_Quota):
    """A pack."""

    __slots__ = ("refunded_ms", "terms")

    def __init__(self, terms: PurchaseFact, used: int) -> None:
        size = terms.pack.calls - (terms.used_before or 0)
        super().__init__(PACK + terms.pack.pack_id, terms.pack.calls - used, size)
        self.terms = terms
        self.refunded_ms = -1

    def was_left_before(self, next_terms: PurchaseFact) -> bool:
        """Return whether it was given back untouched before it was assigned again (rule 16)."""
        pack = next_terms.pack
        untouched = self.left == self.terms.pack.calls
        return pack.is_assigned and untouched and 0 <= self.refunded_ms <= pack.paid_at_ms


class _Turn:
    """The quota whose turn it is for a capability, and its calls of the day by place: number, first."""

    __slots__ = ("counts", "quota")

    def __init__(self) -> None:
        self.quota = _Quota("", UNLIMITED_CALLS)
        self.counts: dict[Place, list[int]] = {}


class DayGroup(NamedTuple):
    """The calls of a capability, day and place by quota: their number and the time of the first."""

    capability: Capability
    day: int
    place: Place
    quotas: Mapping[str, tuple[int, int]]


class EffectiveOrder:
    """One app as its facts come in the order of their effective time.

    Attributes:
        refunded: the packs that are refunded after all of them, with the times of that.
        followed: what was booked to follow the platform's count, by capability and day: of each quota the
            calls and a time of one. Complete after all groups.
    """

    def __init__(self, ledger: LedgerSums, facts: AccountFacts, rules: Rules) -> None:
        self.refunded: dict[str, int] = {}
        self.followed: defaultdict[tuple[Capability, int], dict[str, tuple[int, int]]] = defaultdict(dict)
        self._rules = rules
        self._exempt = False
        trials = {
            name: _Quota("trial", ledger.trial_left.get(name, 0), ledger.trial_sizes.get(name, 0))
            for name in ("", *CAPABILITIES)
        }
        self._trials = {name: (trials[""], trials[name]) for name in CAPABILITIES}
        self._packs: dict[Capability, list[_PackQuota]] = {name: [] for name in CAPABILITIES}
        self._by_id: dict[str, _PackQuota] = {}
        self._waiting: dict[str, list[RefundFact]] = {}
        self._assigned_ms = {
            pack_id: terms.pack.paid_at_ms
            for pack_id, terms in ledger.packs.items()
            if terms.pack.is_assigned
        }
        self._charged = {
            pack_id: used - ledger.opened.get(pack_id, 0) for pack_id, used in ledger.used.items()
        }
        self._turns = {name: _Turn() for name in CAPABILITIES}
        self._taken: dict[tuple[Capability, str], dict[Place, list[int]]] = {}
        self._day = 0
        self._changes = _in_order(facts, rules, ledger.from_ms)
        self._next = next(self._changes, None)

    @property
    def purchases(self) -> Mapping[str, PurchaseFact]:
        """The purchases that hold, by pack id: of several with one id the first, or the last assignment."""
        return {pack_id: quota.terms for pack_id, quota in self._by_id.items()}

    def groups(self, calls: Iterable[CallFact]) -> Iterator[DayGroup]:
        """Take every call from its quota; groups come by day."""
        turns, until_ms = self._turns, -1
        for time_ms, capability, scene, store, env, _ in calls:
            if time_ms >= until_ms:
                if time_ms >= shanghai_midnight_after(self._day):
                    yield from self._end_day()
                    self._day = shanghai_day(time_ms)
                until_ms = self._advance(time_ms)
            turn = turns[capability]
            place = (scene, store, env)
            taken = turn.counts.get(place)
            if taken is None:
                turn.counts[place] = [1, time_ms]
            else:
                taken[0] += 1
            quota = turn.quota
            quota.left -= 1
            if not quota.left:
                self._take_turns(time_ms)
        yield from self._end_day()
        self._advance(UNLIMITED_CALLS)

    def _advance(self, time_ms: int) -> int:
        """Apply all changes up to a time; return the time of the next one, or of midnight."""
        change = self._next
        while change is not None and change.time_ms <= time_ms:
            self._apply(change)
            change = self._next = next(self._changes, None)
        self._take_turns(time_ms)
        midnight_ms = shanghai_midnight_after(self._day)
        return midnight_ms if change is None else min(midnight_ms, change.time_ms)

    def _apply(self, change: "_Change") -> None:
        fact = change.fact
        if isinstance(fact, bool):
            self._exempt = fact
        elif change.rank == _PURCHASE:
            self._add(fact)  # type: ignore[arg-type] # the rank tells
        elif change.rank == _REFUND:
            self._refund(fact)  # type: ignore[arg-type] # the rank tells
        elif isinstance(fact, FollowedFact):
            self._follow(fact)

    def _add(self, purchase: PurchaseFact) -> None:
        pack_id = purchase.pack.pack_id
        known = self._by_id.get(pack_id)
        if known is not None:
            if not known.was_left_before(purchase):
                return
            self._packs[known.terms.capability].remove(known)
            self.refunded.pop(pack_id, None)
        # Calls of before were taken from the pack as it was assigned last.
        is_other = purchase.pack.is_assigned and (
            self._assigned_ms.get(pack_id, purchase.pack.paid_at_ms) != purchase.pack.paid_at_ms
        )
        charged = 0 if is_other else self._charged.get(pack_id, 0)
        quota = _PackQuota(purchase, charged + purchase.used_before)
        self._by_id[pack_id] = quota
        packs = self._packs[purchase.capability]
        packs.append(quota)
        packs.sort(key=lambda each: each.terms.pack)
        for refund in self._waiting.pop(pack_id, ()):
            self._refund(refund)

    def _refund(self, refund: RefundFact) -> None:
        quota = self._by_id.get(refund.pack_id)
        if quota is None:
            self._waiting.setdefault(refund.pack_id, []).append(refund)
            return
        pack = quota.terms.pack
        if quota.refunded_ms >= 0 or not pack.was_here(refund.time_ms):
            return
        lapsed = refund.time_ms >= pack.lapses_at_ms(self._rules)
        objection = objection_to_refund(pack, refund.time_ms, used=pack.calls - quota.left)
        if refund.by_platform or not (lapsed or objection):
            quota.refunded_ms = refund.time_ms
            self.refunded[refund.pack_id] = refund.time_ms

    def _follow(self, fact: FollowedFact) -> None:
        """Take from a quota what was booked to follow the platform, or give it back, as far as that goes."""
        quota, taken = self._followed_quota(fact), 0
        if quota is not None:
            taken = max(quota.left - quota.size, min(fact.calls, quota.left))
            quota.left -= taken
        of_day = self.followed[fact.capability, shanghai_day(fact.time_ms)]
        for name, calls in (
            (fact.quota, taken),
            ("uncovered", fact.calls - taken),
            (FOLLOWED, -fact.calls),
        ):
            before, _ = of_day.get(name, (0, 0))
            of_day[name] = (before + calls, fact.time_ms)

    def _followed_quota(self, fact: FollowedFact) -> _Quota | None:
        """The quota, if it can be that of calls then."""
        if fact.quota == "trial":
            shared, own = self._trials[fact.capability]
            return shared if self._rules.trial_scope == "account" else own
        quota = self._by_id.get(fact.quota.removeprefix(PACK))
        if quota is None or quota.terms.capability != fact.capability or not _is_open(quota, fact.time_ms):
            return None
        return quota

    def _take_turns(self, time_ms: int) -> None:
        for capability, turn in self._turns.items():
            turn.quota = self._quota_at(capability, time_ms)
            turn.counts = self._taken.setdefault((capability, turn.quota.name), {})

    def _quota_at(self, capability: Capability, time_ms: int) -> _Quota:
        """The quota that a call is taken from (rules 3, 4, 5, 7 and 9)."""
        if time_ms < self._rules.billing_start_ms:
            return _Quota("free", UNLIMITED_CALLS)
        if self._exempt:
            return _Quota("exempt", UNLIMITED_CALLS)
        for quota in chain(self._trials[capability], self._packs[capability]):
            if quota.left > 0 and _is_open(quota, time_ms):
                return quota
        return _Quota("uncovered", UNLIMITED_CALLS)

    def _end_day(self) -> Iterator[DayGroup]:
        places: dict[tuple[Capability, Place], dict[str, tuple[int, int]]] = {}
        for (capability, name), counts in self._taken.items():
            for place, (number, first_ms) in counts.items():
                if name != "free":
                    places.setdefault((capability, place), {})[name] = (number, first_ms)
        self._taken = {}
        for (capability, place), quotas in places.items():
            yield DayGroup(capability, self._day, place, quotas)


_REGISTRATION, _PURCHASE, _REFUND, _TIME, _FOLLOWED = range(5)
"""The ranks of changes at one millisecond; calls come after them."""


class _Change(NamedTuple):
    """A fact, or a time at which the turns may change, by its effective time."""

    time_ms: int
    rank: int
    event_id: str
    fact: bool | PurchaseFact | RefundFact | FollowedFact | None


def _in_order(facts: AccountFacts, rules: Rules, from_ms: int) -> Iterator[_Change]:
    changes = [_Change(rules.billing_start_ms, _TIME, "", None)]
    changes += (
        _Change(each.time_ms, _REGISTRATION, each.event_id, is_exempt(each.entity_type, each.category))
        for each in facts.registrations
    )
    refunds = chain(facts.refunds, _leaving(facts))
    changes += (_Change(each.time_ms, _REFUND, each.event_id, each) for each in refunds)
    # What was followed before is in the sums of the quotas.
    changes += (
        _Change(each.time_ms, _FOLLOWED, each.quota, each)
        for each in facts.followed
        if each.time_ms >= from_ms
    )
    for each in facts.purchases:
        pack = each.pack
        changes.append(_Change(each.effective_ms, _PURCHASE, each.event_id, each))
        changes.append(_Change(pack.starts_at_ms, _TIME, "", None))
        changes.append(_Change(pack.expires_at_ms, _TIME, "", None))
    return iter(sorted(changes, key=lambda change: change[:3]))


def _leaving(facts: AccountFacts) -> Iterator[RefundFact]:
    """The refunds by which packs leave with their app."""
    migration = facts.migration
    if migration is not None:
        for pack in (each.pack for each in facts.purchases):
            if pack.leaves_at(migration.time_ms):
                yield migration._replace(pack_id=pack.pack_id)


def shanghai_midnight_after(day: int) -> int:
    """The first millisecond after a Shanghai day."""
    return shanghai_midnight(day * DAY_MS) + DAY_MS


def _is_open(quota: _Quota, time_ms: int) -> bool:
    return not isinstance(quota, _PackQuota) or (quota.refunded_ms < 0 and quota.terms.pack.covers(time_ms))
