"""`phonemeter doctor` on a secured broker: it finds what was planted, and says what to ask for."""

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import zip_longest
from pathlib import Path

import pytest

from kafka_access.access import KafkaAccess, Tls
from metering.kafka_rights import RIGHTS, ResourceRights, needed_rights
from metering.topics import EVENTS
from phonemeter.doctor.findings import Findings, StepFinding
from phonemeter.doctor.kafka_steps import KafkaSteps
from phonemeter.kafka_admin import admin
from phonemeter.stack.kafka.topics import alter
from tests.brokers.authority import Authority
from tests.kafka_access.secured import UNREACHABLE, SecureKafka
from tests.phonemeter.cli.calling import Done, called
from tests.waiting import blocking_until

SERVICES = ("worker", "sink", "settler", "notifier", "gateway", "audit", "backup")


def examined(access: KafkaAccess, *services: str) -> list[StepFinding]:
    findings = Findings()
    KafkaSteps(access, services or ("sink",), 1, findings).take()
    return findings.all


def failed(access: KafkaAccess, *services: str) -> list[StepFinding]:
    return [one for one in examined(access, *services) if one.state == "failed"]


@pytest.fixture(scope="module")
def granted(secure_kafka: SecureKafka) -> SecureKafka:
    """The broker, on which each account has the rights of its service."""
    for service in SERVICES:
        secure_kafka.grant(service, RIGHTS[service])
    blocking_until(lambda: not any(failed(secure_kafka.as_user(name), name) for name in SERVICES))
    return secure_kafka


def test_each_service_has_all_it_needs_with_its_least_rights_and_every_step_is_told(
    granted: SecureKafka,
) -> None:
    found = examined(granted.as_user("sink"), "sink")
    assert {one.state for one in found} == {"ok"}
    steps = list(dict.fromkeys(one.step for one in found))
    assert steps == [
        "resolve",
        "connect",
        "tls",
        "login",
        "answer",
        "advertised listeners",
        "cluster",
        "rights on topics",
        "rights on groups",
        "topic settings",
        "clock of Kafka",
    ]


def test_a_right_fewer_is_named_with_the_command_that_gives_it(granted: SecureKafka) -> None:
    for service in SERVICES:
        access = granted.as_user(service)
        # In each round a right of every topic and group is missing.
        for operations in zip_longest(*(one.operations for one in RIGHTS[service])):
            taken = [
                ResourceRights(one.resource, one.name, (operation,))
                for one, operation in zip(RIGHTS[service], operations, strict=True)
                if operation is not None
            ]
            granted.revoke(service, taken)
            told: list[StepFinding] = []

            def named(
                access: KafkaAccess = access,
                service: str = service,
                taken: list[ResourceRights] = taken,
                told: list[StepFinding] = told,
            ) -> bool:
                told[:] = [one for one in failed(access, service) if one.step.startswith("rights")]
                return len(told) == len(taken)

            blocking_until(named)
            for one in taken:
                (finding,) = (each for each in told if each.subject == one.name)
                assert finding.told.startswith("The account may not ")
                assert f" {one.operations[0]}" in finding.told
                assert f"--add --allow-principal 'User:{service}' " in finding.remedy
                assert f"--operation {one.operations[0]}" in finding.remedy
                assert finding.remedy.endswith(f"--{one.resource} {one.name}")
            granted.grant(service, taken)
            blocking_until(partial(_nothing_fails, access, service))


def _nothing_fails(access: KafkaAccess, service: str) -> bool:
    return not failed(access, service)


