"""Each service runs on a secured broker with an account of its own, exactly its rights, and a prefix."""

import sys
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import Final

import pytest
from kafka import TopicPartition
from kafka.admin import OffsetSpec

from kafka_access.access import KafkaAccess
from metering.kafka_rights import RIGHTS
from metering.topics import (
    ALERTS,
    ALL,
    EVENTS,
    LEDGER,
    NOTIFIER_GROUP,
    RESTORE_GROUP,
    SINK_GROUP,
    WORKER_GROUP,
)
from phonemeter.kafka_admin import admin
from phonemeter.settings import load
from phonemeter.stack.kafka.progress import committed
from phonemeter.stack.kafka.topics import ensure_topics
from phonemeter.topic_reader import offset_spans
from producers.bulk import BulkProducer
from sinks.connection import FAILURES, connect, rows
from tests import ports
from tests.committing import commit_as
from tests.conftest import RunningEngine
from tests.kafka_access.secured import SecureKafka
from tests.kafka_access.token_endpoint import SECRET
from tests.metering.building import at, succeeded
from tests.phonemeter.cli.calling import Done, called
from tests.served import asked
from tests.torture.processes import Program
from tests.transactions import transaction
from tests.waiting import blocking_until

PREFIX: Final = "crm."
TAPS: Final = 50
SERVICES: Final = {
    "worker": "worker_port",
    "sink": "sink_metrics_port",
    "settler": "settler_port",
    "notifier": "notifier_port",
    "gateway": "gateway_metrics_port",
    "console": "console_metrics_port",
}
"""Services with the setting of the port of their health."""

BY_TOKEN: Final = ("worker", "sink")
"""Services that log in by a token, the others by a password."""

ROUTES: Final = (
    '[routes.here]\nurl = "http://127.0.0.1:1/"\nchannel = "webhook"\nsecrets = ["env:HOOK_SECRET"]\n'
)


class SecuredServices:
    """The services of a stack, each with its own account on a secured broker."""

    def __init__(self, kafka: SecureKafka, clickhouse: str, directory: Path) -> None:
        self._kafka = kafka
        self._clickhouse = clickhouse
        self._directory = directory
        self._ports = {
            setting: ports.free_port() for setting in (*SERVICES.values(), "gateway_port", "console_port")
        }
        (directory / "routes.toml").write_text(ROUTES)

    def environ(self, service: str) -> dict[str, str]:
        """The settings of a service."""
        settings = {
            "kafka": self._kafka.cluster.secure,
            "kafka_prefix": PREFIX,
            "kafka_security": "sasl_tls",
            "kafka_ca_file": str(self._kafka.cluster.authority.file),
            **(self._by_token(service) if service in BY_TOKEN else self._by_password(service)),
            "clickhouse": self._clickhouse,
            "partitions": "1",
            "clock": "wall",
            "tick_interval_s": "1",
            "alert_routes": str(self._directory / "routes.toml"),
            "data_dir": str(self._directory / "data"),
            **{name: str(port) for name, port in self._ports.items()},
        }
        hook = {"HOOK_SECRET": f"whsec_{b64encode(bytes(32)).decode()}"}
        return hook | {f"PHONEMETER_{name.upper()}": value for name, value in settings.items()}

    def _by_password(self, service: str) -> dict[str, str]:
        secret = self._directory / f"{service}-password"
        secret.write_text(self._kafka.cluster.accounts[service])
        return {"kafka_user": service, "kafka_password_file": str(secret)}

    def _by_token(self, service: str) -> dict[str, str]:
        secret = self._directory / f"{service}-secret"
        secret.write_text(SECRET)
        return {
            "kafka_sasl_mechanism": "OAUTHBEARER",
            "kafka_token_url": self._kafka.tokens.url,
            "kafka_token_ca_file": str(self._kafka.tokens.ca_file),
            "kafka_token_client": service,
            "kafka_token_secret_file": str(secret),
            "kafka_token_scope": "kafka",
        }

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run all of them within the block."""
        with ExitStack() as ending:
            for service in SERVICES:
                command = (sys.executable, "-m", "phonemeter", service)
                program = Program(service, command, self.environ(service), self._directory, self.log(service))
                program.start()
                ending.callback(program.kill, stay_away=True)
            yield

    def stored(self) -> int:
        """The number of ledger lines in ClickHouse."""
        try:
            with connect(self._clickhouse) as client:
                ((count,),) = rows(client, "SELECT count() FROM ledger WHERE kind = 'trial_charge'")
        except FAILURES:
            return 0
        return int(count)

    def log(self, service: str) -> Path:
        """The file of a service's log."""
        return self._directory / f"{service}.log"

    def unhealthy(self) -> dict[str, object]:
        """The words of each service that is not well."""
        found: dict[str, object] = {}
        for name, setting in SERVICES.items():
            try:
                status, told = asked(self._ports[setting], "/healthz")
            except OSError as error:
                status, told = 0, str(error)
            if status != HTTPStatus.OK:
                found[name] = told
        return found


