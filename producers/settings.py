"""Settings of the producer, from environment variables named `PHONEMETER_` plus the field."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from kafka_access.settings import KafkaSettings


class ProducerSettings(KafkaSettings):
    """Settings of the producer. Frozen."""

    producer_block_s: float = Field(
        10,
        ge=0.1,
        le=600,
        description="How long connecting may take, and how long publishing in bulk may wait for room in the "
        "buffer, before it says so.",
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
    openid_store: Path | None = Field(
        None,
        description="File that the openids given with events are kept in, encrypted, for 35 days "
        "(docs/how-to/agreement.md); without one none are kept.",
    )
    openid_keys: str = Field(
        "",
        description="Key of that file; several are separated by commas, the first encrypts.",
        repr=False,
        json_schema_extra={"secret": True},
    )
    openid_store_bytes_max: int = Field(
        1_073_741_824,
        ge=1_048_576,
        le=1_099_511_627_776,
        description="Size of that file from which on no more openids are kept.",
    )


class ListeningSettings(ProducerSettings):
    """Settings that the services of this stage share: they answer questions about their health. Frozen."""

    listen_host: str = Field(
        "127.0.0.1",
        min_length=1,
        description="Address that health and metrics are served on; 0.0.0.0 inside a container.",
    )
