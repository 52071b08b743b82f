"""The real parts that tests share: ports, the broker, the engine, the whole stack. None outlives it."""

import random
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import pytest

from metering.topics import ALL, SINK_GROUP, WORKER_GROUP
from phonemeter.stack.background import BackgroundLoop
from phonemeter.stack.kafka.broker import Broker
from phonemeter.stack.kafka.topics import admin, ensure_topics
from phonemeter.stack.probes import HOST, listens
from phonemeter.stack.settings import StackSettings
from phonemeter.stack.supervisor import Service, Supervised

PARTITIONS = 4


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


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningKafka]:
    """A real broker for the session, without any topic of ours; its jars come from the user's cache."""
    directory = tmp_path_factory.mktemp("kafka")
    settings = StackSettings()
    port = _free_port()
    broker = Broker(directory, settings.cache_dir, port, _free_port(), settings.kafka_heap_mb)
    service = Service("kafka", broker.prepare(), partial(listens, port), directory / "kafka.log")
    with BackgroundLoop() as loop:
        supervised = Supervised(service)
        try:
            loop.run(supervised.start())
            yield RunningKafka(f"{HOST}:{port}", supervised)
        finally:
            loop.run(supervised.stop())


@pytest.fixture
def topics(kafka: RunningKafka) -> RunningKafka:
    """The session's broker with all of phonemeter's topics empty, and its consumer groups forgotten."""
    with admin(kafka.bootstrap) as client:
        names = {topic.name for topic in ALL}
        client.delete_topics(list(names), raise_errors=False)
        while names & set(client.list_topics()):
            pass
        groups = {group["group_id"] for group in client.list_groups()} & {WORKER_GROUP, SINK_GROUP}
        if groups:
            client.delete_groups(list(groups))
    ensure_topics(kafka.bootstrap, PARTITIONS)
    return kafka
