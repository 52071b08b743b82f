"""The real parts that tests share: ports, the broker, the engine, the whole stack. None outlives it."""

import random
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from metering.topics import ALL, NOTIFIER_GROUP, SINK_GROUP, WORKER_GROUP
from phonemeter.settings import Settings, load
from phonemeter.stack import services
from phonemeter.stack.background import BackgroundLoop
from phonemeter.stack.directory import StackDirectory
from phonemeter.stack.kafka.topics import admin, ensure_topics
from phonemeter.stack.probes import HOST
from phonemeter.stack.stack import Stack
from phonemeter.stack.supervisor import Service, Supervised

PARTITIONS = 4


def pytest_configure() -> None:
    """Programs that the tests start must hear Ctrl-C: what a shell starts in the background is deaf to it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _free_port() -> int:
    """A port below the range from which the kernel serves outgoing connections, so none takes it."""
    while True:
        port = random.randint(20_000, 32_000)  # noqa: S311 - no secret
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """A function that names a free port on loopback."""
    return _free_port


@dataclass(frozen=True, slots=True)
class RunningKafka:
    """The session's broker. `supervised.pid` is its process, which restarts when killed."""

    bootstrap: str
    supervised: Supervised


@dataclass(frozen=True, slots=True)
class RunningEngine:
    """The session's embedded ClickHouse. `supervised.pid` is its process, which restarts when killed."""

    native_port: int
    http_port: int
    supervised: Supervised

    def url(self, database: str = "default") -> str:
        """URL of a database for clickhouse-driver; the database need not exist to connect to `default`."""
        return f"clickhouse://default@{HOST}:{self.native_port}/{database}"


@contextmanager
def _supervised(service: Service) -> Iterator[Supervised]:
    with BackgroundLoop() as loop:
        supervised = Supervised(service)
        try:
            loop.run(supervised.start())
            yield supervised
        finally:
            loop.run(supervised.stop())


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningKafka]:
    """A real broker for the session, without any topic of ours; its jars come from the user's cache."""
    directory = StackDirectory(tmp_path_factory.mktemp("kafka"))
    settings = load(data_dir=directory.path, kafka_port=_free_port(), kafka_controller_port=_free_port())
    with _supervised(services.kafka(settings, directory)) as supervised:
        yield RunningKafka(settings.kafka, supervised)


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    """A real embedded ClickHouse for the session. Tests that write make a database of their own."""
    directory = StackDirectory(tmp_path_factory.mktemp("engine"))
    settings = load(data_dir=directory.path, engine_native_port=_free_port(), engine_http_port=_free_port())
    with _supervised(services.ours("engine", settings, directory)) as supervised:
        yield RunningEngine(settings.engine_native_port, settings.engine_http_port, supervised)


@pytest.fixture
def stack_settings(tmp_path: Path) -> Settings:
    """Settings of a stack of the test's own: its directory, its ports. Change some with `.replaced(...)`."""
    ports = {name: _free_port() for names in services.PORTS.values() for name in names}
    return load(data_dir=tmp_path / "stack", **ports)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The whole stack, for the session, in events' time: Kafka, engine, worker and sink, all real.

    The stack is shared: a test uses apps (appids) of its own. Services that a test kills come back.
    """
    ports = {name: _free_port() for names in services.PORTS.values() for name in names}
    with Stack(load(data_dir=tmp_path_factory.mktemp("stack"), clock="events", **ports)) as running:
        yield running


@pytest.fixture
def topics(kafka: RunningKafka) -> RunningKafka:
    """The session's broker with all of phonemeter's topics empty, and its consumer groups forgotten."""
    with admin(kafka.bootstrap) as client:
        names = {topic.name for topic in ALL}
        client.delete_topics(list(names), raise_errors=False)
        while names & set(client.list_topics()):
            pass
        ours = {WORKER_GROUP, SINK_GROUP, NOTIFIER_GROUP}
        groups = {group["group_id"] for group in client.list_groups()} & ours
        if groups:
            client.delete_groups(list(groups))
    ensure_topics(kafka.bootstrap, PARTITIONS)
    return kafka
