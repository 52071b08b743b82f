"""Alerts of the balance: the thresholds that a change of it crosses (rule 13).

The balance of a capability is what is left of its trial quota and its active packs. A level is percent of its
size: of the trial quota while any of it is left, and of the active packs that hold calls.

Each crossing alerts once. Levels are armed by the first call from the trial quota and by top-ups. A level
that fired is armed again, with a recovery, when a top-up lifts the balance above it. The same holds for the
run-out and for uncovered calls. An event that is past (`Account.is_past`), as in imported history, fires
nothing, so that the next current event tells what stands.
"""

from msgspec import structs

from metering import use
from metering.accounts import Account, AlertThresholds, CapabilityAccount
from metering.events import AlertingSet, Capability
from metering.journal import Journal, details_json
from metering.rules import Rules


def thresholds_of(account: Account, rules: Rules) -> AlertThresholds:
    """The thresholds of an account: its own or the defaults."""
    return account.thresholds or AlertThresholds.default(rules)


def arm_levels(account: Account, capability_account: CapabilityAccount, rules: Rules) -> None:
    """Arm the levels that have not fired, when a capability takes its first call from the trial quota."""
    levels = thresholds_of(account, rules).levels_percent
    capability_account.armed = tuple(level for level in levels if level not in capability_account.fired)
    _set_alarm(account, capability_account, rules)


def check_levels_of_trial(
    account: Account, capability: Capability, time_ms: int, journal: Journal, rules: Rules
) -> None:
    """Check the levels of all capabilities that have the trial quota of this one."""
    for each in account.capabilities if rules.trial_scope == "account" else (capability,):
        check_levels(account, each, time_ms, journal, rules)


def check_levels(
    account: Account, capability: Capability, time_ms: int, journal: Journal, rules: Rules
) -> None:
    """Alert for every armed level that the balance has reached, unless the reason is past."""
    capability_account = account.capabilities[capability]
    if account.is_past(time_ms):
        _set_alarm(account, capability_account, rules)
        return
    balance, size = account.balance(capability_account), _size(account, capability_account, rules)
    for level in capability_account.armed:
        if _has_reached(balance, size, level):
            capability_account.fired = (*capability_account.fired, level)
            journal.add_alert(
                account,
                capability,
                recovered=False,
                reason="level",
                time_ms=time_ms,
                remaining=balance,
                level_percent=level,
                size=size,
            )
    capability_account.armed = tuple(
        level for level in capability_account.armed if level not in capability_account.fired
    )
    _set_alarm(account, capability_account, rules)


def check_opened(
    account: Account, capability: Capability, time_ms: int, journal: Journal, rules: Rules
) -> None:
    """Alert of the lowest armed level that calls from before this log had taken the balance to.

    The higher ones had been crossed before; they recover like those that alerted.
    """
    capability_account = account.capabilities[capability]
    balance, size = account.balance(capability_account), _size(account, capability_account, rules)
    reached = sorted(level for level in capability_account.armed if _has_reached(balance, size, level))
    capability_account.fired = (*capability_account.fired, *reached[1:])
    capability_account.armed = tuple(level for level in capability_account.armed if level not in reached[1:])
    check_levels(account, capability, time_ms, journal, rules)


def check_recovery(
    account: Account, capability: Capability, time_ms: int, journal: Journal, rules: Rules
) -> None:
    """Arm every level that the balance is above, with a recovery for those that had fired."""
    capability_account = account.capabilities[capability]
    thresholds = thresholds_of(account, rules)
    balance, size = account.balance(capability_account), _size(account, capability_account, rules)
    for level in thresholds.levels_percent:
        if level in capability_account.armed or _has_reached(balance, size, level):
            continue
        capability_account.armed = (*capability_account.armed, level)
        if level in capability_account.fired:
            capability_account.fired = tuple(other for other in capability_account.fired if other != level)
            journal.add_alert(
                account,
                capability,
                recovered=True,
                reason="level",
                time_ms=time_ms,
                remaining=balance,
                level_percent=level,
                size=size,
            )
    _set_alarm(account, capability_account, rules)
    if capability_account.run_out_fired and not use.runs_out(account, capability_account, rules):
        capability_account.run_out_fired = False
        journal.add_alert(
            account,
            capability,
            recovered=True,
            reason="run_out",
            time_ms=time_ms,
            remaining=balance,
        )
    if capability_account.uncovered_fired and capability_account.active_remaining:
        capability_account.uncovered_fired = False
        journal.add_alert(
            account,
            capability,
            recovered=True,
            reason="uncovered",
            time_ms=time_ms,
            remaining=balance,
        )


