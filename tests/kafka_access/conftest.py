"""A broker with TLS, logins and rights, for the tests of the access to Kafka."""

from collections.abc import Iterator

import pytest

from kafka_access.access import KafkaAccess
from phonemeter.stack.kafka.topics import ensure_topics
from tests.kafka_access.secured import SecureKafka, secure_broker
from tests.real_parts import starts_real_parts


@pytest.fixture(scope="session")
@starts_real_parts
def secure_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureKafka]:
    """One broker with an account per service, without rights, and the topics of phonemeter."""
    with secure_broker(tmp_path_factory.mktemp("secure-kafka")) as kafka:
        ensure_topics(KafkaAccess(kafka.cluster.open), 1)
        yield kafka
