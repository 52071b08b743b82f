"""Refusals by the platform (rule 18): members cannot sign up, whatever the ledger has left.

Refusals are compared by their own times with the newest evidence that the platform grants calls: a success,
or the start of a pack that holds calls. A time that is ahead of the arrival counts as the arrival.

The first refusal that is not earlier than that evidence alerts. A pack that starts later recovers at once. A
success does not: where some taps succeed and others are refused, every refusal would alert again. It begins a
quiet period on the app's clock, at whose end the recovery is told unless a refusal came in between.
"""

from typing import Final

from metering.accounts import Account, CapabilityAccount
from metering.events import Capability
from metering.journal import Journal
from metering.rules import Rules

QUOTA_EXHAUSTED_ERRNO: Final = 1_400_001
"""The `errno` of the component when the platform has no quota left for the app."""


def record_refusal(
    account: Account, capability: Capability, time_ms: int, journal: Journal, rules: Rules
) -> None:
    """Alert of the first refusal after the newest evidence that calls are granted, unless it is past.

    While that alert stands, one from after the beginning of the quiet period ends that period or renews it.
    """
    if account.is_past(time_ms):
        return
    capability_account = account.capabilities[capability]
    stood = _stands(capability_account)
    refused_ms = min(time_ms, journal.recorded_at_ms)
    capability_account.refused_ms = max(capability_account.refused_ms, refused_ms)
    if capability_account.refused_ms >= capability_account.granted_ms:
        capability_account.recovers_ms = -1
        if not stood:
            journal.add_alert(
                account,
                capability,
                recovered=False,
                reason="refused",
                time_ms=time_ms,
                remaining=account.balance(capability_account),
                errno=QUOTA_EXHAUSTED_ERRNO,
            )
    elif stood and refused_ms >= capability_account.quiet_since_ms:
        _begin_quiet(account, capability_account, rules)


def end_by_success(
    account: Account, capability: Capability, time_ms: int, journal: Journal, rules: Rules
) -> None:
    """Record a success when the newest refusal is not earlier than the evidence before it."""
    capability_account = account.capabilities[capability]
    _grant(capability_account, min(time_ms, journal.recorded_at_ms))
    if capability_account.refused_ms < capability_account.granted_ms:
        _begin_quiet(account, capability_account, rules)


def end_by_pack(
    account: Account, capability: Capability, started_ms: int, time_ms: int, journal: Journal
) -> None:
    """Record the start of a pack that holds calls; a refusal before it recovers at once."""
    capability_account = account.capabilities[capability]
    started_ms = min(started_ms, journal.recorded_at_ms)
    stood = _stands(capability_account)
    _grant(capability_account, started_ms)
    if stood and capability_account.refused_ms < started_ms:
        _recover(account, capability, time_ms, journal)


def end_by_quiet(account: Account, capability: Capability, moment_ms: int, journal: Journal) -> None:
    """Recover at the end of the quiet period, unless a pack that started at the same moment did."""
    if account.capabilities[capability].recovers_ms == moment_ms:
        _recover(account, capability, moment_ms, journal)


def _stands(capability_account: CapabilityAccount) -> bool:
    """Return whether an alert was told and its recovery was not."""
    return (
        capability_account.refused_ms >= capability_account.granted_ms or capability_account.recovers_ms >= 0
    )


def _grant(capability_account: CapabilityAccount, granted_ms: int) -> None:
    capability_account.granted_ms = max(capability_account.granted_ms, granted_ms)


def _begin_quiet(account: Account, capability_account: CapabilityAccount, rules: Rules) -> None:
    """Begin the quiet period now, with the newest success, however old that is.

    Times of events would not do: a queue that arrives late would alert and recover with every pair of them.
    """
    capability_account.quiet_since_ms = capability_account.granted_ms
    capability_account.recovers_ms = account.clock_ms + rules.refusal_quiet_ms
    account.due_ms = min(account.due_ms, capability_account.recovers_ms)


def _recover(account: Account, capability: Capability, time_ms: int, journal: Journal) -> None:
    account.capabilities[capability].recovers_ms = -1
    journal.add_alert(
        account,
        capability,
        recovered=True,
        reason="refused",
        time_ms=time_ms,
        remaining=account.balance(account.capabilities[capability]),
    )
