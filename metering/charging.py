"""Charging: which quota an authorization is taken from (DESIGN rules 1, 3, 4, 5, 7, 8 and 9)."""

from typing import Literal

from metering import alerting
from metering.accounts import Account, Use
from metering.events import Authorization, Denied, Unsuccessful
from metering.ledger import EntryKind
from metering.lines import Lines
from metering.money import cost_of_call
from metering.packs import Pack
from metering.rules import Rules
from metering.uncovered import UncoveredCall

UncoveredReason = Literal["no_pack", "exhausted", "too_late"]


def authorize(
    account: Account, event: Authorization, time_ms: int, lines: Lines, rules: Rules
) -> UncoveredCall | None:
    """Decide what one authorization does to its account, whose clock has reached the event's time already.

    Returns:
        The call, if nothing could cover it, to be remembered for a pack that is recorded late.
    """
    if isinstance(event, Unsuccessful):
        kind: EntryKind = "denied" if isinstance(event, Denied) else "failed"
        lines.authorization(event, time_ms, kind, calls=0, errno=event.data.errno)
        return None
    if time_ms < rules.billing_start_ms:
        lines.authorization(event, time_ms, "free")
        return None
    if account.exempt:
        lines.authorization(event, time_ms, "exempt")
        return None
    return _charge(account, event, time_ms, lines, rules)


def take_call(account: Account, use: Use, pack: Pack) -> tuple[int, int]:
    """Take one call from a pack that holds one.

    Returns:
        What the call costs in micro-yuan, and what the pack holds afterwards.
    """
    left = pack.remaining - 1
    pack.remaining = left
    if pack.covers(account.clock_ms):
        use.active_remaining -= 1
    if left == 0:
        _set_aside(account, use, pack)
    return cost_of_call(pack.calls - left, price_micro_yuan=pack.price_micro_yuan, size=pack.calls), left


def _take_trial_call(account: Account, use: Use) -> int:
    if account.trial:
        account.trial -= 1
        return account.trial
    use.trial -= 1
    return use.trial


def _charge(
    account: Account, event: Authorization, time_ms: int, lines: Lines, rules: Rules
) -> UncoveredCall | None:
    data = event.data
    use: Use = getattr(account, data.capability)
    if account.trial or use.trial:
        lines.authorization(event, time_ms, "trial_charge", 1, 0, "", _take_trial_call(account, use))
        alerting.call_charged(account, use, event, time_ms, lines, rules)
        return None
    for pack in use.open:
        # As `Pack.covers`, which would be half of the cost of finding the pack.
        if pack.starts_at_ms <= time_ms < pack.expires_at_ms:
            cost, left = take_call(account, use, pack)
            lines.authorization(event, time_ms, "charge", 1, cost, pack.pack_id, left)
            alerting.call_charged(account, use, event, time_ms, lines, rules)
            if use.active_remaining <= use.alarm_at:
                alerting.balance_fell(account, data.capability, time_ms, lines)
            return None
    why = _why_uncovered(use, time_ms)
    lines.authorization(event, time_ms, "uncovered", reason=why)
    if not use.uncovered_fired:
        alerting.call_uncovered(account, data.capability, why, time_ms, lines)
    return UncoveredCall(
        time_ms, lines.offset, event.id, data.scene, data.store, data.env, data.client, event.source
    )


def _why_uncovered(use: Use, time_ms: int) -> UncoveredReason:
    ended = [closed for closed in use.closed if closed.pack.covers(time_ms)]
    if any(closed.lapsed for closed in ended):
        return "too_late"
    if any(closed.status == "exhausted" for closed in ended) or any(p.covers(time_ms) for p in use.spent):
        return "exhausted"
    return "no_pack"


def _set_aside(account: Account, use: Use, pack: Pack) -> None:
    """An exhausted pack counts towards the active size until it expires; a late one has expired already."""
    if account.clock_ms < pack.expires_at_ms:
        use.spend(pack)
    else:
        use.close(pack, "exhausted")
