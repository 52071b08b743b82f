"""What the stream worker can be told, and how: environment variables named `PHONEMETER_` plus the field."""

from datetime import datetime, timedelta, timezone
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from metering.rules import Rules
from metering.times import SECOND_MS, to_ms


class WorkerSettings(BaseSettings):
    """Settings of the stream worker. Frozen; the defaults meter the public WeChat components as announced."""

    model_config = SettingsConfigDict(
        env_prefix="PHONEMETER_", env_ignore_empty=True, frozen=True, extra="forbid"
    )

    kafka: Annotated[str, Field(pattern=r"^[^\s,]+:\d{1,5}(,[^\s,]+:\d{1,5})*$")] = Field(
        "127.0.0.1:9092",
        description="Kafka bootstrap servers.",
        json_schema_extra={"expected": "HOST:PORT, several of them separated by commas"},
    )
    partitions: int = Field(
        4,
        ge=1,
        le=1024,
        description="Partitions of every topic; it bounds how many workers share the load and is fixed "
        "once the topics exist.",
    )
    billing_start: AwareDatetime = Field(
        datetime(2023, 8, 26, tzinfo=timezone(timedelta(hours=8))),
        description="When calls began to cost; earlier calls are free and touch neither trial nor packs.",
        json_schema_extra={
            "expected": "a time with its UTC offset, for example 2023-08-26T00:00:00+08:00",
        },
    )
    trial_calls: int = Field(
        1000, ge=0, le=1_000_000_000, description="Calls of the trial quota that each app gets once."
    )
    trial_scope: Literal["account", "capability"] = Field(
        "account",
        description="Whether an app has one trial quota for everything or one per capability.",
    )
    allowed_lateness_s: int = Field(
        86_400, ge=0, le=31_536_000, description="How long past its expiry a pack stays open for late events."
    )
    duplicate_window_s: int = Field(
        86_400,
        ge=0,
        le=31_536_000,
        description="How long an event id is remembered to refuse its duplicates.",
    )
    clock: Literal["wall", "events"] = Field(
        "wall",
        description="Where time comes from: `wall` lets the worker write clock ticks, `events` takes the "
        "events' own times, for demos, simulations and backfills of the past.",
    )
    tick_interval_s: int = Field(
        10, ge=1, le=3600, description="Pause between two clock ticks in a partition (clock `wall` only)."
    )
    listen_host: str = Field(
        "127.0.0.1",
        min_length=1,
        description="Address that health and metrics are served on; 0.0.0.0 inside a container.",
    )
    worker_port: int = Field(
        6066, ge=1, le=65_535, description="Port of the worker's web server: health and metrics."
    )

    def rules(self) -> Rules:
        """The parameters of metering that these settings ask for."""
        return Rules(
            billing_start_ms=to_ms(self.billing_start),
            trial_calls=self.trial_calls,
            trial_scope=self.trial_scope,
            allowed_lateness_ms=self.allowed_lateness_s * SECOND_MS,
            duplicate_window_ms=self.duplicate_window_s * SECOND_MS,
        )
