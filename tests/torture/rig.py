"""All processes of a run, with their own ports and directory, which are removed with it."""

import contextlib
import http.client
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Self

import msgspec
from clickhouse_driver.errors import Error
from confluent_kafka import KafkaException
from kafka.admin import ACLOperation, ResourceType

from kafka_access.access import KafkaAccess
from metering.topics import EVENTS
from phonemeter.kafka_admin import admin
from phonemeter.settings import load, variable
from phonemeter.stack.kafka.broker import Broker
from phonemeter.stack.kafka.topics import ensure_topics
from phonemeter.stack.launch import child_command
from phonemeter.stack.probes import http_get
from producers.gateway.api_keys import ApiKey
from sinks.entry_columns import shorten_ids
from tests.brokers.cluster import Cluster
from tests.ports import free_port
from tests.producers.gateway.parts import key_with
from tests.torture import backups, verdict
from tests.torture.backups import Backups
from tests.torture.disk import Disk
from tests.torture.log import Log
from tests.torture.processes import ROOT, Program, tended
from tests.torture.proxy import HOST, Proxy
from tests.torture.verdict import Count

PARTITIONS = 4
WORKERS = 3
SINKS = 2
LOOK_S = 0.1
ACCOUNT = "phonemeter"
RIGHTS = (
    (ResourceType.TOPIC, "phone-", ACLOperation.ALL),
    (ResourceType.GROUP, "phonemeter-", ACLOperation.ALL),
    (ResourceType.TOPIC, backups.PREFIX, ACLOperation.ALL),
    (ResourceType.GROUP, backups.PREFIX, ACLOperation.ALL),
    (ResourceType.TRANSACTIONAL_ID, backups.PREFIX, ACLOperation.ALL),
    (ResourceType.CLUSTER, "kafka-cluster", ACLOperation.IDEMPOTENT_WRITE),
    (ResourceType.CLUSTER, "kafka-cluster", ACLOperation.DESCRIBE),
)
"""Rights of the one account of all services."""

ANSWERS = (OSError, EOFError, Error, KafkaException)
COMMAND_S_MAX = 120
STARTS_S_MAX = 240


