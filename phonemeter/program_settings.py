"""Settings of the program itself: environment variables named `PHONEMETER_` plus the field."""

from pathlib import Path
from typing import Annotated

from platformdirs import user_cache_path
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from phonemeter.log_lines import LogFormat


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
    audit_port: int = Field(
        9466, ge=1, le=65_535, description="Port of the metrics and health of `phonemeter audit --every`."
    )


class LogSettings(BaseSettings):
    """Settings of the log of every service. Frozen."""

    model_config = SettingsConfigDict(
        env_prefix="PHONEMETER_", env_ignore_empty=True, frozen=True, extra="forbid"
    )

    log_format: LogFormat = Field(
        "text", description="Form of the log lines of every service: text, or a JSON object a line."
    )


class BusinessSettings(BaseSettings):
    """Settings of the business database. Frozen."""

    model_config = SettingsConfigDict(
        env_prefix="PHONEMETER_", env_ignore_empty=True, frozen=True, extra="forbid"
    )

    business_database: Annotated[str, Field(pattern=r"^(sqlite:////.+|postgresql://[^/]+/.+)?$")] = Field(
        "",
        description="URL of the business database, which has API keys, owners and members; without one it is "
        "SQLite in data_dir.",
        repr=False,
        json_schema_extra={
            "secret": True,
            "expected": "sqlite:////PATH or postgresql://USER:PASSWORD@HOST/NAME",
        },
    )


class StackSettings(BaseSettings):
    """Settings of the one-machine stack. Frozen. Every port is on loopback."""

    model_config = SettingsConfigDict(
        env_prefix="PHONEMETER_", env_ignore_empty=True, frozen=True, extra="forbid"
    )

    data_dir: Path = Field(
        Path(".phonemeter"),
        description="Directory of everything that the one-machine stack writes: data, logs and its lock.",
    )
    cache_dir: Path = Field(
        default_factory=lambda: user_cache_path("phonemeter", appauthor=False),
        description="Directory of downloads that every stack of this user shares: Kafka's jars.",
    )
    kafka_port: int = Field(9092, ge=1, le=65_535, description="Port of the stack's own Kafka broker.")
    kafka_controller_port: int = Field(
        9093, ge=1, le=65_535, description="Port of the controller inside the stack's own Kafka."
    )
    kafka_heap_mb: int = Field(
        384, ge=192, le=65_536, description="Heap of the stack's own Kafka, in mebibytes."
    )
    engine_native_port: int = Field(
        9000, ge=1, le=65_535, description="Port of the embedded ClickHouse: native protocol."
    )
    engine_http_port: int = Field(8123, ge=1, le=65_535, description="Port of the embedded ClickHouse: HTTP.")
    engine_password: str = Field(
        "",
        description="Password of user default of the embedded ClickHouse; on loopback it may be empty.",
        repr=False,
        json_schema_extra={"secret": True},
    )
    wechat_sim: bool = Field(
        False,  # noqa: FBT003 - a field's default
        description="Run the stand-in for WeChat in the stack (`phonemeter up --with-wechat-sim`).",
    )
    wechat_sim_port: int = Field(
        9470, ge=1, le=65_535, description="Port of the stand-in for WeChat: `phonemeter wechat-sim`."
    )
    ready_timeout_s: int = Field(
        120, ge=1, le=3600, description="How long the stack may take from its start until all of it is ready."
    )
