"""Charges: the quota that an authorization is taken from (rules 1, 3, 4, 5, 7, 8, 9 and 18)."""

from typing import Literal

from metering import alert_rules, lateness, refusals, use
from metering.accounts import Account, CapabilityAccount
from metering.events import Authorization, Denied, Unsuccessful
from metering.journal import Journal
from metering.ledger import EntryKind
from metering.money import cost_of_call
from metering.packs import Pack
from metering.rules import Rules
from metering.uncovered import UncoveredCall

UncoveredReason = Literal["no_pack", "exhausted", "too_late"]


def authorize(
    account: Account, event: Authorization, time_ms: int, journal: Journal, rules: Rules
) -> UncoveredCall | None:
    """Meter an authorization. The clock of its account has reached the event's time.

    Returns:
        The call if it is uncovered, to be remembered for a pack that is recorded late.
    """
    if isinstance(event, Unsuccessful):
        kind: EntryKind = "denied" if isinstance(event, Denied) else "failed"
        journal.add_authorization(event, time_ms, kind, calls=0, errno=event.data.errno)
        if event.data.errno == refusals.QUOTA_EXHAUSTED_ERRNO and kind == "failed":
            refusals.record_refusal(account, event.data.capability, time_ms, journal, rules)
        return None
    capability_account: CapabilityAccount = getattr(account, event.data.capability)
    uncovered = None
    if time_ms < rules.billing_start_ms:
        capability_account.called = True
        journal.add_authorization(event, time_ms, "free")
    else:
        if time_ms <= capability_account.turned_ms:
            lateness.mark(account, time_ms, "late_call", event.id, event.source, journal, rules)
        if account.exempt:
            capability_account.called = True
            journal.add_authorization(event, time_ms, "exempt")
        else:
            uncovered = _charge(account, capability_account, event, time_ms, journal, rules)
    if time_ms > capability_account.granted_ms:
        # `refusals.end_by_success` inlined for all but the first success after a refusal.
        if capability_account.refused_ms >= capability_account.granted_ms:
            refusals.end_by_success(account, event.data.capability, time_ms, journal, rules)
            capability_account.ahead_ms = max(capability_account.ahead_ms, time_ms)
        elif time_ms <= journal.recorded_at_ms:
            capability_account.granted_ms = time_ms
        else:
            capability_account.granted_ms = max(capability_account.granted_ms, journal.recorded_at_ms)
            capability_account.ahead_ms = max(capability_account.ahead_ms, time_ms)
    return uncovered


def take_call(
    account: Account, capability_account: CapabilityAccount, pack: Pack, time_ms: int
) -> tuple[int, int]:
    """Take one call of this time from a pack that holds one.

    Returns:
        The cost of the call in micro-yuan, and the calls left in the pack.
    """
    left = pack.remaining - 1
    pack.remaining = left
    if pack.covers(account.clock_ms):
        capability_account.active_remaining -= 1
    if left == 0:
        lateness.end_of_pack(capability_account, pack, time_ms)
        set_aside(account, capability_account, pack)
    return cost_of_call(pack.calls - left, price_micro_yuan=pack.price_micro_yuan, size=pack.calls), left


def _take_trial_call(account: Account, capability_account: CapabilityAccount, time_ms: int) -> int:
    if account.trial:
        account.trial -= 1
        if account.trial == 0:
            lateness.end_of_trial(account, (account.quick, account.realtime), time_ms)
        return account.trial
    capability_account.trial -= 1
    if capability_account.trial == 0:
        lateness.end_of_trial(account, (capability_account,), time_ms)
    return capability_account.trial


def _charge(
    account: Account,
    capability_account: CapabilityAccount,
    event: Authorization,
    time_ms: int,
    journal: Journal,
    rules: Rules,
) -> UncoveredCall | None:
    data = event.data
    if account.trial or capability_account.trial:
        left = _take_trial_call(account, capability_account, time_ms)
        journal.add_authorization(event, time_ms, "trial_charge", 1, 0, "", left)
        if capability_account.burn_rate is None:
            alert_rules.arm_levels(account, capability_account, rules)
            if account.trial_used_before or capability_account.trial_used_before:
                alert_rules.check_opened(account, data.capability, time_ms, journal, rules)
        use.count_charged_call(account, capability_account, event, time_ms, journal, rules)
        if left <= account.trial_alarm_at:
            alert_rules.check_levels_of_trial(account, data.capability, time_ms, journal, rules)
        return None
    for pack in capability_account.open:
        # `Pack.covers` inlined: the call would be half of the cost of finding the pack.
        if pack.starts_at_ms <= time_ms < pack.expires_at_ms:
            cost, left = take_call(account, capability_account, pack, time_ms)
            journal.add_authorization(event, time_ms, "charge", 1, cost, pack.pack_id, left)
            use.count_charged_call(account, capability_account, event, time_ms, journal, rules)
            if capability_account.active_remaining <= capability_account.alarm_at:
                alert_rules.check_levels(account, data.capability, time_ms, journal, rules)
            return None
    capability_account.called = True
    why = _why_uncovered(capability_account, time_ms)
    journal.add_authorization(event, time_ms, "uncovered", reason=why)
    if not capability_account.uncovered_fired:
        alert_rules.alert_uncovered(account, data.capability, why, time_ms, journal)
    return UncoveredCall(
        time_ms, journal.offset, event.id, data.scene, data.store, data.env, data.client, event.source
    )


def _why_uncovered(capability_account: CapabilityAccount, time_ms: int) -> UncoveredReason:
    ended = [closed for closed in capability_account.closed if closed.pack.covers(time_ms)]
    if any(closed.lapsed for closed in ended):
        return "too_late"
    if any(closed.status == "exhausted" for closed in ended) or any(
        p.covers(time_ms) for p in capability_account.spent
    ):
        return "exhausted"
    return "no_pack"


def set_aside(account: Account, capability_account: CapabilityAccount, pack: Pack) -> None:
    """Set an exhausted pack aside: it does not count in the active size any more (rule 13)."""
    if account.clock_ms < pack.expires_at_ms:
        if pack.covers(account.clock_ms):
            capability_account.active_size -= pack.calls
        capability_account.spend(pack)
    else:
        capability_account.close(pack, "exhausted")
