"""The facts and sums of apps, collected from ledger entries, to work out settlements from (rule 8).

Calls are kept as numbers, 24 bytes each.
"""

from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec
import numpy as np
from msgspec.structs import replace

from metering.accounts import Account
from metering.corrected_facts import earliest_change_ms
from metering.events import CAPABILITIES, Capability, ChangedFields, PriceBasis
from metering.following import FOLLOWED, followed_quota
from metering.ledger import CALL_KINDS, MOVED_REASONS, Entry
from metering.packs import Pack
from metering.remembered_ids import digest_of
from metering.rules import Rules
from metering.settlement_changes import PACK
from metering.settlement_facts import (
    AccountFacts,
    CallFact,
    CorrectionFact,
    FollowedFact,
    LedgerGroup,
    LedgerSums,
    PurchaseFact,
    RefundFact,
    RegistrationFact,
)
from metering.times import DAY_MS, shanghai_day, shanghai_midnight

_QUOTAS: Final = {
    "trial_charge": "trial",
    "uncovered": "uncovered",
    "exempt": "exempt",
    "corrected": "corrected",
    "followed": FOLLOWED,
}
_REFUNDS: Final = frozenset({"refund", "refund_refused", "refund_waiting"})
_HEAD_BYTES: Final = 8

Place = tuple[Capability, str, str, str]


def quota_of(kind: str, pack_id: str) -> str | None:
    """The quota that an entry of a call is about; None for one that no settlement moves."""
    return PACK + pack_id if kind == "charge" else _QUOTAS.get(kind)


def capability_of(entry: Entry) -> Capability:
    """The capability of an entry that has one."""
    return CAPABILITIES[CAPABILITIES.index(entry.capability)]


def purchase_fact(capability: Capability, pack_id: str, event_id: str, details: str) -> PurchaseFact:
    """The fact of an entry of kind `purchase` or `purchase_refused`."""
    terms = msgspec.json.decode(details, type=_Terms)
    pack = Pack(
        expires_at_ms=terms.expires_at_ms,
        starts_at_ms=terms.starts_at_ms,
        pack_id=pack_id,
        calls=terms.calls,
        price_micro_yuan=terms.price_micro_yuan,
        validity_days=terms.validity_days,
        paid_at_ms=terms.paid_at_ms if terms.assigned_at_ms is None else terms.assigned_at_ms,
        order_id=terms.order_id,
        remaining=terms.calls,
        is_assigned=terms.assigned_at_ms is not None,
    )
    paid_at_ms = None if terms.assigned_at_ms is None else terms.paid_at_ms
    return PurchaseFact(
        capability, pack, event_id, terms.price_basis, terms.used_before, agency_paid_ms=paid_at_ms
    )


class _Terms(msgspec.Struct):
    calls: int
    validity_days: int
    price_micro_yuan: int
    paid_at_ms: int
    starts_at_ms: int
    expires_at_ms: int
    order_id: str = ""
    price_basis: PriceBasis = "paid"
    assigned_at_ms: int | None = None
    used_before: int = 0


class _Owner(msgspec.Struct):
    """`of` is the registration that a settlement found to hold; None in an entry of another's."""

    entity_type: str
    name: str = ""
    category: str = ""
    of: str | None = None


class _Said(msgspec.Struct):
    """Details of an entry of a correction."""

    event_id: str
    set: ChangedFields | None = None


class _Moved(msgspec.Struct):
    """Details of an entry of a settlement's move."""

    from_: str = msgspec.field(name="from")
    to: str


