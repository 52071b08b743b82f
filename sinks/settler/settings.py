"""The settler's settings: environment variables named `PHONEMETER_` plus the field."""

from pydantic import Field

from sinks.settings import LedgerSettings


class SettlerSettings(LedgerSettings):
    """Settings of the settler."""

    settler_interval_ms: int = Field(
        1_000, ge=100, le=60_000, description="Pause between two looks for unsettled apps."
    )
    settler_follow_s: int = Field(
        60,
        ge=1,
        le=3_600,
        description="Seconds between two looks for differences to WeChat's count in the apps that follow it; "
        "there is none while no app does.",
    )
    settler_groups_max: int = Field(
        500_000,
        ge=1_000,
        le=10_000_000,
        description="Sums of one app's ledger (by quota, day, scene, store and build) that the settler keeps "
        "in memory, about 1 kB each; an app with more stays unsettled.",
    )
    settler_port: int = Field(9464, ge=1, le=65_535, description="Port of the settler's metrics and health.")
