"""deploy/compose/producers.yml, carried out by a broker: other machines write events, and nothing else."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
from confluent_kafka import KafkaError, Producer
from kafka.admin import ACL, ACLOperation, ACLPermissionType, ResourcePattern, ResourceType

from kafka_access.access import KafkaAccess
from metering.topics import EVENTS, LEDGER
from phonemeter.kafka_admin import admin
from phonemeter.settings import load
from phonemeter.stack import services
from phonemeter.stack.directory import StackDirectory
from phonemeter.stack.kafka.topics import ensure_topics
from phonemeter.stack.probes import listens
from tests.brokers.authority import Authority
from tests.compose_files import kafka_properties, read_filled
from tests.conftest import PARTITIONS, supervised_service
from tests.real_parts import starts_real_parts
from tests.test_compose import COMPOSE, PASSWORDS, ROOT
from tests.waiting import WITHIN_S, blocking_until

FILE = ROOT / "deploy" / "compose" / "producers.yml"
HOST = "127.0.0.1"
GIVEN = {
    "KAFKA_PRODUCERS_HOST": HOST,
    "KAFKA_PRODUCERS_ADDRESS": "192.0.2.1",
    "PRODUCER_PASSWORD": "producersecret",
}


@dataclass(frozen=True, slots=True)
class Guarded:
    """The broker: its port for producers, and the authority of its certificate."""

    port: int
    authority: Authority

    def producer(self, **changes: object) -> Producer:
        """A producer of another machine."""
        access = {
            "bootstrap.servers": f"{HOST}:{self.port}",
            "security.protocol": "SASL_SSL",
            "ssl.ca.location": str(self.authority.file),
            "sasl.mechanism": "PLAIN",
            "sasl.username": "producer",
            "sasl.password": GIVEN["PRODUCER_PASSWORD"],
            "log_level": 0,
        }
        return Producer({**access, **changes})


def rights(service: dict[str, list[str]]) -> list[ACL]:
    """The rights that kafka-acls.sh gives, which is not among the jars here."""
    assert service["entrypoint"] == ["/opt/kafka/bin/kafka-acls.sh"]
    server, add, *options = service["command"]
    assert (server, add) == ("--bootstrap-server=kafka:19092", "--add")
    told = [option.removeprefix("--").split("=") for option in options]
    (topic,) = (value for name, value in told if name == "topic")
    (principal,) = (value for name, value in told if name == "allow-principal")
    operations = [ACLOperation[value.upper()] for name, value in told if name == "operation"]
    assert len(operations) == len(told) - 2
    resource = ResourcePattern(ResourceType.TOPIC, topic)
    return [ACL(principal, "*", operation, ACLPermissionType.ALLOW, resource) for operation in operations]


@pytest.fixture(scope="module")
@starts_real_parts
def guarded(tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]) -> Iterator[Guarded]:
    """A broker with the configuration of both files; only places and ports are this machine's."""
    directory = tmp_path_factory.mktemp("compose")
    authority = Authority(directory / "authority")
    ports = {"19092": free_port(), "9092": free_port(), "9093": free_port(), "9094": free_port()}
    settings = load(data_dir=directory, kafka_port=ports["19092"], kafka_controller_port=ports["9093"])
    service = services.kafka(settings, StackDirectory(directory))
    environment = read_filled(COMPOSE, PASSWORDS)["services"]["kafka"]["environment"]
    laid_over = read_filled(FILE, GIVEN)["services"]
    properties = kafka_properties({**environment, **laid_over["kafka"]["environment"]})
    file = Path(service.command[-1])
    own = dict(line.split("=", 1) for line in file.read_text(encoding="utf-8").splitlines())
    properties["log.dirs"] = own["log.dirs"]
    properties["controller.quorum.voters"] = own["controller.quorum.voters"]
    properties["listener.name.producers.ssl.keystore.location"] = str(authority.issue("broker").both)
    for name in ("listeners", "advertised.listeners"):
        addresses = properties[name].replace("://:", f"://{HOST}:").replace("kafka:", f"{HOST}:")
        for inside, outside in ports.items():
            addresses = addresses.replace(f"{HOST}:{inside}", f"{HOST}:{outside}")
        properties[name] = addresses
    file.write_text("".join(f"{name}={value}\n" for name, value in properties.items()), encoding="utf-8")
    ready = partial(listens, ports["9094"])
    with supervised_service(replace(service, ready=ready, liveness=None)):
        ensure_topics(KafkaAccess(settings.kafka), PARTITIONS)
        with admin(KafkaAccess(settings.kafka)) as client:
            client.create_acls(rights(laid_over["rights"]))
        yield Guarded(ports["9094"], authority)


def test_a_producer_of_another_machine_may_write_events_and_nothing_else(guarded: Guarded) -> None:
    producer = guarded.producer()
    answers: dict[str | None, KafkaError | None] = {}
    for topic in (EVENTS, LEDGER):
        producer.produce(topic, b"{}", on_delivery=lambda error, sent: answers.update({sent.topic(): error}))
    producer.flush(WITHIN_S)
    refused = answers.pop(LEDGER)
    assert answers == {EVENTS: None}
    assert refused is not None
    assert refused.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED


@pytest.mark.parametrize(
    "changes",
    [
        {"sasl.password": "guessed"},
        {"security.protocol": "SASL_PLAINTEXT"},
        {"security.protocol": "PLAINTEXT"},
    ],
    ids=["wrong password", "without TLS", "without TLS and login"],
)
def test_nobody_gets_in_without_the_password_or_without_tls(
    guarded: Guarded, changes: dict[str, str]
) -> None:
    refused: list[KafkaError] = []
    producer = guarded.producer(**changes, error_cb=refused.append)
    blocking_until(lambda: producer.poll(0.1) >= 0 and bool(refused))
    assert {error.code() for error in refused} <= {
        KafkaError._AUTHENTICATION,
        KafkaError._TRANSPORT,
        KafkaError._ALL_BROKERS_DOWN,
    }


def test_the_listener_without_login_stays_on_loopback() -> None:
    kafka = read_filled(FILE, GIVEN)["services"]["kafka"]
    base = read_filled(COMPOSE, PASSWORDS)["services"]["kafka"]
    assert base["ports"] == [f"{HOST}:9092:9092"]
    assert kafka["ports"] == ["192.0.2.1:9094:9094"]
    protocols = dict(
        one.split(":") for one in kafka["environment"]["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(",")
    )
    assert {name for name, protocol in protocols.items() if protocol == "SASL_SSL"} == {"PRODUCERS"}
    assert PASSWORDS.keys().isdisjoint(GIVEN)
