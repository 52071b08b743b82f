"""kafka-python's admin client, without its leaks."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Final

from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError

from kafka_access.access import KafkaAccess
from kafka_access.kafka_python import kafka_python_options
from sinks.kafka_consumer import require_kafka, translate_kafka_errors

CONNECT_TIMEOUT_MS: Final = 10_000
REQUEST_TIMEOUT_MS: Final = 15_000


class _Admin(KafkaAdminClient):  # type: ignore[misc] # kafka-python has no types
    """Closes the thread and sockets that kafka-python 3.0.12 leaves open when the server is no broker."""

    def __init__(self, **configs: object) -> None:
        try:
            super().__init__(**configs)
        except KafkaError:
            self._client.close()
            self._net.stop()
            raise


@contextmanager
def admin_client(kafka: KafkaAccess) -> Iterator[KafkaAdminClient]:
    """Provide an admin client for the block.

    Raises:
        KafkaError: the brokers do not answer, or kafka-python fails within the block.
    """
    require_kafka(kafka)
    with translate_kafka_errors():
        client = _Admin(
            **kafka_python_options(kafka),
            bootstrap_timeout_ms=CONNECT_TIMEOUT_MS,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
        )
        with closing(client):
            yield client
