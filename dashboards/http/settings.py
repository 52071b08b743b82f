"""Settings of the reads over HTTP, from environment variables named `PHONEMETER_` plus the field."""

from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class ReadsSettings(BaseSettings):
    """Settings of the reads, which the gateway serves. Frozen."""

    model_config = SettingsConfigDict(
        env_prefix="PHONEMETER_", env_ignore_empty=True, frozen=True, extra="forbid"
    )

    reads_clickhouse: Annotated[
        str, Field(pattern=r"^(clickhouses?://[^\s]+/[A-Za-z_][A-Za-z0-9_]*(\?[^\s]*)?)?$")
    ] = Field(
        "",
        description="URL of the ledger's database for reads over HTTP, with an account that may only read; "
        "without one it is `clickhouse`. Every query is sent as read-only in any case.",
        repr=False,
        json_schema_extra={
            "expected": "a URL of the form clickhouse://USER[:PASSWORD]@HOST:PORT/DATABASE",
            "secret": True,
        },
    )
    reads_connections: int = Field(
        2, ge=1, le=32, description="Reads over HTTP that ask ClickHouse at the same time."
    )
    reads_waiting_max: int = Field(
        64, ge=0, le=10_000, description="Reads over HTTP that may wait for their turn; others get 503."
    )
    reads_answer_s: float = Field(
        10, ge=0.5, le=300, description="How long a read over HTTP may take, waiting included."
    )
    reads_explain_s: float = Field(
        60, ge=1, le=3_600, description="How long the explanation of one event over HTTP may take."
    )
    reads_explain_mb: int = Field(
        2_048, ge=256, le=65_536, description="Memory of the process that explains an event, in mebibytes."
    )
