"""The parameters of metering: what an operator may set, with the domain's defaults (DESIGN section 3)."""

from dataclasses import dataclass
from typing import Final, Literal

from metering.times import DAY_MS

TrialScope = Literal["account", "capability"]

BILLING_START_MS: Final = 1_692_979_200_000
"""2023-08-26T00:00:00+08:00, as in the platform's notice."""

TRIAL_CALLS: Final = 1_000

BURN_MINUTE_CALLS: Final = 60
"""One call a second: fewer cost less than two yuan a minute, whatever the history says."""

BURN_CLIENT_CALLS: Final = 30
"""One every two minutes for an hour: each takes a tap and a pick, so that a person takes one or a few."""

BURN_PERCENT: Final = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The parameters of one metering run; the same values give the same ledger for the same log.

    Attributes:
        billing_start_ms: calls before it are free and touch neither trial nor packs (rule 3).
        trial_calls: size of the trial quota, once per app or per app and capability (rule 4).
        trial_scope: whether an app's capabilities share one trial quota (`account`) or have one each.
        allowed_lateness_ms: how long past its expiry a pack stays open for late events (rule 8).
        duplicate_window_ms: how long an event id is remembered, on the app's clock (rule 2).
        remembered_ids_max: ids remembered per partition at most; the oldest are forgotten beyond it.
        alert_levels_percent: balance levels that alert, highest first (rule 13).
        alert_expiry_days: days before a lapsing expiry that alert, most first (rule 13).
        run_out_lead_days: a forecast run-out nearer than this alerts (rule 13).
        burn_minute_calls: charged calls in a minute that alert at the least; 0 turns it off.
        burn_client_calls: charged calls of one client in an hour that alert at the least; 0 turns it off.
        burn_percent: how many percent of the busiest minute, and of the busiest client's hour, of the last
            seven days alert, if that is more.
    """

    billing_start_ms: int = BILLING_START_MS
    trial_calls: int = TRIAL_CALLS
    trial_scope: TrialScope = "account"
    allowed_lateness_ms: int = DAY_MS
    duplicate_window_ms: int = DAY_MS
    remembered_ids_max: int = 2_500_000
    alert_levels_percent: tuple[int, ...] = (20, 10, 5, 0)
    alert_expiry_days: tuple[int, ...] = (15, 7, 3, 1, 0)
    run_out_lead_days: int = 7
    burn_minute_calls: int = BURN_MINUTE_CALLS
    burn_client_calls: int = BURN_CLIENT_CALLS
    burn_percent: int = BURN_PERCENT
