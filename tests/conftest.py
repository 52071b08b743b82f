"""The real parts that tests share: ports, the broker, the engine, the whole stack, for one session."""

import os
import signal
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import hypothesis
import pytest

from phonemeter.settings import Settings, load
from phonemeter.stack import services
from phonemeter.stack.background import BackgroundLoop
from phonemeter.stack.directory import StackDirectory
from phonemeter.stack.probes import HOST
from phonemeter.stack.stack import Stack
from phonemeter.stack.supervisor import ServiceSpec, Supervised
from producers import interface
from tests import kafka_classes, ports, real_parts
from tests.empty_topics import EmptyTopics
from tests.real_parts import starts_real_parts

PARTITIONS = 4

# The same few examples every time, or many new ones on request. The time of one shows nothing.
_UNTIMED = hypothesis.settings(deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.register_profile("quick", _UNTIMED, max_examples=60, derandomize=True, database=None)
hypothesis.settings.register_profile("thorough", _UNTIMED, max_examples=5_000)
hypothesis.settings.load_profile(os.environ.get("PHONEMETER_HYPOTHESIS_PROFILE", "quick"))


def pytest_configure(config: pytest.Config) -> None:
    """Prepare what the programs that tests start inherit, and the name by which pages import the client."""
    sys.modules["phonemeter_client"] = interface
    # Where no bytecode may lie beside the code, hundreds of programs would each compile all that they import.
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
        sys.pycache_prefix = os.environ["PYTHONPYCACHEPREFIX"] = str(config.rootpath / "build" / "bytecode")
        sys.dont_write_bytecode = False
    # Settings of a stack that a shell still has would lead tests to its topics and data.
    for name in [name for name in os.environ if name.startswith("PHONEMETER_")]:
        if name != "PHONEMETER_HYPOTHESIS_PROFILE":
            del os.environ[name]
    # A stack in a test has a notifier where the test is about one: it would cost each a process.
    os.environ["PHONEMETER_CONSOLE_RECIPIENTS"] = "false"
    # What a shell starts in the background is deaf to Ctrl-C; they must hear it.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.setdefault("JDK_JAVA_OPTIONS", kafka_classes.java_options())


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that use real parts, and order the files: the long ones must not be last.

    Those with the session's stack come late among those with real parts: once it runs, it takes of the time
    of all others. The short ones without any keep both processes busy at the end.
    """
    real_parts.mark(items)
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    marked = {item.path for item in items if item.get_closest_marker(real_parts.MARKER)}
    on_stack = {item.path for item in items if real_parts.is_for_the_session(item, "stack")}
    items.sort(key=lambda item: (item.path not in slow, item.path not in marked, item.path in on_stack))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Refuse real parts to tests without the marker."""
    if item.get_closest_marker(real_parts.MARKER):
        return (yield)
    with real_parts.none_may_start():
        return (yield)


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """A function that names a free port on loopback."""
    return ports.free_port


@dataclass(frozen=True, slots=True)
class RunningKafka:
    """The session's broker. `supervised.pid` is its process, which restarts when killed."""

    bootstrap: str
    supervised: Supervised
    topics: EmptyTopics = field(default_factory=EmptyTopics)


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
def supervised_service(service: ServiceSpec) -> Iterator[Supervised]:
    """A service under supervision for the block."""
    with BackgroundLoop() as loop:
        supervised = Supervised(service)
        try:
            loop.run(supervised.start())
            yield supervised
        finally:
            loop.run(supervised.stop())


@pytest.fixture(scope="session")
@starts_real_parts
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningKafka]:
    """A real broker for the session, without any topic of ours; its jars come from the user's cache."""
    directory = StackDirectory(tmp_path_factory.mktemp("kafka"))
    settings = load(
        data_dir=directory.path, kafka_port=ports.free_port(), kafka_controller_port=ports.free_port()
    )
    with supervised_service(services.kafka(settings, directory)) as supervised:
        yield RunningKafka(settings.kafka, supervised)


@pytest.fixture(scope="session")
@starts_real_parts
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    """A real embedded ClickHouse for the session. Tests that write make a database of their own."""
    directory = StackDirectory(tmp_path_factory.mktemp("engine"))
    settings = load(
        data_dir=directory.path, engine_native_port=ports.free_port(), engine_http_port=ports.free_port()
    )
    with supervised_service(services.program("engine", settings, directory)) as supervised:
        yield RunningEngine(settings.engine_native_port, settings.engine_http_port, supervised)


def _ports_of_a_stack() -> dict[str, int]:
    return {name: ports.free_port() for names in services.PORTS.values() for name in names}


@pytest.fixture
def stack_settings(tmp_path: Path) -> Settings:
    """Settings of a stack of the test's own: its directory, its ports. Change some with `.replaced(...)`."""
    return load(data_dir=tmp_path / "stack", **_ports_of_a_stack())


@pytest.fixture(scope="session")
@starts_real_parts
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The whole stack, for the session, in events' time: Kafka, engine, worker and sink, all real.

    The stack is shared: a test uses apps (appids) of its own. Services that a test kills come back.
    """
    settings = load(
        data_dir=tmp_path_factory.mktemp("stack"),
        clock="events",
        console_test_payments=True,
        **_ports_of_a_stack(),
    )
    with Stack(settings) as running:
        yield running


@pytest.fixture
def topics(kafka: RunningKafka) -> RunningKafka:
    """The session's broker with all of phonemeter's topics empty and without its consumer groups."""
    return emptied(kafka, PARTITIONS)


@pytest.fixture
def undivided_topics(kafka: RunningKafka) -> RunningKafka:
    """The same with one partition."""
    return emptied(kafka, 1)


def emptied(kafka: RunningKafka, partitions: int) -> RunningKafka:
    """Have all topics of a broker empty, and none of phonemeter's groups there."""
    kafka.topics.renew(kafka.bootstrap, partitions, kafka.supervised.pid)
    return kafka
