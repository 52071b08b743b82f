"""The use of calls, counted by day, minute and client, and the alerts that it raises (rule 13).

The mean use of the last days tells when the balance runs out; a minute, or an hour of one client, that is far
above its history is an abnormal burn rate and alerts once per episode.
"""

from metering.accounts import Account, CapabilityAccount
from metering.burn_rate import CLIENTS_MAX, HISTORY_DAYS, HOUR_MINUTES, BurnRate
from metering.events import Authorization, Capability
from metering.journal import Journal
from metering.rules import Rules
from metering.times import MINUTE_MS, minute_of, shanghai_day


def count_charged_call(
    account: Account,
    capability_account: CapabilityAccount,
    event: Authorization,
    time_ms: int,
    journal: Journal,
    rules: Rules,
) -> None:
    """Count a charged call in its day, its minute and its client's hour.

    The first call of a new day checks the run-out; a call that makes its minute or its client's hour abnormal
    alerts. Minute and hour are those of the arrival where the client's clock is ahead of it.
    """
    called = journal.minute
    if not called.begins_ms <= time_ms < called.ends_ms:
        called = journal.minute = minute_of(time_ms)
    if called.day == capability_account.newest_day:
        capability_account.calls_today += 1
    elif not _count_day(account, event.data.capability, called.day, time_ms, journal, rules):
        capability_account.called = True
        return
    # With a future minute as the newest one, calls until then would be late and not counted.
    ahead = journal.recorded_at_ms < called.begins_ms
    minute = journal.recorded_at_ms // MINUTE_MS if ahead else called.number
    burn_rate = capability_account.burn_rate
    if burn_rate is None:
        burn_rate = capability_account.burn_rate = BurnRate.starting_at(minute, account.thresholds or rules)
    if minute == burn_rate.minute:
        burn_rate.calls += 1
    elif minute > burn_rate.minute:
        _start_minute(account, burn_rate, minute, rules)
    elif minute < burn_rate.hour_ends - HOUR_MINUTES:
        return
    if burn_rate.calls == burn_rate.limit and minute == burn_rate.minute:
        _alert_minute_burn(account, burn_rate, event, time_ms, journal)
    if event.data.client:
        _count_client(account, burn_rate, event, time_ms, journal)


def count_taken_over_call(
    account: Account, capability: Capability, called_ms: int, time_ms: int, journal: Journal, rules: Rules
) -> None:
    """Count a call in the day on which it happened, when a pack recorded at `time_ms` took it over.

    Its minute is over and has alerted as uncovered.
    """
    _count_day(account, capability, shanghai_day(called_ms), time_ms, journal, rules)


def count_moved_calls(account: Account, capability: Capability, day: int, calls: int) -> None:
    """Count calls that a settlement takes from a quota, or from none any more, in their own day."""
    capability_account = account.capabilities[capability]
    if day > capability_account.newest_day and day >= shanghai_day(account.clock_ms) - HISTORY_DAYS:
        capability_account.begin_day(day)
    if day <= capability_account.newest_day:
        capability_account.count_on(day, calls)


def check_run_out(
    account: Account, capability: Capability, time_ms: int, journal: Journal, rules: Rules
) -> None:
    """Alert if the balance lasts for less than the lead time, unless that was told."""
    capability_account = account.capabilities[capability]
    if capability_account.run_out_fired or not runs_out(account, capability_account, rules):
        return
    capability_account.run_out_fired = True
    remaining, calls, days = _forecast(account, capability_account)
    journal.add_alert(
        account,
        capability,
        recovered=False,
        reason="run_out",
        time_ms=time_ms,
        remaining=remaining,
        hours_left=remaining * days * 24 // calls,
    )


def runs_out(account: Account, capability_account: CapabilityAccount, rules: Rules) -> bool:
    """Return whether the balance lasts for less than the lead time at the mean use of the kept days."""
    remaining, calls, days = _forecast(account, capability_account)
    lead_days = (account.thresholds or rules).run_out_lead_days
    return calls > 0 and remaining * days < lead_days * calls


def _start_minute(account: Account, burn_rate: BurnRate, minute: int, rules: Rules) -> None:
    if (burn_rate.calls > burn_rate.busiest or minute >= burn_rate.hour_ends) and burn_rate.close_minute(
        minute
    ):
        burn_rate.set_limits(account.thresholds or rules)
    burn_rate.minute = minute
    burn_rate.calls = 1


def _count_client(
    account: Account, burn_rate: BurnRate, event: Authorization, time_ms: int, journal: Journal
) -> None:
    client, clients = event.data.client, burn_rate.clients
    calls = clients.get(client, 0) + 1
    if calls > 1 or len(clients) < CLIENTS_MAX:
        clients[client] = calls
        if calls == burn_rate.client_limit:
            _alert_client_burn(account, burn_rate, event, time_ms, journal)
    else:
        burn_rate.decrement_all()


def _count_day(
    account: Account, capability: Capability, day: int, time_ms: int, journal: Journal, rules: Rules
) -> bool:
    """Count a call in its own day, as the ledger does, even if the client's clock is ahead of the arrival.

    Later calls of the day before are still counted in it: with a clock that is ahead, the run-out is only
    checked an hour early.

    Returns:
        False if nothing is counted: on a new day that is too far behind the app's clock to be history of the
        coming calls. It would make idle days of those between, about which nothing is known.
    """
    capability_account = account.capabilities[capability]
    if day > capability_account.newest_day:
        if day < shanghai_day(account.clock_ms) - HISTORY_DAYS:
            return False
        capability_account.begin_day(day)
        if not account.is_past(time_ms):
            check_run_out(account, capability, time_ms, journal, rules)
    capability_account.count_on(day)
    return True


def _forecast(account: Account, capability_account: CapabilityAccount) -> tuple[int, int, int]:
    """Calls left, calls of the kept complete days, and the number of these days."""
    return (
        account.balance(capability_account),
        sum(capability_account.calls_before),
        len(capability_account.calls_before),
    )


def _alert_minute_burn(
    account: Account, burn_rate: BurnRate, event: Authorization, time_ms: int, journal: Journal
) -> None:
    if burn_rate.start_episode():
        capability = event.data.capability
        journal.add_alert(
            account,
            capability,
            recovered=False,
            reason="minute_burn",
            time_ms=time_ms,
            remaining=account.balance(account.capabilities[capability]),
            calls=burn_rate.limit,
            usual=burn_rate.usual_calls,
        )


def _alert_client_burn(
    account: Account, burn_rate: BurnRate, event: Authorization, time_ms: int, journal: Journal
) -> None:
    capability, client = event.data.capability, event.data.client
    if burn_rate.start_client_episode(client):
        journal.add_alert(
            account,
            capability,
            recovered=False,
            reason="client_burn",
            time_ms=time_ms,
            remaining=account.balance(account.capabilities[capability]),
            client=client,
            calls=burn_rate.client_limit,
            usual=burn_rate.client_usual_calls,
        )
