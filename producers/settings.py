"""What the producer can be told, and how: environment variables named `PHONEMETER_` plus the field."""

from typing import Annotated

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
