"""Every client library reaches a secured broker in every way, and each refusal is one sentence."""

import asyncio
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from aiokafka.errors import KafkaError as AiokafkaError
from kafka.errors import KafkaError

from kafka_access.access import KafkaAccess, KafkaAccessError, Tls, TokenEndpoint
from kafka_access.connection_steps import trouble
from kafka_access.tokens import forget_token, tokens_of
from metering.topics import EVENTS
from phonemeter.errors import OperationError
from phonemeter.kafka_admin import cluster_id
from phonemeter.topic_reader import open_reader
from producers.connection import connect, dispose
from producers.errors import UnavailableError
from producers.librdkafka import connect as connect_in_bulk
from producers.settings import ProducerSettings
from sinks.kafka_consumer import consumer
from sinks.kafka_producer import ConfirmingProducer
from streams.log_view import LogViewer
from streams.preconditions import ask
from tests.brokers.authority import Authority
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


def by_producer(access: KafkaAccess) -> None:
    """Connect by both libraries that publish events."""
    login = access.login
    assert login is not None
    settings = ProducerSettings(
        kafka=access.brokers,
        kafka_security="sasl_tls",
        kafka_ca_file=access.tls.ca_file if access.tls else None,
        kafka_sasl_mechanism=login.mechanism,
        kafka_user=login.user,
        kafka_password=login.given_password,
    )
    dispose(connect(settings), give_up=False)
    assert connect_in_bulk(settings, lambda _: None).partitions == 1


def test_each_client_says_in_one_sentence_why_it_is_not_let_in(
    secure_kafka: SecureKafka, tmp_path: Path
) -> None:
    by_producer(secure_kafka.as_user())
    wrong = secure_kafka.as_user(password="wrong")  # noqa: S106 - it is wrong
    address = wrong.brokers
    other = Authority(tmp_path, "Other")
    cases = {
        f"{address} refuses user admin (Authentication failed": wrong,
        f"The certificate of {address} is not signed by a CA that we trust": replace(
            secure_kafka.as_user(), tls=Tls(ca_file=other.file)
        ),
        "offers no login by SCRAM-SHA-512 but by PLAIN": replace(
            secure_kafka.as_user(), brokers=secure_kafka.astray
        ),
    }
    for told, access in cases.items():
        for reach in (*CLIENTS, by_producer):
            with pytest.raises((KafkaError, OperationError, KafkaAccessError, UnavailableError)) as refused:
                reach(access)
            assert told in str(refused.value), reach
            assert "\n" not in str(refused.value)


def test_clients_share_a_token_until_brokers_refuse_it(secure_kafka: SecureKafka) -> None:
    access, tokens = secure_kafka.by_token(), secure_kafka.tokens
    forget_token(access)
    before = len(tokens.given)
    for reach in (*CLIENTS, *CLIENTS):
        reach(access)
    assert len(tokens.given) == before + 1

    viewer = LogViewer(access)

    def by_viewer(_: KafkaAccess) -> None:
        asyncio.run(viewer.look({0: 0}))

    each: tuple[Callable[[KafkaAccess], None], ...] = (by_admin, by_sink, by_viewer)
    for refused_first in each:
        forget_token(access)
        tokens.revoked = True
        refused = tokens_of(endpoint_of(access)).token()
        tokens.revoked = False
        with pytest.raises((AiokafkaError, KafkaError, OperationError)):
            refused_first(access)
        refused_first(access)
        assert tokens_of(endpoint_of(access)).token() == tokens.given[-1] != refused


def endpoint_of(access: KafkaAccess) -> TokenEndpoint:
    assert access.login is not None
    assert access.login.endpoint is not None
    return access.login.endpoint


def test_a_listener_of_another_security_is_named(secure_kafka: SecureKafka) -> None:
    plain = KafkaAccess(secure_kafka.cluster.secure)
    assert "check the port and PHONEMETER_KAFKA_SECURITY" in trouble(plain)
    secured = replace(secure_kafka.as_user(), brokers=secure_kafka.cluster.open)
    assert "does not speak TLS with us" in trouble(secured)
    without = KafkaAccess(secure_kafka.cluster.mutual, tls=secure_kafka.tls)
    assert "refuses our certificate or wants one" in trouble(without)
    assert trouble(secure_kafka.by_certificate()) == ""
