"""Purchases and refunds of packs; packs that are recorded late take over calls (rules 6, 7 and 10)."""

from collections.abc import Sequence
from typing import Final, Literal, get_args

from metering import alert_rules, openings, refusals, use
from metering.accounts import Account, CapabilityAccount, encode_account
from metering.charges import set_aside, take_call
from metering.early_facts import EarlyRefund
from metering.events import Assigned, AssignmentCancelled, Capability, PriceBasis, Purchased, Refunded
from metering.journal import Journal, details_json
from metering.lateness import (
    is_late_refund,
    is_past_refund,
    mark,
    mark_earlier_terms,
    mark_late_purchase,
)
from metering.ledger import EntryKind
from metering.milestones import lapse, schedule, schedule_pack
from metering.packs import Pack
from metering.rules import Rules
from metering.times import to_ms
from metering.uncovered import UncoveredCall, UncoveredCalls

EARLY_REFUNDS_MAX: Final = 100
"""Limit of refunds of one app that wait for their purchase; a further one is refused."""

PACKS_MAX: Final = 2_000
"""Limit of packs of one app and capability: all are examined whenever one starts or ends."""

ACCOUNT_BYTES_MAX: Final = 800_000
"""Limit of a stored account for a further pack. It still grows a little while packs end, and the broker
limits a record of the durable state to 1 MB."""

PurchaseRefusal = Literal["known_pack", "too_many_packs"]
RefundObjection = Literal["lapsed", "used", "after_7_days"]
"""The reason for refusing a request for a refund; what the platform did all the same is marked with it."""

RefundRefusal = Literal["unknown_pack", "already_waiting", "already_refunded", RefundObjection]


def purchase(
    account: Account,
    event: Purchased,
    time_ms: int,
    uncovered: UncoveredCalls,
    journal: Journal,
    rules: Rules,
) -> UncoveredCalls:
    """Add a bought or assigned pack to its account.

    Returns:
        The uncovered calls without those that the pack took over.
    """
    capability = event.data.capability
    capability_account = account.capabilities[capability]
    pack = Pack.bought(event.data, event.had_from, rules, is_assigned=isinstance(event, Assigned))
    refusal = _refuse_purchase(account, capability_account, pack)
    journal.add(
        "purchase_refused" if refusal else "purchase",
        time_ms,
        account.appid,
        capability,
        event_id=event.id,
        calls=0 if refusal else pack.calls,
        amount_micro_yuan=0 if refusal else pack.price_micro_yuan,
        pack_id=pack.pack_id,
        remaining=0 if refusal else pack.calls,
        reason=refusal or "",
        source=event.source,
        details=pack_details(
            pack,
            event.data.price_basis,
            agency_paid_ms=to_ms(event.data.paid_at) if isinstance(event, Assigned) else None,
            # That of a pack that is added has an entry of its own.
            used_before=event.data.used_before if refusal else 0,
        ),
    )
    if refusal == "known_pack":
        pack.used_before = event.data.used_before
        mark_earlier_terms(account, capability_account, pack, event.id, event.source, journal, rules)
    if refusal:
        return uncovered
    mark_late_purchase(account, capability_account, pack, event.id, event.source, journal, rules)
    openings.open_bought(account, pack, event, time_ms, journal)
    refund_given = _decide_early(account, capability, pack, uncovered, journal, rules)
    if refund_given is not None and not refund_given.by_platform:
        capability_account.give_back(pack, pack.calls, refund_given.time_ms)
        pack.remaining = 0
        return uncovered
    _add_pack(account, capability_account, pack)
    taken = uncovered.covered_by(pack, pack.remaining)
    if refund_given is not None:
        taken = [call for call in taken if call.time_ms < refund_given.time_ms]
    _take_over(account, capability, pack, taken, journal, rules, time_ms=time_ms)
    left_uncovered = uncovered.without(taken) if taken else uncovered
    if refund_given is not None:
        if refund_given.time_ms >= pack.lapses_at_ms(rules) and pack in capability_account.open:
            lapse(account, capability, pack, journal)
        take_back(account, capability, pack, refund_given, journal, rules, time_ms=time_ms)
        return left_uncovered
    _tell_top_up(account, capability, pack, journal, rules, time_ms=time_ms)
    if pack.lapses_at_ms(rules) <= account.clock_ms and pack in capability_account.open:
        lapse(account, capability, pack, journal)
    schedule_pack(account, capability, pack, rules)
    return left_uncovered


def _add_pack(account: Account, capability_account: CapabilityAccount, pack: Pack) -> None:
    capability_account.add_open(pack)
    if pack.covers(account.clock_ms):
        capability_account.active_size += pack.calls
        capability_account.active_remaining += pack.remaining
    if not pack.remaining:
        set_aside(account, capability_account, pack)


