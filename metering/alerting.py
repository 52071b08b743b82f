"""Alerts: which thresholds a change of balance or a call crosses (DESIGN rule 13).

Each crossing alerts once. A level that has fired stays silent until a top-up lifts the balance clear of it;
then it says so and is armed again. The same holds for the run-out and for uncovered calls. Abnormal burn
alerts once an episode.
"""

from msgspec import structs

from metering.accounts import Account, Alerting, Use
from metering.burn import CLIENTS_MAX, HOUR_MINUTES, Burn
from metering.events import AlertingSet, Authorization, Capability
from metering.lines import Lines, details_json
from metering.rules import Rules
from metering.times import MINUTE_MS, minute_of, shanghai_day


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
    if use.run_out_fired and not _runs_out(account, use, rules):
        use.run_out_fired = False
        lines.alert(
            account,
            capability,
            recovered=True,
            reason="run_out",
            time_ms=time_ms,
            remaining=use.active_remaining,
        )
    if use.uncovered_fired and use.active_remaining:
        use.uncovered_fired = False
        lines.alert(
            account,
            capability,
            recovered=True,
            reason="uncovered",
            time_ms=time_ms,
            remaining=use.active_remaining,
        )


def set_thresholds(account: Account, event: AlertingSet, time_ms: int, lines: Lines, rules: Rules) -> None:
    """Take up the thresholds that an owner has set; a level that the balance has reached alerts at once."""
    data, current = event.data, thresholds(account, rules)
    given = {name: getattr(data, name) for name in data.__struct_fields__}
    account.alerting = structs.replace(
        current,
        **{
            name: tuple(sorted(set(value), reverse=True)) if isinstance(value, list) else value
            for name, value in given.items()
            if value is not None
        },
    )
    lines.add(
        "alerting_set",
        time_ms,
        account.appid,
        event_id=event.id,
        source=event.source,
        details=details_json(**structs.asdict(account.alerting)),
    )
    for capability, use in account.uses.items():
        if use.burn is not None:
            use.burn.limit_by(account.alerting)
        if use.packs:
            _take_up_levels(account, capability, account.alerting.levels_percent, time_ms, lines)


def call_uncovered(account: Account, capability: Capability, why: str, time_ms: int, lines: Lines) -> None:
    """Alert that calls begin to be uncovered, unless it is a late call and today's would be covered."""
    use = account.uses[capability]
    if use.active_remaining:
        return
    use.uncovered_fired = True
    lines.alert(
        account, capability, recovered=False, reason="uncovered", time_ms=time_ms, remaining=0, why=why
    )


def call_charged(
    account: Account, use: Use, event: Authorization, time_ms: int, lines: Lines, rules: Rules
) -> None:
    """Count a charged call into its day, its minute and its client's hour.

    The first call of a new day asks the forecast for the run-out; one that makes its minute or its client's
    hour abnormal alerts. Minute and hour are those of the arrival where the client's clock is ahead of it.
    """
    called = lines.minute
    if not called.begins_ms <= time_ms < called.ends_ms:
        called = lines.minute = minute_of(time_ms)
    if called.day == use.newest_day:
        use.calls_today += 1
    else:
        _count_day(account, event.data.capability, called.day, time_ms, lines, rules)
    # Were a minute of the future the newest, every call until it comes would be behind it.
    ahead = lines.recorded_at_ms < called.begins_ms
    minute = lines.recorded_at_ms // MINUTE_MS if ahead else called.number
    burn = use.burn
    if burn is None:
        burn = use.burn = Burn.begun(minute, account.alerting or rules)
    if minute == burn.minute:
        burn.calls += 1
    elif minute > burn.minute:
        _begin_minute(account, burn, minute, rules)
    elif minute < burn.hour_ends - HOUR_MINUTES:
        return
    if burn.calls == burn.limit and minute == burn.minute:
        _minute_burns(account, burn, event, time_ms, lines)
    if event.data.client:
        _count_client(account, burn, event, time_ms, lines)


