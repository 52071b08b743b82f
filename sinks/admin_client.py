"""kafka-python's admin client, without its leaks."""

import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Final

from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaConnectionError, KafkaError

from sinks.kafka_consumer import translate_kafka_errors

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
def admin_client(bootstrap: str) -> Iterator[KafkaAdminClient]:
    """Provide an admin client for the block.

    Raises:
        KafkaError: the brokers do not answer, or kafka-python fails within the block.
    """
    # First, because it is quick, and kafka-python leaves sockets open when nobody answers.
    _connect_to_any(bootstrap)
    with translate_kafka_errors():
        client = _Admin(
            bootstrap_servers=bootstrap.split(","),
            bootstrap_timeout_ms=CONNECT_TIMEOUT_MS,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
        )
        with closing(client):
            yield client


def _connect_to_any(bootstrap: str) -> None:
    refused: OSError | None = None
    for server in bootstrap.split(","):
        host, _, port = server.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_TIMEOUT_MS / 1000).close()
        except OSError as error:
            refused = error
        else:
            return
    if refused is not None:
        raise KafkaConnectionError(f"{bootstrap} does not answer: {refused.strerror or refused}") from refused
