"""The real parts that tests share: ports, the broker, the engine, the whole stack. None outlives it."""

import os
import signal
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
from tests import ports
from tests.waiting import blocking_until

PARTITIONS = 4

REAL_PARTS = {"kafka", "engine", "own_engine", "stack", "stack_settings"}


def pytest_configure() -> None:
    """Prepare what the programs that tests start inherit."""
    # What a shell starts in the background is deaf to Ctrl-C; they must hear it.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # A broker that lives for seconds would spend them on compiling itself well.
    os.environ.setdefault("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have files with real parts first: where processes share the files, the long ones must not be last."""
    real = {item.path for item in items if REAL_PARTS & set(getattr(item, "fixturenames", ()))}
    items.sort(key=lambda item: item.path not in real)


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """A function that names a free port on loopback."""
    return ports.free_port


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
    settings = load(
        data_dir=directory.path, kafka_port=ports.free_port(), kafka_controller_port=ports.free_port()
    )
    with _supervised(services.kafka(settings, directory)) as supervised:
        yield RunningKafka(settings.kafka, supervised)


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    """A real embedded ClickHouse for the session. Tests that write make a database of their own."""
    directory = StackDirectory(tmp_path_factory.mktemp("engine"))
    settings = load(
        data_dir=directory.path, engine_native_port=ports.free_port(), engine_http_port=ports.free_port()
    )
    with _supervised(services.ours("engine", settings, directory)) as supervised:
        yield RunningEngine(settings.engine_native_port, settings.engine_http_port, supervised)


def _ports_of_a_stack() -> dict[str, int]:
    return {name: ports.free_port() for names in services.PORTS.values() for name in names}


@pytest.fixture
def stack_settings(tmp_path: Path) -> Settings:
    """Settings of a stack of the test's own: its directory, its ports. Change some with `.replaced(...)`."""
    return load(data_dir=tmp_path / "stack", **_ports_of_a_stack())


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The whole stack, for the session, in events' time: Kafka, engine, worker and sink, all real.

    The stack is shared: a test uses apps (appids) of its own. Services that a test kills come back.
    """
    settings = load(data_dir=tmp_path_factory.mktemp("stack"), clock="events", **_ports_of_a_stack())
    with Stack(settings) as running:
        yield running


@pytest.fixture
def topics(kafka: RunningKafka) -> RunningKafka:
    """The session's broker with all of phonemeter's topics empty, and its consumer groups forgotten."""
    with admin(kafka.bootstrap) as client:
        names = {topic.name for topic in ALL}
        client.delete_topics(list(names), raise_errors=False)
        blocking_until(lambda: not names & set(client.list_topics()), within_s=30)
        ours = {WORKER_GROUP, SINK_GROUP, NOTIFIER_GROUP}
        groups = {group["group_id"] for group in client.list_groups()} & ours
        if groups:
            client.delete_groups(list(groups))
    ensure_topics(kafka.bootstrap, PARTITIONS)
    return kafka
