"""kafka-python's admin client, without its leaks."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from typing import Any, Final

from kafka import TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient
from kafka.errors import KafkaError, TransactionalIdNotFoundError
from kafka.structs import OffsetAndMetadata

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


class KafkaAdmin:
    """kafka-python's admin client, for topics and groups by their names without the prefix of the access."""

    def __init__(self, client: KafkaAdminClient, kafka: KafkaAccess) -> None:
        self._client = client
        self._kafka = kafka

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - what names neither topics nor groups
        return getattr(self._client, name)

    def describe_topics(self, topics: Iterable[str]) -> list[dict[str, Any]]:
        """Describe topics."""
        described = self._client.describe_topics([self._kafka.topic(topic) for topic in topics])
        return [{**one, "name": self._kafka.known(one["name"])} for one in described]

    def create_topics(self, wanted: Mapping[str, Any], **options: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - kafka-python's
        """Create topics; the answers, each with its topic's name."""
        named = {self._kafka.topic(topic): config for topic, config in wanted.items()}
        answered = self._client.create_topics(named, **options)["topics"]
        return [{**one, "name": self._kafka.known(one["name"])} for one in answered]

    def wait_for_topics(self, topics: Iterable[str]) -> None:
        """Wait until the brokers know topics."""
        self._client.wait_for_topics([self._kafka.topic(topic) for topic in topics])

    def topic_configs(self, topics: Iterable[str]) -> dict[str, dict[str, Any]]:
        """The configuration of topics, defaults included."""
        asked = [ConfigResource(ConfigResourceType.TOPIC, self._kafka.topic(topic)) for topic in topics]
        found = self._client.describe_configs(asked, config_filter="all")["topic"] if asked else {}
        return {self._kafka.known(topic): config for topic, config in found.items()}

    def set_topic_config(self, topic: str, config: Mapping[str, str]) -> str:
        """Set some of a topic's configuration; returns Kafka's word on it, which is OK if it was done."""
        name = self._kafka.topic(topic)
        asked = ConfigResource(ConfigResourceType.TOPIC, name, dict(config))
        return str(self._client.alter_configs([asked], raise_on_unknown=False)["topic"][name])

    def list_partition_offsets(
        self,
        wanted: Mapping[TopicPartition, Any],
        **options: Any,  # noqa: ANN401 - kafka-python's
    ) -> dict[TopicPartition, Any]:
        """Look up an offset of each partition."""
        named = {self._named(at): spec for at, spec in wanted.items()}
        return self._known(self._client.list_partition_offsets(named, **options))

    def delete_records(self, until: Mapping[TopicPartition, int]) -> None:
        """Delete the records of partitions that are before an offset."""
        self._client.delete_records({self._named(at): offset for at, offset in until.items()})

    def group_offsets(self, group: str) -> dict[TopicPartition, OffsetAndMetadata]:
        """The committed offsets of a consumer group."""
        name = self._kafka.group(group)
        return self._known(self._client.list_group_offsets(name)[name])

    def alter_group_offsets(self, group: str, offsets: Mapping[TopicPartition, OffsetAndMetadata]) -> None:
        """Set the committed offsets of a consumer group without members."""
        named = {self._named(at): offset for at, offset in offsets.items()}
        self._client.alter_group_offsets(self._kafka.group(group), named)

    def describe_group(self, group: str) -> dict[str, Any]:
        """Describe a consumer group."""
        name = self._kafka.group(group)
        described: dict[str, Any] = self._client.describe_groups([name])[name]
        return described

    def delete_group(self, group: str) -> str:
        """Delete a consumer group; returns Kafka's word on it, which is OK if it was done."""
        name = self._kafka.group(group)
        return str(self._client.delete_groups([name])[name])

    def check_transactional_id(self, name: str) -> None:
        """Check that we may see a transactional id, which need not be in use.

        Raises:
            TransactionalIdAuthorizationFailedError: we may not.
        """
        with suppress(TransactionalIdNotFoundError):
            self._client.describe_transactions([self._kafka.group(name)])

    def _named(self, at: TopicPartition) -> TopicPartition:
        return TopicPartition(self._kafka.topic(at.topic), at.partition)

    def _known(self, by_partition: Mapping[TopicPartition, Any]) -> dict[TopicPartition, Any]:
        return {
            TopicPartition(self._kafka.known(at.topic), at.partition): one for at, one in by_partition.items()
        }


@contextmanager
def admin_client(kafka: KafkaAccess) -> Iterator[KafkaAdmin]:
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
            yield KafkaAdmin(client, kafka)