def _begin_minute(account: Account, burn: Burn, minute: int, rules: Rules) -> None:
    if (burn.calls > burn.busiest or minute >= burn.hour_ends) and burn.turn(minute):
        burn.limit_by(account.alerting or rules)
    burn.minute = minute
    burn.calls = 1


def _count_client(account: Account, burn: Burn, event: Authorization, time_ms: int, lines: Lines) -> None:
    client, clients = event.data.client, burn.clients
    calls = clients.get(client, 0) + 1
    if calls > 1 or len(clients) < CLIENTS_MAX:
        clients[client] = calls
        if calls == burn.client_limit:
            _client_burns(account, burn, event, time_ms, lines)
    else:
        burn.count_against_all()


def call_taken_over(
    account: Account, capability: Capability, called_ms: int, time_ms: int, lines: Lines, rules: Rules
) -> None:
    """Count a call into the day on which it happened, when a pack recorded at `time_ms` took it over.

    Its minute is over and has alerted as uncovered.
    """
    _count_day(account, capability, shanghai_day(called_ms), time_ms, lines, rules)


def set_alarm(use: Use) -> None:
    """Recompute the remainder at which the next level fires, so that a charge needs one comparison."""
    use.alarm_at = max((level * use.active_size // 100 for level in use.armed), default=-1)


def _count_day(
    account: Account, capability: Capability, day: int, time_ms: int, lines: Lines, rules: Rules
) -> None:
    """Count a call into its day, as the ledger does, also where the client's clock is ahead of its arrival.

    Calls of the days before are still counted into them, so a clock that is ahead hides none: at most, the
    question of that day's run-out is asked an hour early, without what is called until midnight.
    """
    use = account.uses[capability]
    if day > use.newest_day:
        use.begin_day(day)
        if not use.run_out_fired and _runs_out(account, use, rules):
            use.run_out_fired = True
            _alert_of_run_out(account, use, capability, time_ms, lines)
    use.count_on(day)


def _alert_of_run_out(account: Account, use: Use, capability: Capability, time_ms: int, lines: Lines) -> None:
    remaining, calls, days = _forecast(account, use)
    lines.alert(
        account,
        capability,
        recovered=False,
        reason="run_out",
        time_ms=time_ms,
        remaining=remaining,
        hours_left=remaining * days * 24 // calls,
    )


def _runs_out(account: Account, use: Use, rules: Rules) -> bool:
    remaining, calls, days = _forecast(account, use)
    lead_days = (account.alerting or rules).run_out_lead_days
    return calls > 0 and remaining * days < lead_days * calls


def _forecast(account: Account, use: Use) -> tuple[int, int, int]:
    """What is left, and the calls of how many complete days before the newest stand against it."""
    return _left(account, use), sum(use.calls_before), len(use.calls_before)


def _left(account: Account, use: Use) -> int:
    return use.active_remaining + account.trial_of(use)


def _minute_burns(account: Account, burn: Burn, event: Authorization, time_ms: int, lines: Lines) -> None:
    if burn.begins_episode():
        capability = event.data.capability
        lines.alert(
            account,
            capability,
            recovered=False,
            reason="minute_burn",
            time_ms=time_ms,
            remaining=_left(account, account.uses[capability]),
            calls=burn.limit,
            usual=burn.usual,
        )


def _client_burns(account: Account, burn: Burn, event: Authorization, time_ms: int, lines: Lines) -> None:
    capability, client = event.data.capability, event.data.client
    if burn.begins_episode_of(client):
        lines.alert(
            account,
            capability,
            recovered=False,
            reason="client_burn",
            time_ms=time_ms,
            remaining=_left(account, account.uses[capability]),
            client=client,
            calls=burn.client_limit,
            usual=burn.client_usual,
        )


def _take_up_levels(
    account: Account, capability: Capability, levels: tuple[int, ...], time_ms: int, lines: Lines
) -> None:
    use = account.uses[capability]
    use.fired = tuple(level for level in use.fired if level in levels)
    use.armed = tuple(level for level in levels if level not in use.fired)
    balance_fell(account, capability, time_ms, lines)


def _at_or_below(use: Use, level: int) -> bool:
    return use.active_remaining * 100 <= level * use.active_size
