"""What the audit's service can be told: environment variables named `PHONEMETER_` plus the field."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class AuditSettings(BaseSettings):
    """Settings of the audit's service. Frozen."""

    model_config = SettingsConfigDict(
        env_prefix="PHONEMETER_", env_ignore_empty=True, frozen=True, extra="forbid"
    )

    audit_balances_interval_s: int = Field(
        60,
        ge=1,
        le=600,
        description="Pause between two readings of the balances by `phonemeter audit --every`; ten times as "
        "long as a reading took, if that is longer.",
    )
