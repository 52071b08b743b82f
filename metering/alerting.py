"""Low balance: which thresholds a change of balance crosses (DESIGN rule 13).

Each crossing alerts once. A level that has fired stays silent until a top-up lifts the balance clear of it;
then it says so and is armed again.
"""

from metering.accounts import Account, Alerting, Use, trial_quota
from metering.events import Capability
from metering.lines import Lines
from metering.rules import Rules

RUN_OUT_DAYS = 7
"""Complete Shanghai days whose mean is the forecast of a day's use."""


def thresholds(account: Account, rules: Rules) -> Alerting:
    """The thresholds that hold for an account."""
    return account.alerting or Alerting.default(rules)


def balance_fell(account: Account, capability: Capability, time_ms: int, lines: Lines) -> None:
    """Alert for every armed level that the balance has reached."""
    use = account.uses[capability]
    for level in use.armed:
        if _at_or_below(use, level):
            use.fired = (*use.fired, level)
            lines.alert(
                account,
                capability,
                recovered=False,
                reason="level",
                time_ms=time_ms,
                remaining=use.active_remaining,
                level_percent=level,
                size=use.active_size,
            )
    use.armed = tuple(level for level in use.armed if level not in use.fired)
    set_alarm(use)


def topped_up(account: Account, capability: Capability, time_ms: int, lines: Lines, rules: Rules) -> None:
    """Arm every level that the balance is clear of, and say so for those that had fired."""
    use = account.uses[capability]
    alerting = thresholds(account, rules)
    for level in alerting.levels_percent:
        if level in use.armed or _at_or_below(use, level):
            continue
        use.armed = (*use.armed, level)
        if level in use.fired:
            use.fired = tuple(other for other in use.fired if other != level)
            lines.alert(
                account,
                capability,
                recovered=True,
                reason="level",
                time_ms=time_ms,
                remaining=use.active_remaining,
                level_percent=level,
                size=use.active_size,
            )
    set_alarm(use)
    if use.run_out_fired and not _runs_out(account, capability, use.newest_day, rules):
        use.run_out_fired = False
        lines.alert(
            account,
            capability,
            recovered=True,
            reason="run_out",
            time_ms=time_ms,
            remaining=use.active_remaining,
        )


def thresholds_changed(account: Account, capability: Capability, time_ms: int, lines: Lines) -> None:
    """Take up an account's new levels; one that the balance has reached already alerts at once."""
    use = account.uses[capability]
    if not use.remaining or account.alerting is None:
        return
    levels = account.alerting.levels_percent
    use.fired = tuple(level for level in use.fired if level in levels)
    use.armed = tuple(level for level in levels if level not in use.fired)
    balance_fell(account, capability, time_ms, lines)


def call_charged(
    account: Account,
    capability: Capability,
    day: int,
    time_ms: int,
    lines: Lines,
    rules: Rules,
) -> None:
    """Count a charged call into its day; the first of a new day asks the forecast for the run-out.

    Args:
        account: whose call it is.
        capability: of the call.
        day: the Shanghai day on which the call happened.
        time_ms: when it was charged, which is later if a pack took it over.
        lines: where alerts are written.
        rules: the parameters of metering.
    """
    use = account.uses[capability]
    if day > use.newest_day:
        _new_day(account, capability, day, time_ms, lines, rules)
    if day >= use.newest_day - RUN_OUT_DAYS:
        use.calls_by_day[day] = use.calls_by_day.get(day, 0) + 1


def set_alarm(use: Use) -> None:
    """Recompute the remainder at which the next level fires, so that a charge needs one comparison."""
    use.alarm_at = max((level * use.active_size // 100 for level in use.armed), default=-1)


def _new_day(
    account: Account, capability: Capability, day: int, time_ms: int, lines: Lines, rules: Rules
) -> None:
    use = account.uses[capability]
    use.first_day = use.first_day or day
    use.newest_day = day
    use.calls_by_day = {
        known: calls for known, calls in use.calls_by_day.items() if known >= day - RUN_OUT_DAYS
    }
    if use.run_out_fired or not _runs_out(account, capability, day, rules):
        return
    use.run_out_fired = True
    remaining, calls, days = _forecast(account, capability, day, rules)
    lines.alert(
        account,
        capability,
        recovered=False,
        reason="run_out",
        time_ms=time_ms,
        remaining=remaining,
        hours_left=remaining * days * 24 // calls,
    )


def _runs_out(account: Account, capability: Capability, day: int, rules: Rules) -> bool:
    remaining, calls, days = _forecast(account, capability, day, rules)
    lead_days = thresholds(account, rules).run_out_lead_days
    return calls > 0 and remaining * days < lead_days * calls


def _forecast(account: Account, capability: Capability, day: int, rules: Rules) -> tuple[int, int, int]:
    """What is left, and the calls of how many complete days before `day` stand against it."""
    use = account.uses[capability]
    days = min(RUN_OUT_DAYS, day - use.first_day)
    calls = sum(use.calls_by_day.get(earlier, 0) for earlier in range(day - days, day))
    remaining = use.active_remaining + account.trial.get(trial_quota(capability, rules), 0)
    return remaining, calls, days


def _at_or_below(use: Use, level: int) -> bool:
    return use.active_remaining * 100 <= level * use.active_size
