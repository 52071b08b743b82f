"""Settings of the client of back ends: where its events go, and how many may wait."""

from typing import Annotated, Literal

from pydantic import Field, ValidationError

from producers.errors import ProducerError
from producers.settings import ProducerSettings

ClientTransport = Literal["kafka", "gateway", "disabled"]


class ClientSettings(ProducerSettings):
    """Settings of the client, from the environment or given. Frozen."""

    client_transport: ClientTransport = Field(
        "kafka",
        description="Where events go: to Kafka, to the gateway, or nowhere: then they are only checked.",
    )
    client_gateway_url: Annotated[str, Field(pattern=r"^https?://[^\s/?#]+(/[^\s?#]*)?$")] = Field(
        "http://127.0.0.1:9471", description="URL of the gateway, without /v1/events."
    )
    client_gateway_key: str = Field(
        "",
        description="API key for the gateway, with the scope emit.",
        repr=False,
        json_schema_extra={"secret": True},
    )
    client_queue_events: int = Field(
        20_000, ge=1, le=10_000_000, description="How many events may wait for their delivery."
    )


def client_settings(given: ProducerSettings | None) -> ClientSettings:
    """The settings given, or those of the environment. Settings of another producer lead to Kafka.

    Raises:
        ProducerError: a variable of the environment can't be understood.
    """
    if isinstance(given, ClientSettings):
        return given
    try:
        if given is None:
            return ClientSettings()
        fields = {name: getattr(given, name) for name in ProducerSettings.model_fields}
        return ClientSettings(**fields, client_transport="kafka")
    except ValidationError as error:
        first = error.errors()[0]
        name = "_".join(str(part) for part in first["loc"])
        raise ProducerError(
            f"PHONEMETER_{name.upper()} can't be understood: {first['msg']}; give it another value."
        ) from None
