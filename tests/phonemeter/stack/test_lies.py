"""A stack in which something does not hold although every process runs: nobody calls that healthy."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from kafka import KafkaProducer

from metering.topics import LEDGER
from phonemeter.settings import Settings
from phonemeter.stack.health import examine
from phonemeter.stack.stack import Stack
from tests.phonemeter.cli.test_main import phonemeter
from tests.real_parts import starts_real_parts
from tests.served import asked
from tests.streams.worker_process import WorkerProcess
from tests.waiting import WITHIN_S, blocking_until

NO_ROUTES, NO_FILE_OF_ROUTES = "# none yet", "routes = 1"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The path of the routes file."""
    return tmp_path_factory.mktemp("lies")


@pytest.fixture
@starts_real_parts
def stack(stack_settings: Settings, directory: Path) -> Iterator[Stack]:
    """A whole stack, with a notifier."""
    routes = directory / "routes.toml"
    routes.write_text(NO_ROUTES)
    with Stack(stack_settings.replaced(alert_routes=routes)) as running:
        yield running


def healthy(port: int) -> bool:
    return asked(port, "/healthz")[0] == 200


def test_a_stopped_partition_and_refused_routes_are_not_healthy(stack: Stack, directory: Path) -> None:
    settings = stack.settings
    ports = {
        "worker": settings.worker_port,
        "sink": settings.sink_metrics_port,
        "notifier": settings.notifier_port,
    }
    for service, port in ports.items():
        assert asked(port, "/livez") == (200, {"state": "alive"})
        assert asked(port, "/readyz")[0] == 200
        blocking_until(partial(healthy, port))
        assert asked(port, "/healthz")[1]["service"] == service
    blocking_until(lambda: examine(settings).healthy)

    producer = KafkaProducer(bootstrap_servers=settings.kafka, acks="all")
    producer.send(LEDGER, b'{"format": 2}', partition=3).get(timeout=WITHIN_S)
    producer.close()
    blocking_until(lambda: not healthy(ports["sink"]))
    status, document = asked(ports["sink"], "/healthz")
    assert (status, document["state"]) == (503, "unhealthy")
    (stopped,) = document["problems"]
    assert (stopped["promise"], stopped["partition"]) == ("advancing", 3)
    # It is alive, and has started: to start it again would not help.
    assert asked(ports["sink"], "/livez")[0] == asked(ports["sink"], "/readyz")[0] == 200

    (directory / "routes.toml").write_text(NO_FILE_OF_ROUTES)
    blocking_until(lambda: not healthy(ports["notifier"]))

    seen = phonemeter("status", "--json", cwd=directory, **settings.to_environ())
    assert seen.returncode == 1
    told = json.loads(seen.stdout)["problems"]
    assert [one for one in told if one.startswith("Partition 3 of phone-ledger is stopped at record")] != []
    assert [one for one in told if one.startswith("The routes file is refused")] != []
    assert healthy(ports["worker"])


@pytest.mark.stack
def test_a_worker_is_alive_and_says_what_it_waits_for_while_kafka_is_away(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    port = free_port()
    with WorkerProcess(f"127.0.0.1:{free_port()}", port, tmp_path) as worker:

        def waits() -> bool:
            assert worker.process.poll() is None
            try:
                return "Kafka does not answer" in str(asked(port, "/readyz"))
            except OSError:
                return False

        blocking_until(waits)
        assert asked(port, "/livez") == (200, {"state": "alive"})
        status, document = asked(port, "/healthz")
        assert (status, document["state"]) == (503, "starting")
