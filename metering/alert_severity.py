"""The severity of an alert: urgent, warning or, for a recovery, info."""

from typing import Final, Literal

from metering.alerts import Alert

Severity = Literal["urgent", "warning", "info"]

URGENT_LEVEL_PERCENT: Final = 5
URGENT_DAYS: Final = 1
URGENT_HOURS: Final = 48
CALM_REASONS: Final = frozenset({"level", "expiry", "run_out", "charge_notice", "test"})
"""Reasons that are urgent only when little is left, and what is no fault; any other one is a fault now."""


def severity_of(alert: Alert) -> Severity:
    """The severity: `urgent` where members are refused now or within two days, `info` for a recovery."""
    if alert.kind == "recovery":
        return "info"
    near = (
        _at_most(alert, "level_percent", URGENT_LEVEL_PERCENT)
        or _at_most(alert, "days", URGENT_DAYS)
        or _at_most(alert, "hours_left", URGENT_HOURS)
    )
    return "urgent" if near or alert.reason not in CALM_REASONS else "warning"


def _at_most(alert: Alert, detail: str, limit: int) -> bool:
    value = alert.details.get(detail)
    return isinstance(value, int) and value <= limit
