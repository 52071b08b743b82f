"""The settings of the stream worker: environment variables named `PHONEMETER_` plus the field."""

from datetime import datetime, timedelta, timezone
from typing import Final

from pydantic import AwareDatetime, Field

from kafka_access.settings import KafkaSettings
from metering.rules import Clock, Rules, Terms, TrialScope
from metering.times import DAY_MS, SECOND_MS, to_ms

_DEFAULTS: Final = Rules()


class WorkerSettings(KafkaSettings):
    """Settings of the stream worker. Frozen; the defaults meter the public WeChat components as announced."""

    partitions: int = Field(
        4,
        ge=1,
        le=1024,
        description="Partitions of every topic; it bounds how many workers share the load and is fixed "
        "once the topics exist.",
    )
    billing_start: AwareDatetime = Field(
        datetime.fromtimestamp(_DEFAULTS.billing_start_ms / SECOND_MS, timezone(timedelta(hours=8))),
        description="When calls began to cost; earlier calls are free and touch neither trial nor packs.",
        json_schema_extra={
            "expected": "a time with its UTC offset, for example 2023-08-26T00:00:00+08:00",
        },
    )
    trial_calls: int = Field(
        _DEFAULTS.trial_calls,
        ge=0,
        le=1_000_000_000,
        description="Calls of the trial quota that each app gets once.",
    )
    trial_scope: TrialScope = Field(
        _DEFAULTS.trial_scope,
        description="Whether an app has one trial quota for everything or one per capability.",
    )
    allowed_lateness_s: int = Field(
        _DEFAULTS.allowed_lateness_ms // SECOND_MS,
        ge=0,
        le=31_536_000,
        description="How long past its expiry a pack stays open for late events.",
    )
    duplicate_window_s: int = Field(
        _DEFAULTS.duplicate_window_ms // SECOND_MS,
        ge=0,
        le=315_360_000,
        description="How long an event id is remembered at least to recognise repeats, as far as "
        "`remembered_ids_max` allows; by clock ticks, so only with clock `wall`.",
    )
    remembered_ids_max: int = Field(
        _DEFAULTS.remembered_ids_max,
        ge=0,
        le=100_000_000,
        description="How many event ids a partition remembers; the oldest beyond it are forgotten.",
    )
    refusal_quiet_s: int = Field(
        _DEFAULTS.refusal_quiet_ms // SECOND_MS,
        ge=1,
        le=86_400,
        description="How long calls have to be granted without a refusal by the platform until the alert "
        "`refused` recovers.",
    )
    settle_horizon_d: int = Field(
        _DEFAULTS.settle_horizon_ms // DAY_MS,
        ge=0,
        le=3_660,
        description="How many days before an app's clock a late fact is settled; an older one is only named.",
    )
    clock: Clock = Field(
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
        """The parameters of metering in these settings."""
        return Rules(
            billing_start_ms=to_ms(self.billing_start),
            trial_calls=self.trial_calls,
            trial_scope=self.trial_scope,
            allowed_lateness_ms=self.allowed_lateness_s * SECOND_MS,
            duplicate_window_ms=self.duplicate_window_s * SECOND_MS,
            remembered_ids_max=self.remembered_ids_max,
            refusal_quiet_ms=self.refusal_quiet_s * SECOND_MS,
            settle_horizon_ms=self.settle_horizon_d * DAY_MS,
        )

    def terms(self) -> Terms:
        """The terms of metering in these settings."""
        return Terms(rules=self.rules(), clock=self.clock)
