"""Options that replace rules of metering, for commands that only compute."""

from dataclasses import dataclass, replace
from typing import Annotated

import typer

from metering.rules import Rules, TrialScope
from metering.times import EARLIEST_MS, LATEST_MS, SECOND_MS, format_time, parse_time
from phonemeter.errors import UserError


@dataclass(frozen=True)
class RateRules:
    """The rules of `rate`; what is not given is the setting."""

    trial_calls: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Calls of the trial quota. Default: the setting.")
    ] = None
    billing_start: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Calls before it are free. Default: the setting."),
    ] = None
    trial_scope: Annotated[
        TrialScope | None,
        typer.Option(help="Whether capabilities share one trial quota. Default: the setting."),
    ] = None

    def applied_to(self, rules: Rules) -> Rules:
        """The rules with what the options replace."""
        return _replaced(rules, self.trial_calls, self.billing_start, self.trial_scope)


@dataclass(frozen=True)
class DryRunRules:
    """The other rules of `replay --dry-run`; what is not given is the setting."""

    trial_calls: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Dry run: calls of the trial quota.")
    ] = None
    billing_start: Annotated[
        str | None, typer.Option(metavar="TIME", help="Dry run: calls before it are free.")
    ] = None
    allowed_lateness: Annotated[
        int | None,
        typer.Option(min=0, metavar="S", help="Dry run: seconds that a pack stays open for late events."),
    ] = None
    trial_scope: Annotated[
        TrialScope | None, typer.Option(help="Dry run: whether capabilities share one trial quota.")
    ] = None

    def applied_to(self, rules: Rules) -> Rules:
        """The rules with what the options replace."""
        rules = _replaced(rules, self.trial_calls, self.billing_start, self.trial_scope)
        if self.allowed_lateness is None:
            return rules
        return replace(rules, allowed_lateness_ms=self.allowed_lateness * SECOND_MS)


def time_option(option: str, text: str) -> int:
    """The moment that an option gives.

    Raises:
        UserError: it is no time, or one outside of the range that events may have.
    """
    try:
        time_ms = parse_time(text)
    except ValueError as error:
        raise UserError(f"{option}: {error}.") from None
    if not EARLIEST_MS <= time_ms <= LATEST_MS:
        allowed = f"{format_time(EARLIEST_MS)} to {format_time(LATEST_MS)}"
        raise UserError(f"{option}: {text!r} is not within {allowed}.")
    return time_ms


def _replaced(
    rules: Rules, trial_calls: int | None, billing_start: str | None, trial_scope: TrialScope | None
) -> Rules:
    if trial_calls is not None:
        rules = replace(rules, trial_calls=trial_calls)
    if billing_start is not None:
        rules = replace(rules, billing_start_ms=time_option("--billing-start", billing_start))
    if trial_scope is not None:
        rules = replace(rules, trial_scope=trial_scope)
    return rules
