"""Facts that arrive late: they may have changed earlier decisions, so they make their app unsettled (rule 8).

A call is late if a quota that could have taken it has ended since: the quota's last calls would have been
taken from another one. While no quota has ended, the order of arrival makes no difference: what a call finds
is what it would have found in time. `CapabilityAccount.turned_ms` is the newest call of any quota that ended.

A mark may be unnecessary, as a settlement then finds; none may be missing.
"""

from collections.abc import Iterable
from typing import Final, Literal

from metering.accounts import NEVER_MS, Account, CapabilityAccount
from metering.early_facts import EarlyRefund
from metering.journal import Journal, details_json
from metering.packs import Pack
from metering.rules import Rules
from metering.times import DAY_MS, shanghai_midnight

REFUND_DAYS: Final = 7
"""Days after the payment of a pack within which a request for its refund is given."""

UnsettledReason = Literal[
    "late_call",
    "late_purchase",
    "late_refund",
    "late_registration",
    "late_opening",
    "correction",
    "settlement",
    "too_old",
]


def mark(  # noqa: PLR0917 - keyword arguments cost more, and calls come here one by one
    account: Account,
    time_ms: int,
    reason: UnsettledReason,
    event_id: str,
    source: str,
    journal: Journal,
    rules: Rules,
) -> None:
    """Make an app unsettled from the Shanghai day of a late fact on.

    Whole days, because a settlement moves calls by day: what was before the day is then known exactly.
    """
    too_old = time_ms < account.clock_ms - rules.settle_horizon_ms
    from_ms = time_ms if too_old else shanghai_midnight(time_ms)
    if not too_old:
        account.unsettled_offset = journal.offset
    if too_old or from_ms < account.unsettled_ms:
        journal.add(
            "unsettled",
            from_ms,
            account.appid,
            event_id=event_id,
            reason="too_old" if too_old else reason,
            source=source,
            details=details_json(fact_ms=time_ms),
        )
    if not too_old:
        account.unsettled_ms = min(account.unsettled_ms, from_ms)


def remain_unsettled(account: Account, from_ms: int, event_id: str, source: str, journal: Journal) -> None:
    """Keep an app unsettled after a settlement, and say so."""
    if account.unsettled_ms == NEVER_MS:
        account.unsettled_ms = shanghai_midnight(from_ms)
    journal.add(
        "unsettled",
        account.unsettled_ms,
        account.appid,
        event_id=event_id,
        reason="settlement",
        source=source,
        details=details_json(fact_ms=from_ms),
    )


def mark_late_purchase(  # noqa: PLR0917 - as of `mark`
    account: Account,
    capability_account: CapabilityAccount,
    pack: Pack,
    event_id: str,
    source: str,
    journal: Journal,
    rules: Rules,
) -> None:
    """Make an app unsettled if a pack that is recorded now might have taken calls of other packs.

    These are packs that come after it in the consumption order. Uncovered calls it takes over at once, unless
    they are not remembered, or others may be in their place: an unsettled app has the right number of them at
    most, and a settlement moves numbers.
    """
    if pack.starts_at_ms > capability_account.newest_call_ms:
        return
    held = (*capability_account.open, *capability_account.spent)
    if (
        account.unsettled_ms < NEVER_MS
        or pack.starts_at_ms <= capability_account.unremembered_ms
        or any(other.used and pack < other for other in held)
        or any(closed.used and pack < closed.pack for closed in capability_account.closed)
    ):
        mark(account, pack.starts_at_ms, "late_purchase", event_id, source, journal, rules)


def mark_earlier_terms(  # noqa: PLR0917 - as of `mark`
    account: Account,
    capability_account: CapabilityAccount,
    pack: Pack,
    event_id: str,
    source: str,
    journal: Journal,
    rules: Rules,
) -> None:
    """Make an app unsettled if a purchase of a known pack is not later than the one that is known.

    Of several purchases with one pack id the first in effective order holds. One that says the same changes
    nothing, and one that is later holds after a correction of the first, which makes its app unsettled. A
    later assignment may hold as well: if the earlier one was cancelled.
    """
    known, where = next(
        (held, each)
        for each in account.capabilities.values()
        for held in each.packs
        if held.pack_id == pack.pack_id
    )
    may_hold = pack.is_assigned or pack.effective_ms <= known.effective_ms
    if may_hold and not (where is capability_account and pack.has_terms_of(known)):
        mark(account, pack.effective_ms, "late_purchase", event_id, source, journal, rules)


def is_past_refund(pack: Pack, time_ms: int) -> bool:
    """Return whether a request at this time comes too late after the payment of the pack (rule 10)."""
    return time_ms - pack.paid_at_ms > REFUND_DAYS * DAY_MS


def is_late_refund(
    capability_account: CapabilityAccount,
    pack: Pack,
    request: EarlyRefund,
    refusal: str | None,
    rules: Rules,
) -> bool:
    """Return whether a refund would have come to something else, had it come in time.

    A request might have been given before the pack was used or lapsed, or before the platform took the pack
    back; and what the platform took back could not have been used after it.
    """
    is_before_calls = refusal is not None and request.time_ms <= capability_account.newest_call_ms
    if request.by_platform:
        return is_before_calls
    if refusal is None or is_past_refund(pack, request.time_ms):
        return False
    return is_before_calls or (refusal == "lapsed" and request.time_ms < pack.lapses_at_ms(rules))


def newest_call_ms(account: Account) -> int:
    """A time that no call of an app is later than."""
    return max(account.quick.newest_call_ms, account.realtime.newest_call_ms)


def end_of_trial(account: Account, shared_by: Iterable[CapabilityAccount], time_ms: int) -> None:
    """Remember that a trial quota is used up by a call of this time, or by a settlement."""
    newest_ms = max(time_ms, newest_call_ms(account))
    for capability_account in shared_by:
        capability_account.turn(newest_ms)


def mark_late_opening(
    account: Account, event_id: str, source: str, journal: Journal, rules: Rules, *, grown: bool
) -> None:
    """Make an app unsettled if its trial quota is found to have held more calls than packs were charged for.

    A quota that holds fewer still holds what was taken from it, or its opening is refused.
    """
    if grown and any(each.has_called for each in account.capabilities.values()):
        earliest_ms = max(rules.billing_start_ms, account.clock_ms - rules.settle_horizon_ms)
        mark(account, earliest_ms, "late_opening", event_id, source, journal, rules)


def mark_observed(
    account: Account, pack: Pack, event_id: str, source: str, journal: Journal, rules: Rules
) -> None:
    """Make an app unsettled if the platform's count opens a pack that a correction may have opened otherwise.

    A corrected `used_before` holds against the platform's count, whichever of them arrives first.
    """
    if account.settled_offset >= 0 or account.unsettled_ms < NEVER_MS:
        mark(account, pack.effective_ms, "late_opening", event_id, source, journal, rules)


def end_of_pack(capability_account: CapabilityAccount, pack: Pack, time_ms: int) -> None:
    """Remember that a pack is used up by a call of this time."""
    newest_ms = max(time_ms, capability_account.newest_call_ms)
    capability_account.turn(min(newest_ms, pack.expires_at_ms - 1))
