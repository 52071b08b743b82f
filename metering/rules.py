"""The parameters of metering that an operator may set, with their defaults; see `metering/README.md`."""

from dataclasses import dataclass, fields
from hashlib import sha256
from typing import Final, Literal

from metering.times import DAY_MS, SECOND_MS, format_time

TrialScope = Literal["account", "capability"]

Clock = Literal["wall", "events"]
"""The source of time: clock ticks that workers write, or the events' own times alone."""

BILLING_START_MS: Final = 1_692_979_200_000
"""2023-08-26T00:00:00+08:00, as in the platform's notice."""

TRIAL_CALLS: Final = 1_000

BURN_MINUTE_CALLS: Final = 60
"""One call a second; fewer cost less than two yuan a minute."""

BURN_CLIENT_CALLS: Final = 30
"""One call every two minutes; a person makes one or a few an hour."""

BURN_PERCENT: Final = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The parameters of one metering run; the same values give the same ledger for the same log.

    Attributes:
        billing_start_ms: calls before it are free and touch neither trial nor packs (rule 3).
        trial_calls: size of the trial quota, once per app or per app and capability (rule 4).
        trial_scope: `account` for one trial quota of all capabilities, `capability` for one each.
        allowed_lateness_ms: time past its expiry for which a pack stays open for late events (rule 8).
        duplicate_window_ms: time for which an event id is remembered, by clock ticks (rule 2).
        remembered_ids_max: number of ids that a partition remembers; the oldest beyond it are forgotten.
        alert_levels_percent: balance levels that alert, highest first (rule 13).
        alert_expiry_days: days before the expiry of a pack with calls that alert, most first (rule 13).
        run_out_lead_days: a forecast run-out nearer than this alerts (rule 13).
        burn_minute_calls: minimum of charged calls in a minute that alert; 0 turns it off.
        burn_client_calls: minimum of charged calls of a client in an hour that alert; 0 turns it off.
        burn_percent: percent of the busiest minute, and of the busiest client's hour, of the last seven days
            that alert, if that is more than the minimum.
        refusal_quiet_ms: time without a refusal after which a success recovers (rule 18).
        settle_horizon_ms: age on the app's clock up to which a late fact is settled (rule 8).
    """

    billing_start_ms: int = BILLING_START_MS
    trial_calls: int = TRIAL_CALLS
    trial_scope: TrialScope = "account"
    allowed_lateness_ms: int = DAY_MS
    duplicate_window_ms: int = 400 * DAY_MS
    remembered_ids_max: int = 2_500_000
    alert_levels_percent: tuple[int, ...] = (20, 10, 5, 0)
    alert_expiry_days: tuple[int, ...] = (15, 7, 3, 1, 0)
    run_out_lead_days: int = 7
    burn_minute_calls: int = BURN_MINUTE_CALLS
    burn_client_calls: int = BURN_CLIENT_CALLS
    burn_percent: int = BURN_PERCENT
    refusal_quiet_ms: int = 300 * SECOND_MS
    settle_horizon_ms: int = 400 * DAY_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The terms that a log is metered by, stored with its state.

    Attributes:
        rules: fixed for a log: other values give other entries for the same events.
        clock: of the worker that owns the partition now. The ledger shows whether the log has ticks.
    """

    rules: Rules
    clock: Clock = "wall"


def rules_of_decisions(rules: Rules) -> str:
    """A digest of the rules that decide where calls are taken from."""
    decisive = (rules.billing_start_ms, rules.trial_calls, rules.trial_scope, rules.allowed_lateness_ms)
    return sha256(repr(decisive).encode()).hexdigest()[:16]


def different_settings(log: Rules, here: Rules) -> str:
    """The differences between two sets of rules, as settings with both values; empty if there are none."""
    theirs, ours = _as_settings(log), _as_settings(here)
    return ", ".join(
        f"{name} is {theirs[name]} in the log and {ours[name]} here"
        for name in theirs
        if theirs[name] != ours[name]
    )


def _as_settings(rules: Rules) -> dict[str, object]:
    """The parameters under the names and in the units of the settings."""
    own = {
        "billing_start_ms": ("billing_start", format_time(rules.billing_start_ms)),
        "allowed_lateness_ms": ("allowed_lateness_s", f"{rules.allowed_lateness_ms / SECOND_MS:.15g}"),
        "duplicate_window_ms": ("duplicate_window_s", f"{rules.duplicate_window_ms / SECOND_MS:.15g}"),
        "refusal_quiet_ms": ("refusal_quiet_s", f"{rules.refusal_quiet_ms / SECOND_MS:.15g}"),
        "settle_horizon_ms": ("settle_horizon_d", f"{rules.settle_horizon_ms / DAY_MS:.15g}"),
    }
    return dict(own.get(field.name, (field.name, getattr(rules, field.name))) for field in fields(rules))
