"""Kafka's admin client, whose failures are sentences."""

from collections.abc import Iterator
from contextlib import contextmanager

from kafka.errors import KafkaError

from kafka_access.access import KafkaAccess, KafkaAccessError
from phonemeter.errors import OperationError
from sinks.admin_client import KafkaAdmin, admin_client
from sinks.kafka_consumer import LibraryError


@contextmanager
def admin(kafka: KafkaAccess) -> Iterator[KafkaAdmin]:
    """kafka-python's admin client on the brokers, closed at the end.

    Raises:
        OperationError: the brokers do not answer, or refuse what is asked of them.
    """
    connected = False
    try:
        with admin_client(kafka) as client:
            connected = True
            yield client
    except KafkaError as error:
        refused = error.__cause__
        if isinstance(refused, KafkaAccessError) and not refused.unreachable:
            raise OperationError(f"{refused}.") from error
        if not connected:
            raise OperationError(
                f"Kafka at {kafka} does not answer; start it (phonemeter up) or set PHONEMETER_KAFKA "
                f"(kafka in phonemeter.toml) to where it is."
            ) from error
        told = error.args[0] if isinstance(error, LibraryError) else getattr(error, "description", None)
        why = told or str(error)
        raise OperationError(f"Kafka at {kafka} did not do what was asked: {why}") from error


def cluster_id(kafka: KafkaAccess) -> str:
    """The id of the Kafka cluster.

    Raises:
        OperationError: the brokers do not answer.
    """
    with admin(kafka) as client:
        return str(client.describe_cluster()["cluster_id"])


def partition_count(kafka: KafkaAccess, topic: str) -> int:
    """The number of partitions of a topic.

    Raises:
        OperationError: there is no such topic, or the brokers do not answer.
    """
    with admin(kafka) as client:
        described = client.describe_topics([topic])[0]
        if described["error_code"] != 0:
            raise OperationError(f"Kafka has no topic {topic}; phonemeter up creates it.")
        return len(described["partitions"])