def _tell_top_up(
    account: Account, capability: Capability, pack: Pack, journal: Journal, rules: Rules, *, time_ms: int
) -> None:
    """Recover and raise the alerts that a pack makes due."""
    if pack.covers(account.clock_ms):
        alert_rules.check_recovery(account, capability, time_ms, journal, rules)
        if pack.remaining:
            refusals.end_by_pack(account, capability, pack.starts_at_ms, time_ms, journal)
        if pack.remaining and pack.used_before:
            alert_rules.arm_levels(account, account.capabilities[capability], rules)
            alert_rules.check_opened(account, capability, time_ms, journal, rules)
    alert_rules.check_levels(account, capability, time_ms, journal, rules)


def refund(account: Account, event: Refunded, time_ms: int, journal: Journal, rules: Rules) -> None:
    """Refund a pack if it is untouched and was paid within seven days; otherwise refuse with a reason.

    What the platform did is recorded in any case. A refund that is recorded before the purchase of its pack
    waits for it. The cancellation of an assignment is a refund by another word, and either word holds for
    either kind of pack: a wrong one must not leave a pack where it is not.
    """
    request = EarlyRefund(
        event.data.pack_id,
        time_ms,
        event.id,
        event.source,
        by_platform=event.data.by == "platform",
        is_cancellation=isinstance(event, AssignmentCancelled),
    )
    capability, pack, refusal = _refundable(account, request)
    given = refusal is None or (request.by_platform and refusal in _OBJECTIONS)
    if pack is not None and capability != "":
        # Where an assignment was cancelled, a later one may have been recorded before, and was refused.
        is_awaited = given and pack.is_assigned
        if is_awaited or is_late_refund(account.capabilities[capability], pack, request, refusal, rules):
            mark(account, time_ms, "late_refund", event.id, event.source, journal, rules)
        if given:
            take_back(account, capability, pack, request, journal, rules, time_ms=time_ms)
            return
    _add_refund(account, capability, request, journal, refusal)
    if refusal is None:
        account.add_early_refund(request)


def take_back(
    account: Account,
    capability: Capability,
    pack: Pack,
    request: EarlyRefund,
    journal: Journal,
    rules: Rules,
    *,
    time_ms: int,
) -> None:
    """Refund what a pack holds, or what it lost after the time of the refund; what was charged stays."""
    capability_account = account.capabilities[capability]
    closed = next((each for each in capability_account.closed if each.pack is pack), None)
    objection = (
        objection_to_refund(pack, request.time_ms, used=pack.used)
        if closed is None
        else _CLOSED_OBJECTIONS[closed.status]
    )
    left = pack.remaining
    if closed is None:
        pack.remaining = 0
        capability_account.give_back(pack, left, request.time_ms)
        if left and pack.covers(account.clock_ms):
            capability_account.active_size -= pack.calls
            capability_account.active_remaining -= left
    else:
        if request.time_ms < pack.lapses_at_ms(rules):
            left = closed.lapsed
        capability_account.give_back(pack, left, request.time_ms, lapsed=closed.lapsed - left)
        if left:
            objection = objection_to_refund(pack, request.time_ms, used=pack.calls - left)
            journal.add(
                "lapse",
                pack.expires_at_ms,
                account.appid,
                capability,
                event_id=request.event_id,
                calls=-left,
                amount_micro_yuan=-_cost_of_last(pack, left),
                pack_id=pack.pack_id,
                reason="refunded",
            )
    reason = "migrated" if request.to else objection
    _add_refund(account, capability, request, journal, reason, pack=pack, left=left)
    if not request.to:
        alert_rules.check_levels(account, capability, time_ms, journal, rules)
    schedule(account, rules)


def _cost_of_last(pack: Pack, calls: int) -> int:
    return pack.price_micro_yuan - pack.cost(pack.calls - calls)


def _refuse_purchase(
    account: Account, capability_account: CapabilityAccount, pack: Pack
) -> PurchaseRefusal | None:
    if any(pack.pack_id == known.pack_id for each in account.capabilities.values() for known in each.packs):
        return "known_pack"
    return "too_many_packs" if is_full(account, capability_account) else None


def is_full(account: Account, capability_account: CapabilityAccount, more: int = 1) -> bool:
    """Return whether a capability has no room for more packs."""
    count = len(capability_account.packs) + more
    return count > PACKS_MAX or len(encode_account(account)) > ACCOUNT_BYTES_MAX


def _decide_early(
    account: Account,
    capability: Capability,
    pack: Pack,
    uncovered: UncoveredCalls,
    journal: Journal,
    rules: Rules,
) -> EarlyRefund | None:
    """Decide the refunds that waited for this pack, each as of its own time; return the one that is given.

    The entry of one that the platform gave comes after the calls that the pack takes over from before it.
    """
    given = None
    for request in account.take_early_refunds(pack):
        refusal = _refuse_early(pack, request, uncovered, rules) if given is None else "already_refunded"
        if given is None and (refusal is None or request.by_platform):
            given = request
        if given is not request:
            _add_refund(account, capability, request, journal, refusal)
        elif not request.by_platform:
            _add_refund(account, capability, request, journal, None, pack=pack, left=pack.calls)
    return given