def planted(kafka: SecureKafka, tmp_path: Path) -> Iterator[tuple[KafkaAccess, str, str, str]]:
    """Misconfigurations: the access, and the step, words of the reason and of the remedy that name each."""
    good = kafka.as_user("sink")
    port = good.brokers.rpartition(":")[2]
    yield replace(good, brokers="127.0.0.1:1"), "connect", "127.0.0.1:1 does not answer: ", "firewall"
    named = replace(good, brokers="kafka-9.invalid:9093")
    yield named, "resolve", "The name kafka-9.invalid in PHONEMETER_KAFKA cannot be resolved", "DNS entry"
    other = Authority(tmp_path / "other", "Other")
    yield replace(good, tls=Tls(ca_file=other.file)), "tls", "is not signed by a CA that we trust", "the CA's"
    by_other_name = replace(good, brokers=f"127.1:{port}")
    yield by_other_name, "tls", "does not name the host 127.1;", "the names that the brokers' certificates"
    expired = replace(good, brokers=kafka.expired)
    yield expired, "tls", f"The certificate of {kafka.expired} has expired", "Ask for the CA's"
    wrong = kafka.as_user("sink", password="wrong")  # noqa: S106 - it is wrong
    yield wrong, "login", "refuses user sink (", "the password and the account of user sink"
    one_mechanism = replace(good, brokers=kafka.astray)
    yield one_mechanism, "login", "offers no login by SCRAM-SHA-512 but by PLAIN;", "Ask for the mechanism"
    astray = replace(kafka.as_user("sink", "PLAIN"), brokers=kafka.astray)
    told = f"tells its clients to connect to {UNREACHABLE}: The name kafka-1.invalid"
    yield astray, "advertised listeners", told, "Ask to correct advertised.listeners of broker 1"
    demanding = replace(good, replicas=3)
    told = "Topic phone-ledger has 1 replica and PHONEMETER_KAFKA_REPLICATION_FACTOR asks for 3"
    yield demanding, "topic settings", told, ""
    demanding = replace(good, insync=2)
    told = "Topic phone-ledger has min.insync.replicas=1 and PHONEMETER_KAFKA_MIN_INSYNC_REPLICAS asks for 2"
    yield demanding, "topic settings", told, "--entity-name phone-ledger --add-config min.insync.replicas=2"
    plain = KafkaAccess(good.brokers)
    yield plain, "answer", "does not answer as Kafka with this security", "Ask which security"
    mutual = KafkaAccess(kafka.cluster.mutual, tls=good.tls)
    yield mutual, "answer", "refuses our certificate or wants one", "Ask which security"
    told = "refuses client sink (401 invalid_client); check its id, its secret and the scope"
    yield kafka.by_token("sink", "wrong"), "login", told, ""
    told = (
        "has a certificate that we do not trust, or speaks no TLS (certificate verify failed: unable to get"
    )
    yield kafka.by_token("sink", ca_file=other.file), "login", told, ""


def test_planted_misconfigurations_are_found_by_name(granted: SecureKafka, tmp_path: Path) -> None:
    for access, step, told, remedy in planted(granted, tmp_path):
        found = failed(access)
        assert found, told
        named = [one for one in found if told in one.told]
        assert [(one.step, remedy in one.remedy) for one in named] == [(step, True)], found
        assert "\n" not in named[0].told


def test_a_wrong_setting_of_a_topic_is_found_with_the_command_that_mends_it(granted: SecureKafka) -> None:
    opened = KafkaAccess(granted.cluster.open)
    access = granted.as_user("worker")
    with admin(opened) as client:
        assert alter(client, EVENTS, {"message.timestamp.type": "CreateTime"}) == ""
        try:
            blocking_until(lambda: bool(failed(access, "worker")))
            (found,) = failed(access, "worker")
        finally:
            alter(client, EVENTS, {"message.timestamp.type": "LogAppendTime"})
    assert (found.step, found.subject) == ("topic settings", EVENTS)
    assert found.remedy.endswith(
        "--entity-name phone-events --add-config message.timestamp.type=LogAppendTime"
    )


def test_an_account_without_any_right_is_told_each(granted: SecureKafka) -> None:
    found = failed(granted.as_user("operator"), "operator")
    assert {one.subject for one in found} == {one.name for one in needed_rights(["operator"])}


def test_the_command_says_it_in_words_and_in_json(
    granted: SecureKafka,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    secret = tmp_path / "password"
    secret.write_text(granted.cluster.accounts["settler"])
    environ = {
        "PHONEMETER_KAFKA_SECURITY": "sasl_tls",
        "PHONEMETER_KAFKA_CA_FILE": str(granted.cluster.authority.file),
        "PHONEMETER_KAFKA_USER": "settler",
        "PHONEMETER_KAFKA_PASSWORD_FILE": str(secret),
        "PHONEMETER_PARTITIONS": "1",
        "PHONEMETER_CLICKHOUSE": "clickhouse://default@127.0.0.1:1/phonemeter",
    }

    def run(*arguments: str) -> Done:
        return called(monkeypatch, capsys, tmp_path, granted.cluster.secure, "doctor", *arguments, **environ)

    done = run("--service", "producer", "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["healthy"], told["services"]) == (0, True, ["producer"])
    assert {one["state"] for one in told["findings"]} == {"ok"}
    done = run("--service", "settler")
    assert done.returncode == 1
    assert "ok        login" in done.stdout
    assert "failed    ClickHouse 127.0.0.1:1" in done.stdout
    done = run("--service", "baker")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