def test_each_service_runs_with_its_least_rights_and_names_nothing_without_the_prefix(
    secure_kafka: SecureKafka, engine: RunningEngine, tmp_path: Path
) -> None:
    opened = replace(KafkaAccess(secure_kafka.cluster.open), prefix=PREFIX)
    ensure_topics(opened, 1)
    for service in (*SERVICES, "producer"):
        secure_kafka.grant(service, RIGHTS[service], PREFIX)
    services = SecuredServices(secure_kafka, engine.url("secured"), tmp_path)
    before = len(secure_kafka.tokens.clients)
    with services.running():
        with pytest.MonkeyPatch.context() as environ:
            for name, value in services.environ("producer").items():
                environ.setenv(name, value)
            with BulkProducer(load()) as producer:
                batch = producer.publish(
                    [succeeded(at(1), event_id=f"{number:064x}") for number in range(TAPS)]
                )
                producer.finish(60)
        assert batch.delivered == TAPS
        blocking_until(lambda: services.stored() >= TAPS, what="the taps are in ClickHouse")
        try:
            blocking_until(lambda: not services.unhealthy(), what="every service is well")
        except AssertionError:
            pytest.fail(f"not well: {services.unhealthy()}")
    with admin(opened) as client:
        groups = {one["group_id"] for one in client.list_groups()}
        written = client.list_partition_offsets(
            {TopicPartition(one.name, 0): OffsetSpec.LATEST for one in ALL}
        )
    assert {f"{PREFIX}{group}" for group in (WORKER_GROUP, SINK_GROUP, NOTIFIER_GROUP)} <= groups
    assert all(group.startswith(PREFIX) for group in groups)
    assert written[TopicPartition(LEDGER, 0)].offset > 0
    with admin(replace(opened, prefix="")) as client:
        places = {TopicPartition(one.name, 0): OffsetSpec.LATEST for one in ALL}
        assert {one.offset for one in client.list_partition_offsets(places).values()} == {0}
    # One token each, for all connections of a process.
    clients = secure_kafka.tokens.clients[before:]
    assert [clients.count(service) for service in BY_TOKEN] == [1, 1]
    for service in SERVICES:
        assert "uthorization" not in services.log(service).read_text(), service


def small_log(secure_kafka: SecureKafka, prefix: str) -> KafkaAccess:
    """The access to new topics with a prefix: a log with a gap, and a notifier that has come somewhere."""
    opened = replace(KafkaAccess(secure_kafka.cluster.open), prefix=prefix)
    ensure_topics(opened, 1)
    transaction(opened.brokers, opened.topic(EVENTS), [b"aborted"], "abort")
    transaction(opened.brokers, opened.topic(EVENTS), [b"no event"], "commit")
    commit_as(
        opened.group(NOTIFIER_GROUP), opened.brokers, opened.topic(ALERTS), 0, 'asked 3 1 ["id",-1,77,5]'
    )
    return opened


def test_backup_and_restore_run_with_their_least_rights(
    secure_kafka: SecureKafka,
    engine: RunningEngine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    kept, restored = "kept.", "restored."
    opened = small_log(secure_kafka, kept)
    services = SecuredServices(secure_kafka, engine.url("secured_backup"), tmp_path)

    def run(account: str, prefix: str, *command: str) -> Done:
        environ = services.environ(account) | {
            "PHONEMETER_KAFKA_PREFIX": prefix,
            "PHONEMETER_DATA_DIR": str(tmp_path / prefix),
        }
        brokers = secure_kafka.cluster.secure
        return called(monkeypatch, capsys, tmp_path, brokers, *command, **environ)

    secure_kafka.grant("backup", RIGHTS["backup"], kept)
    done = run("backup", kept, "backup", "copy")
    assert done.returncode == 0, done.stderr
    without_transactions = [one for one in RIGHTS["restore"] if one.resource != "transactional-id"]
    secure_kafka.grant("restore", without_transactions, restored)
    refused = run("restore", restored, "restore", "copy")
    assert refused.returncode == 1
    assert "allow restored.phonemeter-restore as a transactional id" in refused.stderr
    assert refused.stderr.count("\n") == 1
    examined = run("restore", restored, "doctor", "--service", "restore", "--json")
    (found,) = [one for one in examined.json["findings"] if one["state"] == "failed"]
    assert found["step"] == "rights on transactional ids"
    assert found["remedy"].endswith("--operation Write --transactional-id restored.phonemeter-restore")
    secure_kafka.grant("restore", RIGHTS["restore"], restored)
    examined = run("restore", restored, "doctor", "--service", "restore", "--json")
    (found,) = [one for one in examined.json["findings"] if one["state"] == "failed"]
    assert "message.timestamp.type=CreateTime" in found["told"]
    done = run("restore", restored, "restore", "copy")
    assert done.returncode == 0, done.stderr
    brokers = secure_kafka.cluster.open
    spans = [offset_spans(KafkaAccess(brokers), f"{prefix}{EVENTS}") for prefix in (kept, restored)]
    assert spans[0] == spans[1]
    with admin(replace(opened, prefix=restored)) as client:
        assert committed(client, RESTORE_GROUP) == {}
        assert committed(client, NOTIFIER_GROUP).keys() == {TopicPartition(ALERTS, 0)}


def test_repartition_runs_with_its_least_rights(
    secure_kafka: SecureKafka,
    engine: RunningEngine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    small, large = "small.", "large."
    small_log(secure_kafka, small)
    services = SecuredServices(secure_kafka, engine.url("secured_repartition"), tmp_path)

    def run(*options: str) -> Done:
        environ = services.environ("repartition") | {"PHONEMETER_KAFKA_PREFIX": small}
        command = ("repartition", "--to-prefix", large, "--partitions", "2", *options)
        return called(monkeypatch, capsys, tmp_path, secure_kafka.cluster.secure, *command, **environ)

    for prefix in (small, large):
        secure_kafka.grant("repartition", RIGHTS["repartition"], prefix)
    for options in ((), ("--finish",)):
        done = run(*options)
        assert done.returncode == 0, done.stderr
    spans = offset_spans(KafkaAccess(secure_kafka.cluster.open), f"{large}{EVENTS}")
    assert [span.end for span in spans.values()] == [1, 0]