def review(account: Account, capability: Capability, journal: Journal, rules: Rules) -> None:
    """Look at the balance once, after a settlement; what it was in between is told to nobody."""
    now_ms = account.clock_ms
    capability_account = account.capabilities[capability]
    check_recovery(account, capability, now_ms, journal, rules)
    check_levels(account, capability, now_ms, journal, rules)
    if capability_account.burn_rate is not None:
        use.check_run_out(account, capability, now_ms, journal, rules)


def set_thresholds(
    account: Account, event: AlertingSet, time_ms: int, journal: Journal, rules: Rules
) -> None:
    """Apply the thresholds that an owner has set; a level that the balance has reached alerts at once."""
    data, current = event.data, thresholds_of(account, rules)
    given = {name: getattr(data, name) for name in data.__struct_fields__}
    account.thresholds = structs.replace(
        current,
        **{
            name: tuple(sorted(set(value), reverse=True)) if isinstance(value, list) else value
            for name, value in given.items()
            if value is not None
        },
    )
    journal.add(
        "alerting_set",
        time_ms,
        account.appid,
        event_id=event.id,
        source=event.source,
        details=details_json(**structs.asdict(account.thresholds)),
    )
    for capability, capability_account in account.capabilities.items():
        if capability_account.burn_rate is not None:
            capability_account.burn_rate.set_limits(account.thresholds)
        if capability_account.packs or capability_account.burn_rate is not None:
            _apply_levels(account, capability, time_ms, journal, rules)


def alert_uncovered(
    account: Account, capability: Capability, why: str, time_ms: int, journal: Journal
) -> None:
    """Alert that calls begin to be uncovered, unless it is a late call and a current one would be covered.

    A call that is past alerts nobody either.
    """
    capability_account = account.capabilities[capability]
    if capability_account.active_remaining or account.is_past(time_ms):
        return
    capability_account.uncovered_fired = True
    journal.add_alert(
        account, capability, recovered=False, reason="uncovered", time_ms=time_ms, remaining=0, why=why
    )


def _set_alarm(account: Account, capability_account: CapabilityAccount, rules: Rules) -> None:
    """Recompute the balance at which the next level fires, so that a charge needs one comparison.

    It is too high after a quota was used up, which makes the size smaller: the next check finds no level
    reached and comes here again.
    """
    size = _size(account, capability_account, rules)
    capability_account.alarm_at = max((level * size // 100 for level in capability_account.armed), default=-1)
    account.trial_alarm_at = max(
        each.alarm_at - each.active_remaining for each in (account.quick, account.realtime)
    )


def _apply_levels(
    account: Account, capability: Capability, time_ms: int, journal: Journal, rules: Rules
) -> None:
    levels, capability_account = (
        thresholds_of(account, rules).levels_percent,
        account.capabilities[capability],
    )
    capability_account.fired = tuple(level for level in capability_account.fired if level in levels)
    capability_account.armed = tuple(level for level in levels if level not in capability_account.fired)
    check_levels(account, capability, time_ms, journal, rules)


def _size(account: Account, capability_account: CapabilityAccount, rules: Rules) -> int:
    """100 % of the balance: the size of the trial quota and of the active packs, of those that hold calls."""
    trial = rules.trial_calls if account.trial_left(capability_account) else 0
    return trial + capability_account.active_size


def _has_reached(balance: int, size: int, level: int) -> bool:
    return balance * 100 <= level * size
