"""What the notifier can be told, and how: environment variables named `PHONEMETER_` plus the field."""

from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class NotifierSettings(BaseSettings):
    """Settings of the notifier. Frozen."""

    model_config = SettingsConfigDict(
        env_prefix="PHONEMETER_", env_ignore_empty=True, frozen=True, extra="forbid"
    )

    kafka: Annotated[str, Field(pattern=r"^[^\s,]+:\d{1,5}(,[^\s,]+:\d{1,5})*$")] = Field(
        "127.0.0.1:9092",
        description="Kafka bootstrap servers.",
        json_schema_extra={"expected": "HOST:PORT, several of them separated by commas"},
    )
    alert_routes: Path | None = Field(
        None,
        description="File that says which alerts go where (docs/alerts.md); without one none are delivered.",
    )
    notifier_timeout_s: int = Field(
        15, ge=1, le=60, description="How long one attempt to deliver an alert may take, from end to end."
    )
    notifier_retry_first_ms: int = Field(
        5_000,
        ge=100,
        le=3_600_000,
        description="Pause after the first failed attempt; it doubles with each further one, up to 2 h.",
    )
    notifier_retry_for_s: int = Field(
        86_400,
        ge=1,
        le=604_800,
        description="How long attempts are repeated before an alert is dead for a route.",
    )
    notifier_alert_age_max_s: int = Field(
        604_800,
        ge=60,
        le=31_536_000,
        description="Alerts that were published longer ago than this when the notifier first sees them are "
        "not delivered.",
    )
    notifier_port: int = Field(
        9467, ge=1, le=65_535, description="Port of the notifier's metrics and health."
    )
    listen_host: str = Field(
        "127.0.0.1",
        min_length=1,
        description="Address that health and metrics are served on; 0.0.0.0 inside a container.",
    )
