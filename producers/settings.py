"""What the producer can be told, and how: environment variables named `PHONEMETER_` plus the field."""

from typing import Annotated, Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class ProducerSettings(BaseSettings):
    """Settings of the producer. Frozen."""

    model_config = SettingsConfigDict(
        env_prefix="PHONEMETER_", env_ignore_empty=True, frozen=True, extra="forbid"
    )

    kafka: Annotated[str, Field(pattern=r"^[^\s,]+:\d{1,5}(,[^\s,]+:\d{1,5})*$")] = Field(
        "127.0.0.1:9092",
        description="Kafka bootstrap servers.",
        json_schema_extra={"expected": "HOST:PORT, several of them separated by commas"},
    )
    producer_block_s: float = Field(
        10,
        ge=0.1,
        le=600,
        description="How long publishing may block, to connect or for room in the buffer, before it says so.",
    )
    producer_delivery_timeout_s: float = Field(
        30,
        ge=1,
        le=3600,
        description="How long Kafka may take to confirm an event, retries included, or it counts as failed.",
    )
    producer_buffer_bytes: int = Field(
        33_554_432,
        ge=131_072,
        le=2_147_483_648,
        description="Memory for events that Kafka has not confirmed yet.",
    )
    producer_linger_ms: int = Field(
        20, ge=0, le=1_000, description="How long an event may wait for others to travel with."
    )
    producer_compression: Literal["none", "lz4"] = Field(
        "lz4", description="How batches of events are compressed."
    )