class AccountLedger:
    """The content of those entries of one app that are no calls, taken up in the order of the log.

    Attributes:
        facts: its facts.
        packs: the purchases of the packs that there are now, by id.
        opened: calls used before this log as it is now, by capability (empty for the shared trial quota)
            and pack.
        refunded: the packs that are refunded now, with the times of that.
        granted: the sizes of the trial quotas, by capability.
        owner: the registration that holds now.
    """

    def __init__(self) -> None:
        self.facts = AccountFacts()
        self.packs: dict[str, PurchaseFact] = {}
        self.opened: Counter[tuple[str, str]] = Counter()
        self.granted: dict[str, int] = {}
        self.owner: RegistrationFact | None = None
        self._given_back: Counter[str] = Counter()
        self._given_back_ms: dict[str, int] = {}
        self._taken_back: set[str] = set()
        self._corrected: set[str] = set()
        self._told: Counter[str] = Counter()
        self._observed: set[str] = set()

    def add(self, entry: Entry) -> None:
        """Take up an entry."""
        if entry.kind == "purchase" or (entry.kind == "purchase_refused" and entry.reason == "known_pack"):
            self._add_purchase(entry)
        elif entry.kind in _REFUNDS:
            self._add_refund(entry)
        elif entry.kind == "registration":
            self._add_registration(entry)
        elif entry.kind == "opening":
            self.opened[entry.capability, entry.pack_id] += entry.calls
            if entry.pack_id and entry.reason != "settled":
                self._add_opening(entry)
        elif entry.kind == "trial_grant":
            self.granted[entry.capability] = entry.calls
        elif entry.kind == "correction":
            said = msgspec.json.decode(entry.details, type=_Said)
            self._corrected.add(said.event_id)
            self.facts.corrections.append(
                CorrectionFact(entry.time_ms, entry.event_id, said.event_id, said.set, entry.offset)
            )
        elif entry.kind == "migration":
            self.facts.migration = RefundFact(entry.time_ms, "", entry.event_id, by_platform=True)
        elif entry.kind == "followed":
            said_of = msgspec.json.decode(entry.details, type=_Moved)
            quota = followed_quota(said_of.from_, said_of.to) or ""
            self.facts.followed.append(FollowedFact(entry.time_ms, capability_of(entry), quota, -entry.calls))

    @property
    def refunded(self) -> dict[str, int]:
        """The refunded packs. One that the platform took back may have held nothing any more."""
        held = {pack_id for pack_id, calls in self._given_back.items() if calls > 0}
        return {pack_id: self._given_back_ms[pack_id] for pack_id in self._taken_back | held}

    def is_corrected(self, event_id: str) -> bool:
        """Return whether a correction names the fact of an event id."""
        return event_id in self._corrected

    @property
    def opened_packs(self) -> Counter[str]:
        """The calls of packs that were used before this log as it is now, by id."""
        opened: Counter[str] = Counter()
        for (_, pack_id), calls in self.opened.items():
            if pack_id:
                opened[pack_id] += calls
        return opened

    @property
    def observed_packs(self) -> dict[str, int]:
        """The calls that were used before this log of the packs that the platform's count opened, by id."""
        return {pack_id: self._told[pack_id] for pack_id in self._observed}

    def _add_opening(self, entry: Entry) -> None:
        """Take up an opening of a pack that an event told."""
        self._told[entry.pack_id] += entry.calls
        if entry.reason == "observed":
            self._observed.add(entry.pack_id)
            return
        purchases = self.facts.purchases
        if purchases and purchases[-1].event_id == entry.event_id:
            purchases[-1] = purchases[-1]._replace(used_before=entry.calls)

    def _add_purchase(self, entry: Entry) -> None:
        fact = purchase_fact(capability_of(entry), entry.pack_id, entry.event_id, entry.details)
        if entry.reason != "settled":
            self.facts.purchases.append(fact)
            self.facts.offsets[entry.event_id] = entry.offset
        if entry.kind == "purchase" and entry.calls > 0:
            self.packs[entry.pack_id] = fact
        elif entry.kind == "purchase":
            del self.packs[entry.pack_id]
            self._taken_back.discard(entry.pack_id)

    def _add_refund(self, entry: Entry) -> None:
        said: dict[str, Any] = msgspec.json.decode(entry.details or "{}")
        if entry.kind == "refund":
            self._given_back[entry.pack_id] += entry.calls
            self._given_back_ms[entry.pack_id] = entry.time_ms
            if said.get("by") == "platform" or said.get("status") == "refunded":
                self._taken_back.add(entry.pack_id)
            elif said.get("status") == "not_refunded":
                self._taken_back.discard(entry.pack_id)
        # Which packs a migration takes along follows from the facts, and from what corrections make of them.
        if entry.reason not in {"settled", "migrated"}:
            self.facts.refunds.append(
                RefundFact(entry.time_ms, entry.pack_id, entry.event_id, said.get("by") == "platform")
            )
            self.facts.offsets[entry.event_id] = entry.offset

    def _add_registration(self, entry: Entry) -> None:
        said = msgspec.json.decode(entry.details, type=_Owner)
        fact = RegistrationFact(entry.time_ms, entry.event_id, said.entity_type, said.name, said.category)
        if said.of is not None:
            self.owner = fact._replace(event_id=said.of) if said.of else None
            return
        self.facts.registrations.append(fact)
        self.facts.offsets[entry.event_id] = entry.offset
        if self.owner is None or (fact.time_ms, fact.event_id) >= (self.owner.time_ms, self.owner.event_id):
            self.owner = fact


