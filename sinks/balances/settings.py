"""Settings of decisions from memory: environment variables named `PHONEMETER_` plus the field."""

from pydantic import Field

from sinks.settings import LedgerSettings


class RouteSettings(LedgerSettings):
    """Settings of the part of the gateway that decides which way a member signs up."""

    route_stale_s: int = Field(
        60,
        ge=20,
        le=110,
        description="Age of what is known of a balance from which on decisions say that it is out of date, "
        "and no call is held. Clock ticks and checkpoints of the worker are 10 s apart.",
    )
    route_apps_max: int = Field(
        100_000,
        ge=1,
        le=10_000_000,
        description="Apps whose balances the gateway keeps in memory; of others nothing is known there.",
    )
