"""Settings of the HTTP gateway, from environment variables named `PHONEMETER_` plus the field."""

from typing import Annotated

from pydantic import Field

from producers.settings import ListeningSettings

ORIGINS = r"^(https?://[A-Za-z0-9.:\[\]-]+(,https?://[A-Za-z0-9.:\[\]-]+)*)?$"


class GatewaySettings(ListeningSettings):
    """Settings of the service that takes events over HTTP. Frozen."""

    gateway_host: str = Field(
        "127.0.0.1",
        min_length=1,
        description="Address that events are taken on over HTTP, behind a reverse proxy with TLS.",
    )
    gateway_port: int = Field(9471, ge=1, le=65_535, description="Port that events are taken on over HTTP.")
    gateway_metrics_port: int = Field(
        9472, ge=1, le=65_535, description="Port of the metrics and health of `phonemeter gateway`."
    )
    gateway_answer_s: float = Field(
        10,
        ge=0.5,
        le=600,
        description="How long a request may wait for Kafka's confirmation before it is answered that it "
        "has to be sent again.",
    )
    gateway_receive_s: float = Field(
        10,
        ge=0.5,
        le=600,
        description="How long a client may take to send the head, or the body, of a request.",
    )
    gateway_requests_max: int = Field(
        256,
        ge=1,
        le=10_000,
        description="Requests that are worked on at the same time; each has at most 1 MiB.",
    )
    gateway_events_per_s: int = Field(
        5_000,
        ge=1,
        le=1_000_000,
        description="Events that a key without a limit of its own may send per second.",
    )
    gateway_keys_interval_s: float = Field(
        2, ge=0.1, le=60, description="How often the API keys are read: a revoked one counts no longer."
    )
    gateway_access_log: bool = Field(
        True,  # noqa: FBT003 - a field's default
        description="Log a line per request: id, status, key, events and time; never a secret.",
    )
    gateway_cors_origins: Annotated[str, Field(pattern=ORIGINS)] = Field(
        "",
        description="Origins whose pages may send events from a browser; without one none may.",
        json_schema_extra={"expected": "https://HOST, several of them separated by commas"},
    )
