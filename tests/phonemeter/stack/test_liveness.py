"""A service that was ready and does not do what it is for any more: noticed, told and mended."""

import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from kafka_access.access import KafkaAccess
from phonemeter.settings import Settings
from phonemeter.stack import services
from phonemeter.stack.liveness import Liveness
from phonemeter.stack.probes import answers_metadata, answers_queries
from phonemeter.stack.services import ServiceName
from phonemeter.stack.stack import Stack
from phonemeter.stack.supervisor import ServiceSpec, ServiceState, Supervised
from tests.conftest import RunningEngine, RunningKafka
from tests.phonemeter.stack.test_supervisor import QUICK, running
from tests.waiting import blocking_until, until

SERVE = "import pathlib, signal; pathlib.Path('ready').touch(); signal.pause()"

Watch = Callable[[float], Supervised]


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
async def watched(tmp_path: Path, told: list[str]) -> AsyncIterator[Watch]:
    """A function that supervises a process, given up after so long; it answers unless `silent` is there."""
    made: list[Supervised] = []

    async def ready() -> bool:
        return (tmp_path / "ready").exists()

    async def answers() -> bool:
        if (tmp_path / "broken").exists():
            raise ValueError("no words of a protocol")
        return not (tmp_path / "silent").exists()

    def watch(give_up_s: float) -> Supervised:
        service = ServiceSpec(
            "stand-in",
            (sys.executable, "-c", SERVE),
            ready,
            tmp_path / "log",
            directory=tmp_path,
            restarts=QUICK,
            liveness=Liveness(answers, interval_s=0.01, give_up_s=give_up_s),
        )
        made.append(Supervised(service, told.append))
        return made[-1]

    yield watch
    for one in made:
        await one.stop()


@pytest.mark.parametrize("fault", ["silent", "broken"])
async def test_a_service_that_does_not_answer_is_told_and_told_again_when_it_does(
    watched: Watch, tmp_path: Path, told: list[str], fault: str
) -> None:
    service = watched(600)
    await service.start()
    pid = service.pid
    (tmp_path / fault).touch()
    await until(lambda: service.state is ServiceState.SILENT)
    (tmp_path / fault).unlink()
    await until(lambda: service.state is ServiceState.READY)
    assert told == ["stand-in does not answer any more.", "stand-in answers again."]
    assert (service.pid, service.restart_count) == (pid, 0)


async def test_a_service_that_has_not_answered_for_too_long_is_started_again(
    watched: Watch, tmp_path: Path, told: list[str]
) -> None:
    service = watched(0.2)
    await service.start()
    pid = service.pid
    (tmp_path / "silent").touch()
    await until(lambda: service.restart_count >= 1)
    (tmp_path / "silent").unlink()
    await until(lambda: service.state is ServiceState.READY)
    assert not running(pid)
    assert told[0] == "stand-in does not answer any more."
    assert told[1].startswith("stand-in did not answer for too long and is started again (killed by signal ")


@pytest.mark.stack
@pytest.mark.parametrize("name", ["kafka", "engine"])
def test_a_frozen_kafka_or_engine_is_noticed_shown_and_started_again(
    stack_settings: Settings, monkeypatch: pytest.MonkeyPatch, name: ServiceName
) -> None:
    monkeypatch.setattr(services, "Liveness", partial(Liveness, interval_s=0.2, give_up_s=4))
    with Stack(stack_settings, only=(name,)) as stack:
        frozen = stack.pid(name)
        assert frozen is not None
        os.kill(frozen, signal.SIGSTOP)

        def shown() -> str:
            state = stack.directory.read_state()
            return "" if state is None else str(state["services"][name]["state"])

        blocking_until(lambda: shown() == ServiceState.SILENT)
        blocking_until(lambda: stack.restart_count(name) >= 1 and not running(frozen))
        blocking_until(
            lambda: stack.state(name) is ServiceState.READY and shown() == ServiceState.READY, within_s=120
        )
        assert f"{name} does not answer any more." in stack.notices
        assert any(one.startswith(f"{name} did not answer for too long") for one in stack.notices)


async def test_an_engine_is_alive_that_answers_over_both_of_its_protocols(
    engine: RunningEngine, free_port: Callable[[], int]
) -> None:
    away = f"clickhouse://default@127.0.0.1:{free_port()}/phonemeter"
    assert await answers_queries(engine.url("not_made_yet"), engine.http_port)
    assert not await answers_queries(engine.url("not_made_yet"), free_port())
    assert not await answers_queries(away, engine.http_port)


async def test_a_kafka_is_alive_that_tells_its_brokers(
    kafka: RunningKafka, free_port: Callable[[], int]
) -> None:
    assert await answers_metadata(KafkaAccess(kafka.bootstrap))
    assert not await answers_metadata(KafkaAccess(f"127.0.0.1:{free_port()}"))


@pytest.mark.parametrize("name", ["worker", "sink", "settler", "notifier", "wechat"])
async def test_a_service_that_does_not_keep_its_promises_is_alive(
    stack_settings: Settings, name: ServiceName
) -> None:
    class Unhealthy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/livez" else 503)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    probe = services.liveness_probe(name, stack_settings)
    assert not await probe()
    port = getattr(stack_settings, services.PORTS[name][0])
    with HTTPServer(("127.0.0.1", port), Unhealthy) as server:
        Thread(target=server.handle_request, daemon=True).start()
        assert await probe()