class LedgerFacts:
    """The facts and sums of one app so far.

    `places` numbers the places of calls, and may be shared by apps. Without `by_place`, all calls of a
    capability are at one.
    """

    def __init__(self, places: dict[Place, int], *, by_place: bool = True) -> None:
        self._by_place = by_place
        self._account = AccountLedger()
        self._places = places
        self._days: dict[int, tuple[array[int], array[int], array[int]]] = {}
        """Of each Shanghai day: time within the day and place of each call, the first bytes of its id, and a
        digest of it."""
        self._sums: defaultdict[LedgerGroup, int] = defaultdict(int)
        self._settled_as_of = -1

    def add(self, entry: Entry) -> bool:
        """Take up an entry of the app; tell whether it is a call."""
        if entry.kind == "followed":
            self._add_to_sums(entry, shanghai_day(entry.time_ms))
        if entry.kind in CALL_KINDS or entry.kind == "corrected":
            day = shanghai_day(entry.time_ms)
            self._add_to_sums(entry, day)
            if entry.reason in MOVED_REASONS:
                return False
            self._add_call(entry, day)
            return True
        if entry.kind == "settlement":
            said = msgspec.json.decode(entry.details)
            # One that follows the platform's count takes account of no correction.
            self._settled_as_of = self._settled_as_of if "follows" in said else said["as_of"]
        self._account.add(entry)
        return False

    def sums(self, account: Account, rules: Rules) -> LedgerSums:
        """The sums as of now, for the time from which the app is unsettled."""
        known = self._account
        from_ms = account.unsettled_ms
        changed_ms = earliest_change_ms(self.facts, self._settled_as_of)
        if changed_ms is not None:
            from_ms = min(from_ms, shanghai_midnight(changed_ms))
        day = shanghai_day(from_ms)
        trial = Account.new("", rules).trials
        left = {str(name): size for name, size in trial.items()}
        used = known.opened_packs
        for (capability, pack_id), calls in known.opened.items():
            if not pack_id:
                left[capability] -= calls
        sizes = dict(left)
        for group, calls in self._sums.items():
            if group.day < day and group.quota == "trial":
                left[group.capability if rules.trial_scope == "capability" else ""] -= calls
            elif group.day < day and group.quota.startswith(PACK):
                used[group.quota.removeprefix(PACK)] += calls
        return LedgerSums(
            from_ms,
            left,
            used,
            {group: calls for group, calls in self._sums.items() if group.day >= day},
            known.refunded,
            known.packs,
            known.opened_packs,
            known.observed_packs,
            known.owner,
            sizes,
        )

    @property
    def facts(self) -> AccountFacts:
        """The facts that are no calls, and those calls that corrections name."""
        facts = self._account.facts
        corrections = facts.corrections
        if not self._by_place:
            corrections = [_without_place(each) for each in corrections]
        return replace(facts, corrections=corrections, corrected_calls=list(self._corrected_calls()))

    def calls(self, from_ms: int) -> Iterator[CallFact]:
        """The calls from a time on, by time, then by event id, of which only the first bytes are kept."""
        corrected, places = self._corrected_ids(), list(self._places)
        for day in sorted(self._days):
            if day < shanghai_day(from_ms):
                continue
            calls, heads, digests = self._days[day]
            for number in sorted(range(len(calls)), key=lambda each: (calls[each] >> 32, heads[each])):
                event_id = ""
                if corrected:
                    event_id = corrected.get(digests[number]) or _text_of(heads[number])
                yield _call(day, calls[number], places, event_id)

    def _corrected_ids(self) -> dict[int, str]:
        """The event ids that corrections name, by digest."""
        return {digest_of("", each.fact_id): each.fact_id for each in self._account.facts.corrections}

    def _corrected_calls(self) -> Iterator[CallFact]:
        corrected, places = self._corrected_ids(), list(self._places)
        if not corrected:
            return
        wanted = np.array(list(corrected), np.uint64)
        for day, (calls, _, digests) in self._days.items():
            for number in np.flatnonzero(np.isin(np.frombuffer(digests, np.uint64), wanted)).tolist():
                yield _call(day, calls[number], places, corrected[digests[number]])

    def _place(self, entry: Entry) -> Place:
        capability = capability_of(entry)
        return (
            (capability, entry.scene, entry.store, entry.env) if self._by_place else (capability, "", "", "")
        )

    def _add_to_sums(self, entry: Entry, day: int) -> None:
        quota = quota_of(entry.kind, entry.pack_id)
        if quota is not None:
            capability, *place = self._place(entry)
            self._sums[LedgerGroup(capability, quota, day, *place)] += entry.calls

    def _add_call(self, entry: Entry, day: int) -> None:
        at = self._days.get(day)
        if at is None:
            at = self._days[day] = (array("Q"), array("Q"), array("Q"))
        place = self._place(entry)
        number = self._places.setdefault(place, len(self._places))
        at[0].append((entry.time_ms - shanghai_midnight(entry.time_ms)) << 32 | number)
        head = entry.event_id.encode()[:_HEAD_BYTES].ljust(_HEAD_BYTES, b"\0")
        at[1].append(int.from_bytes(head, "big"))
        at[2].append(digest_of("", entry.event_id))
        if self._account.is_corrected(entry.event_id):
            self._account.facts.offsets[entry.event_id] = entry.offset


def _call(day: int, call: int, places: Sequence[Place], event_id: str) -> CallFact:
    """A call as it was kept."""
    capability, scene, store, env = places[call & 0xFFFFFFFF]
    return CallFact(shanghai_midnight(day * DAY_MS) + (call >> 32), capability, scene, store, env, event_id)


def _without_place(correction: CorrectionFact) -> CorrectionFact:
    """A correction without scene, store and build, where these are not kept apart."""
    if correction.changed is None:
        return correction
    return correction._replace(changed=replace(correction.changed, scene=None, store=None, env=None))


def _text_of(head: int) -> str:
    """The first bytes of an event id; unless they are all of it, they are no other id."""
    text = head.to_bytes(_HEAD_BYTES, "big").rstrip(b"\0")
    return text.decode(errors="replace") + ("\0" if len(text) == _HEAD_BYTES else "")
