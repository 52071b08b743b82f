"""Every client library reaches a secured broker in every way, and each refusal is one sentence."""

import asyncio
from collections.abc import Callable
from contextlib import closing

import pytest

from kafka_access.access import KafkaAccess
from metering.topics import EVENTS
from phonemeter.kafka_admin import cluster_id
from phonemeter.topic_reader import open_reader
from sinks.kafka_consumer import consumer
from sinks.kafka_producer import ConfirmingProducer
from streams.log_view import LogViewer
from streams.preconditions import ask
from tests.kafka_access.secured import USERS, SecureKafka


def by_admin(access: KafkaAccess) -> None:
    assert cluster_id(access)


def by_sink(access: KafkaAccess) -> None:
    with closing(consumer(access, client_id="tests")) as reader:
        assert reader.partitions_for_topic(EVENTS) == {0}
    producer = ConfirmingProducer(access, "tests")
    assert producer.partition_count(EVENTS) == 1
    producer.close()


def by_reader(access: KafkaAccess) -> None:
    with open_reader(access) as reader:
        assert reader.spans(EVENTS).keys() == reader.spans_since(EVENTS, 0).keys() == {0}


def by_worker(access: KafkaAccess) -> None:
    assert ask(access).topics[EVENTS].partitions == 1
    assert asyncio.run(LogViewer(access).look({0: 0})).keys() == {0}


CLIENTS = (by_admin, by_sink, by_reader, by_worker)


@pytest.mark.parametrize("reach", CLIENTS)
def test_each_client_gets_in_by_user_token_and_certificate(
    secure_kafka: SecureKafka, reach: Callable[[KafkaAccess], None]
) -> None:
    for access in (
        *(secure_kafka.as_user(mechanism=mechanism) for mechanism in USERS),
        secure_kafka.by_token(),
        secure_kafka.by_certificate(),
    ):
        reach(access)