def _refuse_early(
    pack: Pack, request: EarlyRefund, uncovered: UncoveredCalls, rules: Rules
) -> RefundRefusal | None:
    if request.time_ms >= pack.lapses_at_ms(rules):
        return "lapsed"
    earliest = uncovered.covered_by(pack, 1)
    if earliest and earliest[0].time_ms < request.time_ms:
        # The pack takes this call over, which it would have covered before it was given back.
        return "used"
    return objection_to_refund(pack, request.time_ms, used=pack.used)


def _add_refund(
    account: Account,
    capability: Capability | Literal[""],
    request: EarlyRefund,
    journal: Journal,
    reason: RefundRefusal | Literal["migrated"] | None,
    *,
    pack: Pack | None = None,
    left: int = 0,
) -> None:
    """Add the entry of a refund: given if its pack is named, refused if there is a reason, or waiting."""
    kind: EntryKind = "refund" if pack else "refund_refused" if reason else "refund_waiting"
    journal.add(
        kind,
        request.time_ms,
        account.appid,
        capability,
        event_id=request.event_id,
        calls=left,
        amount_micro_yuan=_cost_of_last(pack, left) if pack else 0,
        pack_id=request.pack_id,
        reason=reason or "",
        source=request.source,
        details=_details_of_refund(request),
    )


def _details_of_refund(request: EarlyRefund) -> str:
    said = {"by": "platform"} if request.by_platform else {}
    if request.is_cancellation:
        said["cancels"] = "assignment"
    if request.to:
        said["to"] = request.to
    return details_json(**said) if said else ""


def _refundable(
    account: Account, request: EarlyRefund
) -> tuple[Capability | Literal[""], Pack | None, RefundRefusal | None]:
    pack_id = request.pack_id
    for capability, capability_account in account.capabilities.items():
        for pack in (*capability_account.open, *capability_account.spent):
            if pack.pack_id == pack_id and pack.was_here(request.time_ms):
                return capability, pack, objection_to_refund(pack, request.time_ms, used=pack.used)
        for closed in capability_account.closed:
            if closed.pack.pack_id == pack_id and closed.pack.was_here(request.time_ms):
                return capability, closed.pack, _CLOSED_OBJECTIONS.get(closed.status, "already_refunded")
    waiting = (each for each in account.early_refunds if each.pack_id == pack_id)
    for each in waiting:
        if each.by_platform == request.by_platform:
            # The earliest one waits: it decides.
            return "", None, None if request.time_ms < each.time_ms else "already_waiting"
    return "", None, "unknown_pack" if len(account.early_refunds) >= EARLY_REFUNDS_MAX else None


_OBJECTIONS: Final = frozenset(get_args(RefundObjection))
_CLOSED_OBJECTIONS: Final[dict[str, RefundObjection]] = {"exhausted": "used", "lapsed": "lapsed"}


def objection_to_refund(pack: Pack, time_ms: int, *, used: int) -> RefundObjection | None:
    """The objection to a request for the refund of a pack that has not lapsed, of which calls were used."""
    if used:
        return "used"
    return "after_7_days" if is_past_refund(pack, time_ms) else None


def _take_over(
    account: Account,
    capability: Capability,
    pack: Pack,
    taken: Sequence[UncoveredCall],
    journal: Journal,
    rules: Rules,
    *,
    time_ms: int,
) -> None:
    """Charge uncovered calls that the pack covers: for each a pair of entries, reversal and charge."""
    capability_account = account.capabilities[capability]
    if taken:
        account.taken_over_offset = journal.offset
    for call in taken:
        where = {
            "event_id": call.event_id,
            "reason": "taken_over",
            "scene": call.scene,
            "store": call.store,
            "env": call.env,
            "client": call.client,
            "source": call.source,
        }
        cost, left = take_call(account, capability_account, pack, call.time_ms)
        journal.add("uncovered", call.time_ms, account.appid, capability, calls=-1, **where)
        journal.add(
            "charge",
            call.time_ms,
            account.appid,
            capability,
            calls=1,
            amount_micro_yuan=cost,
            pack_id=pack.pack_id,
            remaining=left,
            **where,
        )
        use.count_taken_over_call(account, capability, call.time_ms, time_ms, journal, rules)


def pack_details(
    pack: Pack,
    price_basis: PriceBasis,
    *,
    agency_paid_ms: int | None = None,
    used_before: int = 0,
    **more: str,
) -> str:
    """The details of an entry of a purchase: the terms of its pack, and when an agency paid it."""
    # Left out where it is what it always was, so that a log gives the ledger that it gave before.
    basis = {} if price_basis == "paid" else {"price_basis": price_basis}
    assignment = {} if agency_paid_ms is None else {"assigned_at_ms": pack.paid_at_ms}
    used = {"used_before": used_before} if used_before else {}
    return details_json(
        **basis,
        **assignment,
        **used,
        **more,
        order_id=pack.order_id,
        calls=pack.calls,
        validity_days=pack.validity_days,
        price_micro_yuan=pack.price_micro_yuan,
        paid_at_ms=pack.paid_at_ms if agency_paid_ms is None else agency_paid_ms,
        starts_at_ms=pack.starts_at_ms,
        expires_at_ms=pack.expires_at_ms,
    )