class Rig:
    """Brokers, engine behind a proxy, gateway, three workers of which two run, two sinks of which one runs.

    One broker is as the stack has it; several are a cluster with replicas, logins and rights.
    """

    def __init__(self, directory: Path, mutation: str, brokers: int = 1) -> None:
        self.directory = directory
        self.deliveries = directory / "deliveries"
        self.engine_port, self.engine_http_port = free_port(), free_port()
        self.proxy = Proxy(self.engine_port)
        self.disk = Disk(directory / "engine" / "disk")
        (directory / "logs").mkdir(parents=True)
        self.cluster = Cluster(directory / "kafka", brokers, {ACCOUNT: "a-password"}) if brokers > 1 else None
        if self.cluster is None:
            self.kafka = self._prepare_one_broker()
            self.kafka_settings = {"kafka": self.kafka}
        else:
            # For those who watch; services log in.
            self.kafka = self.cluster.open
            self.kafka_settings = self.cluster.settings_of(ACCOUNT)
            self.brokers = [node.program for node in self.cluster.nodes]
            self.kafka_data = [node.data for node in self.cluster.nodes]
        self.log = Log(self.kafka)
        self.backups = Backups(self.kafka, directory / "backups", self.command)
        self._running = contextlib.ExitStack()
        engine = ["-m", "phonemeter.engine", "--data", str(self.disk.path / "data")]
        ports = ["--native-port", str(self.engine_port), "--http-port", str(self.engine_http_port)]
        self.engine = self._program("engine", (sys.executable, *engine, *ports), {})
        self.workers = [self._worker(number, mutation) for number in range(WORKERS)]
        self.sinks = [self._sink(number, mutation) for number in range(SINKS)]
        self.gateway_port = free_port()
        self.key, stored_key = key_with(events_per_s=1_000_000)
        self.gateway = self._gateway(stored_key)

    @property
    def programs(self) -> list[Program]:
        return [*self.brokers, self.engine, *self.workers, *self.sinks, self.gateway]

    @property
    def clickhouse(self) -> str:
        """The address of the engine, without the proxy."""
        return f"clickhouse://default@{HOST}:{self.engine_port}/phonemeter"

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def until(self, condition: Callable[[], bool], within_s: float) -> bool:
        """Wait until the condition holds; False if it did not in time."""
        deadline_s = time.monotonic() + within_s
        while time.monotonic() < deadline_s:
            if condition():
                return True
            time.sleep(LOOK_S)
        return False

    def rest(self, seconds: float) -> None:
        """Let everything run for a while."""
        time.sleep(seconds)

    def engine_answers(self) -> bool:
        try:
            return http_get(self.engine_http_port, "/ping")[0] == http.client.OK
        except (OSError, http.client.HTTPException):
            return False

    def visible(self, event_ids: list[str]) -> bool:
        """True if all these events are in ClickHouse."""
        listed = ", ".join(f"'{event_id}'" for event_id in shorten_ids(event_ids, verdict.ID_DIGITS))
        query = f"SELECT uniqExact(event_id) FROM ledger WHERE event_id IN ({listed})"  # noqa: S608 - our own ids
        try:
            return bool(verdict.ask(self.engine_port, query) == [(len(event_ids),)])
        except ANSWERS:
            return False

    def look(self) -> Count:
        """A quick check of what is stored; without a finding while the engine does not answer."""
        try:
            return verdict.quick_look(self.engine_port, self.log)
        except ANSWERS:
            return Count(0, 0)

    def all_stored(self) -> bool:
        """True once the whole log is metered and stored."""
        try:
            ends = {number: known[-1] for number, known in self.log.offsets().items() if known}
            stored = verdict.ask(
                self.engine_port,
                "SELECT source_partition, max(source_offset) FROM ledger GROUP BY source_partition",
            )
        except ANSWERS:
            return False
        return bool(ends) and ends == dict(stored)

    def make_anew(self) -> None:
        """Delete `phone-events` and create it again, empty."""
        with admin(KafkaAccess(self.kafka)) as client:
            client.delete_topics([EVENTS])
            if not self.until(lambda: EVENTS not in client.list_topics(), STARTS_S_MAX):
                raise TimeoutError(f"{EVENTS} cannot be deleted")
        if not self.until(self._kafka_answers, STARTS_S_MAX):
            raise TimeoutError(f"{EVENTS} cannot be made again")
        self.log.forget()

    def read_logs(self) -> dict[str, int]:
        """The sizes of the workers' log files."""
        return {worker.name: len(_content(worker.log)) for worker in self.workers}

    def refusal(self, since: dict[str, int]) -> str:
        """The first sentence since then with which a worker stopped and named a command that helps."""
        for line in self.logged(since):
            if "the worker stops: " in line and "`phonemeter " in line:
                return line.partition("the worker stops: ")[2]
        return ""

    def logged(self, since: dict[str, int]) -> list[str]:
        """The lines of the workers' logs since then."""
        new = b"".join(_content(worker.log)[since[worker.name] :] for worker in self.workers)
        return new.decode(errors="replace").splitlines()

    def command(self, line: str, settings: Mapping[str, str] = MappingProxyType({})) -> int:
        """Run a command of phonemeter that a sentence names; returns its exit status."""
        environ = self._environ_of_commands(settings)
        with (self.directory / "logs" / "commands.log").open("ab") as log:
            log.write(f"$ {line}\n".encode())
            log.flush()
            ended = subprocess.run(
                child_command((sys.executable, "-m", "phonemeter", *line.split()[1:])),
                cwd=ROOT,
                env={**os.environ, **environ},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                timeout=COMMAND_S_MAX,
                check=False,
            )
        return ended.returncode

    def begun_backup(self) -> Program:
        """A backup that is being taken, and that nobody starts again."""
        program = self._program(
            "backup",
            (sys.executable, "-m", "phonemeter", "backup", str(self.backups.directory), "--no-verify"),
            self._environ_of_commands({"data_dir": str(self.backups.data)}),
        )
        program.start()
        return program

    def second_engine(self) -> tuple[int, str]:
        """Start an engine on the directory of the running one; returns exit status and errors."""
        ports = ["--native-port", "0", "--http-port", "0"]
        command = [sys.executable, "-m", "phonemeter.engine", "--data", str(self.disk.path / "data"), *ports]
        ended = subprocess.run(
            child_command(command), capture_output=True, text=True, timeout=30, check=False
        )
        return ended.returncode, ended.stderr

    def _start(self) -> None:
        self.disk.mount()
        self._running.enter_context(tended(self.programs))
        for broker in self.brokers:
            broker.start()
        self.engine.start()
        if not self.until(self._kafka_answers, STARTS_S_MAX) or not self.until(
            self.engine_answers, STARTS_S_MAX
        ):
            raise TimeoutError(f"Kafka or the engine did not start; see {self.directory / 'logs'}")
        if self.cluster is not None:
            self.cluster.allow(ACCOUNT, *RIGHTS)
        for program in (*self.workers[:2], self.sinks[0], self.gateway):
            program.start()

    def _stop(self) -> None:
        self._running.close()
        for program in (*self.workers, *self.sinks, self.gateway, self.engine):
            program.end()
        for broker in self.brokers:
            broker.kill(stay_away=True)
        self.proxy.close()
        self.disk.unmount()

    @property
    def _kafka_environ(self) -> dict[str, str]:
        return {variable(name): value for name, value in self.kafka_settings.items()}

    def _environ_of_commands(self, settings: Mapping[str, str]) -> dict[str, str]:
        own = {
            **self.kafka_settings,
            "clickhouse": self.clickhouse,
            "clock": "events",
            "data_dir": str(self.directory / "commands"),
            "partitions": str(PARTITIONS),
            **settings,
        }
        return {variable(name): value for name, value in own.items()}

    def _prepare_one_broker(self) -> str:
        settings, port, home = load(), free_port(), self.directory / "kafka"
        broker = Broker(home, settings.cache_dir, port, free_port(), settings.kafka_heap_mb)
        self.brokers = [self._program("broker", broker.prepare(), {})]
        self.kafka_data = [home / "data"]
        return f"{HOST}:{port}"

    def _kafka_answers(self) -> bool:
        try:
            ensure_topics(KafkaAccess(self.kafka), PARTITIONS)
        except Exception:  # noqa: BLE001 - not ready yet, in whatever way
            return False
        return True

    def _worker(self, number: int, mutation: str) -> Program:
        name = f"worker-{number}"
        command = ("-m", "faust", "-A", "tests.torture.worker_app", "--datadir", ".", "worker", "-l", "info")
        return self._program(
            name,
            (sys.executable, *command, "--without-web"),
            {
                **self._kafka_environ,
                "PHONEMETER_CLOCK": "events",
                "TORTURE_DELIVERIES": str(self.deliveries),
                "TORTURE_MUTATION": mutation,
            },
        )

    def _sink(self, number: int, mutation: str) -> Program:
        return self._program(
            f"sink-{number}",
            (sys.executable, "-m", "tests.torture.sink_app"),
            {
                "TORTURE_DELIVERIES": str(self.deliveries),
                "TORTURE_MUTATION": mutation,
                **self._kafka_environ,
                "PHONEMETER_CLICKHOUSE": f"clickhouse://default@{HOST}:{self.proxy.port}/phonemeter",
                "PHONEMETER_SINK_METRICS_PORT": str(free_port()),
                "PHONEMETER_SINK_FLUSH_MS": "200",
            },
        )

    def _gateway(self, key: ApiKey) -> Program:
        keys = msgspec.json.encode([key]).decode()
        return self._program(
            "gateway",
            (sys.executable, "-m", "tests.producers.gateway.run_gateway", keys),
            {
                **self._kafka_environ,
                "PHONEMETER_GATEWAY_PORT": str(self.gateway_port),
                "PHONEMETER_GATEWAY_METRICS_PORT": str(free_port()),
                "PHONEMETER_GATEWAY_ACCESS_LOG": "false",
            },
        )

    def _program(self, name: str, command: tuple[str, ...], environ: dict[str, str]) -> Program:
        log = self.directory / "logs" / f"{name}.log"
        return Program(name, command, environ, self.directory / name, log)


def _content(log: Path) -> bytes:
    return log.read_bytes() if log.exists() else b""
