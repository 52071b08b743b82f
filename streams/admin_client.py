"""librdkafka's admin client, and its errors in one line."""

from typing import Any, Final

from confluent_kafka import KafkaError
from confluent_kafka.admin import AdminClient

from kafka_access.access import KafkaAccess
from kafka_access.librdkafka import librdkafka_options

TIMEOUT_S: Final = 10.0


def admin_client(kafka: KafkaAccess, name: str) -> AdminClient:
    """An admin client that logs nothing: its callers report errors."""
    settings: dict[str, Any] = {
        **librdkafka_options(kafka),
        "client.id": name,
        "socket.timeout.ms": int(TIMEOUT_S * 1_000),
        "error_cb": _ignore,
        "log_level": 0,
    }
    return AdminClient(settings)


def error_text(error: KafkaError) -> str:
    """An error in one line, without a full stop."""
    return " ".join(error.str().split()).rstrip(".")


def _ignore(_error: KafkaError) -> None:
    """Errors are in the answers, too."""
