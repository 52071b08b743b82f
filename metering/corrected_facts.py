"""The facts of an app as its corrections say that they should have been (rule 15)."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import merge
from typing import Any, Final, NamedTuple

from msgspec.structs import asdict, replace

from metering.events import AssignmentData, Capability, ChangedFields, PurchaseData
from metering.packs import Pack
from metering.rules import Rules
from metering.settlement_facts import (
    AccountFacts,
    CallFact,
    CorrectionFact,
    LedgerSums,
    PurchaseFact,
    RefundFact,
    RegistrationFact,
)
from metering.times import from_ms as moment
from metering.times import shanghai_day, to_ms

CALL_FIELDS: Final = frozenset({"time", "capability", "scene", "store", "env"})
PURCHASE_FIELDS: Final = frozenset(PurchaseData.__struct_fields__)
ASSIGNMENT_FIELDS: Final = frozenset(AssignmentData.__struct_fields__)
REFUND_FIELDS: Final = frozenset({"time", "pack_id", "by"})
REGISTRATION_FIELDS: Final = frozenset({"time", "entity_type", "name", "category"})

Place = tuple[str, str, str]
CorrectedCalls = Mapping[tuple[Capability, int], dict[Place, tuple[int, int]]]
"""By capability and Shanghai day, of each place the calls taken out less those put in, and a time of one."""


class CorrectedFacts(NamedTuple):
    """The facts as they should have been.

    Attributes:
        facts: those that are no calls.
        void: ids of the calls that are not, or not as they were.
        put_in: the latter as they should have been, by time.
        moved: both, as numbers of calls.
    """

    facts: AccountFacts
    void: frozenset[str]
    put_in: Sequence[CallFact]
    moved: CorrectedCalls

    def calls(self, calls: Iterable[CallFact]) -> Iterable[CallFact]:
        """The calls as they should have been, given those of the ledger by time, then by event id."""
        if not self.void:
            return calls
        kept = (call for call in calls if call.event_id not in self.void)
        return merge(kept, self.put_in, key=lambda call: (call.time_ms, call.event_id))


def correct_facts(facts: AccountFacts, ledger: LedgerSums, rules: Rules) -> CorrectedFacts:
    """Apply all corrections that hold; of the calls only those from the time on that the ledger is of."""
    holding = _holding(facts.corrections)
    corrected = AccountFacts(
        [
            purchase
            for each in facts.purchases
            if (purchase := _purchase(each, _changed(holding, each.event_id, _fields(each)), ledger, rules))
        ],
        [
            refund
            for each in facts.refunds
            if (refund := _refund(each, _changed(holding, each.event_id, REFUND_FIELDS)))
        ],
        [
            registration
            for each in facts.registrations
            if (registration := _registration(each, _changed(holding, each.event_id, REGISTRATION_FIELDS)))
        ],
        followed=facts.followed,
        migration=facts.migration,
    )
    return CorrectedFacts(corrected, *_correct_calls(facts.corrected_calls, holding, ledger.from_ms, rules))


def earliest_change_ms(facts: AccountFacts, after: int) -> int | None:
    """The earliest effective time that is concerned by corrections since an offset, or by their facts since.

    Corrections that are void count as well: what they made of a fact is undone.
    """
    by_id = {each.event_id: each for each in facts.corrections}
    changed: set[str] = set()
    for each in facts.corrections:
        root = _root(each, by_id)
        if max(each.offset, facts.offsets.get(root, -1)) > after:
            changed.add(root)
    times = [time_ms for event_id, time_ms in _effective_times(facts) if event_id in changed]
    if not times:
        return None
    for each in facts.corrections:
        if each.fact_id in changed and each.changed is not None:
            said = each.changed
            given = (said.time, said.paid_at, said.assigned_at, said.starts_at)
            times += [to_ms(time) for time in given if time is not None]
    return min(times)


def _root(correction: CorrectionFact, by_id: Mapping[str, CorrectionFact]) -> str:
    """The fact that a correction is about in the end; a correction is about earlier ones only."""
    seen = {correction.event_id}
    while correction.fact_id in by_id and correction.fact_id not in seen:
        correction = by_id[correction.fact_id]
        seen.add(correction.event_id)
    return correction.fact_id


def _effective_times(facts: AccountFacts) -> Iterator[tuple[str, int]]:
    yield from ((each.event_id, each.effective_ms) for each in facts.purchases)
    yield from ((each.event_id, each.time_ms) for each in facts.refunds)
    yield from ((each.event_id, each.time_ms) for each in facts.registrations)
    yield from ((each.event_id, each.time_ms) for each in facts.corrected_calls)


def _holding(corrections: Iterable[CorrectionFact]) -> Mapping[str, Sequence[CorrectionFact]]:
    """The corrections of each fact that are not void, in the order of their times.

    Only a later correction can void one, so the latest are decided first.
    """
    unique = {each.event_id: each for each in corrections}
    holding: defaultdict[str, list[CorrectionFact]] = defaultdict(list)
    for each in sorted(unique.values(), key=lambda fact: (fact.time_ms, fact.event_id), reverse=True):
        if all(later.changed is not None for later in holding.get(each.event_id, ())):
            holding[each.fact_id].insert(0, each)
    return holding


def _changed(
    holding: Mapping[str, Sequence[CorrectionFact]], event_id: str, fields: frozenset[str]
) -> ChangedFields | None:
    """The fields of a fact that are set, of those that it may have; None if it is void.

    A fact that is void keeps what was set, should it be restored.
    """
    changed, is_void = ChangedFields(), False
    for each in holding.get(event_id, ()):
        if each.changed is None:
            is_void = True
        elif (given := _given(each.changed)).keys() <= fields:
            changed, is_void = replace(changed, **given), False
    return None if is_void else changed


def _given(changed: ChangedFields) -> dict[str, Any]:
    return {name: value for name, value in asdict(changed).items() if value is not None}


def _fields(fact: PurchaseFact) -> frozenset[str]:
    return PURCHASE_FIELDS if fact.agency_paid_ms is None else ASSIGNMENT_FIELDS


def _purchase(
    fact: PurchaseFact, changed: ChangedFields | None, ledger: LedgerSums, rules: Rules
) -> PurchaseFact | None:
    if changed is None:
        return None
    pack = fact.pack
    given = _given(changed)
    if given:
        starts_at = given.get("paid_at" if fact.agency_paid_ms is None else "assigned_at")
        if starts_at and pack.starts_at_ms == max(pack.paid_at_ms, rules.billing_start_ms):
            given.setdefault("starts_at", starts_at)
        data = replace(terms_of(fact), **given)
        is_assigned = data.assigned_at is not None
        pack = Pack.bought(data, data.assigned_at or data.paid_at, rules, is_assigned=is_assigned)
        agency_paid_ms = to_ms(data.paid_at) if is_assigned else None
        fact = PurchaseFact(
            data.capability,
            pack,
            fact.event_id,
            data.price_basis,
            data.used_before,
            agency_paid_ms=agency_paid_ms,
        )
    used = fact.used_before
    if changed.used_before is None:
        used = ledger.observed.get(pack.pack_id, used)
    return fact._replace(used_before=min(used, pack.calls))


def terms_of(fact: PurchaseFact) -> AssignmentData:
    """The data of a purchase, or of an assignment."""
    pack, agency_paid_ms = fact.pack, fact.agency_paid_ms
    return AssignmentData(
        pack_id=pack.pack_id,
        capability=fact.capability,
        calls=pack.calls,
        validity_days=pack.validity_days,
        price_micro_yuan=pack.price_micro_yuan,
        paid_at=moment(pack.paid_at_ms if agency_paid_ms is None else agency_paid_ms),
        assigned_at=None if agency_paid_ms is None else moment(pack.paid_at_ms),
        order_id=pack.order_id,
        starts_at=moment(pack.starts_at_ms),
        price_basis=fact.price_basis,
        used_before=fact.used_before,
    )


def _refund(fact: RefundFact, changed: ChangedFields | None) -> RefundFact | None:
    if changed is None:
        return None
    return fact._replace(
        time_ms=fact.time_ms if changed.time is None else to_ms(changed.time),
        pack_id=changed.pack_id or fact.pack_id,
        by_platform=fact.by_platform if changed.by is None else changed.by == "platform",
    )


def _registration(fact: RegistrationFact, changed: ChangedFields | None) -> RegistrationFact | None:
    if changed is None:
        return None
    given = _given(changed)
    if changed.time is not None:
        given["time_ms"] = to_ms(changed.time)
    return fact._replace(**{name: value for name, value in given.items() if name != "time"})


def _correct_calls(
    calls: Iterable[CallFact], holding: Mapping[str, Sequence[CorrectionFact]], from_ms: int, rules: Rules
) -> tuple[frozenset[str], Sequence[CallFact], CorrectedCalls]:
    """The calls that are void, those that are put in instead, and both as numbers, from a time on."""
    void: set[str] = set()
    put_in: list[CallFact] = []
    moved: defaultdict[tuple[Capability, int], dict[Place, tuple[int, int]]] = defaultdict(dict)
    for call in {each.event_id: each for each in calls}.values():
        changed = _changed(holding, call.event_id, CALL_FIELDS)
        now = None if changed is None else _call(call, changed)
        if now == call or call.time_ms < rules.billing_start_ms:
            continue
        if now is not None and now.time_ms < rules.billing_start_ms:
            now = None
        void.add(call.event_id)
        # What is earlier was settled with the correction.
        if call.time_ms >= from_ms:
            _count(moved, call, 1)
        if now is not None and now.time_ms >= from_ms:
            put_in.append(now)
            _count(moved, now, -1)
    return frozenset(void), sorted(put_in, key=lambda call: (call.time_ms, call.event_id)), moved


def _call(call: CallFact, changed: ChangedFields) -> CallFact:
    given = _given(changed)
    if changed.time is not None:
        given["time_ms"] = to_ms(changed.time)
    return call._replace(**{name: value for name, value in given.items() if name != "time"})


def _count(
    moved: defaultdict[tuple[Capability, int], dict[Place, tuple[int, int]]], call: CallFact, calls: int
) -> None:
    places = moved[call.capability, shanghai_day(call.time_ms)]
    place = (call.scene, call.store, call.env)
    before, _ = places.get(place, (0, 0))
    places[place] = (before + calls, call.time_ms)
