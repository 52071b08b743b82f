"""The topics on a broker: created where missing, refused where they are not what the rules rely on."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient
from kafka.errors import KafkaError, NoError, TopicAlreadyExistsError, for_code

from metering.topics import ALL
from phonemeter.errors import OperationError, UserError

CONNECT_TIMEOUT_MS: Final = 10_000
REQUEST_TIMEOUT_MS: Final = 15_000


class _Admin(KafkaAdminClient):  # type: ignore[misc] # kafka-python has no types
    """Closes what kafka-python 3.0.12 leaves open, a thread and sockets, when what answers is no broker."""

    def __init__(self, **configs: object) -> None:
        try:
            super().__init__(**configs)
        except KafkaError:
            self._client.close()
            self._net.stop()
            raise


@contextmanager
def admin(bootstrap: str) -> Iterator[KafkaAdminClient]:
    """kafka-python's admin client on the brokers, closed at the end.

    Raises:
        OperationError: the brokers do not answer, or refuse what is asked of them.
    """
    try:
        # Asked first, because it is quick and kafka-python leaves sockets open when it finds nobody.
        _connect_to_any(bootstrap)
        client = _Admin(
            bootstrap_servers=bootstrap.split(","),
            bootstrap_timeout_ms=CONNECT_TIMEOUT_MS,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
        )
    except (KafkaError, OSError) as error:
        raise OperationError(
            f"Kafka at {bootstrap} does not answer; start it (phonemeter up) or set PHONEMETER_KAFKA "
            f"(kafka in phonemeter.toml) to where it is."
        ) from error
    try:
        yield client
    except KafkaError as error:
        why = getattr(error, "description", None) or str(error)
        raise OperationError(f"Kafka at {bootstrap} did not do what was asked: {why}") from error
    finally:
        client.close()


def _connect_to_any(bootstrap: str) -> None:
    """Raise the last server's OSError if none of them accepts a connection."""
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
        raise refused


def ensure_topics(bootstrap: str, partitions: int) -> list[str]:
    """Create the topics that are missing and check the others; the names of those created. Blocking.

    Raises:
        OperationError: the brokers do not answer.
        UserError: a topic has another number of partitions, or a configuration that breaks the rules.
    """
    with admin(bootstrap) as client:
        created = _create_missing(client, partitions)
        _check_partitions(client, partitions)
        _check_configs(client)
    return created


def _create_missing(client: KafkaAdminClient, partitions: int) -> list[str]:
    """Ask for all: the controller knows which exist, a broker's list of topics may lag behind."""
    wanted = {
        topic.name: {
            "num_partitions": partitions,
            # Minus one: the broker's default, 1 in the stack, 3 in a cluster that says so.
            "replication_factor": -1,
            "configs": topic.config,
        }
        for topic in ALL
    }
    created = []
    for answer in client.create_topics(wanted, raise_errors=False)["topics"]:
        error = for_code(answer["error_code"])
        if error is NoError:
            created.append(answer["name"])
        elif error is not TopicAlreadyExistsError:
            raise error(answer["error_message"])
    client.wait_for_topics(list(wanted))
    return created


def _check_partitions(client: KafkaAdminClient, partitions: int) -> None:
    described = {one["name"]: one for one in client.describe_topics([topic.name for topic in ALL])}
    counts = {topic.name: len(described[topic.name]["partitions"]) for topic in ALL}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise UserError(
            f"The topics have different numbers of partitions ({told}): one was changed after it was made, "
            f"and an app's state does not move with its key; restore it, or start over with empty topics."
        )
    for name, found in counts.items():
        if found != partitions:
            raise UserError(
                f"Topic {name} has {found} partitions but PHONEMETER_PARTITIONS (partitions in "
                f"phonemeter.toml) is {partitions}; set it to {found}: an app's state lives in its partition "
                f"and does not move."
            )


def _check_configs(client: KafkaAdminClient) -> None:
    resources = [ConfigResource(ConfigResourceType.TOPIC, topic.name, list(topic.config)) for topic in ALL]
    found = client.describe_configs(resources, config_filter="all")["topic"]
    for topic in ALL:
        for key, wanted in topic.config.items():
            value = found[topic.name][key]["value"]
            if value != wanted:
                raise UserError(
                    f"Topic {topic.name} has {key}={value} but the rules of metering rely on {wanted}; set "
                    f"it with: kafka-configs.sh --alter --topic {topic.name} --add-config {key}={wanted}"
                )
