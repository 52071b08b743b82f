import errno
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from metering.topics import ALL
from phonemeter.errors import OperationError, UserError
from phonemeter.kafka_admin import admin
from phonemeter.settings import Settings
from phonemeter.stack import services
from phonemeter.stack.directory import StackDirectory
from phonemeter.stack.services import ServiceName
from phonemeter.stack.simulated_wechat import with_simulated_wechat
from phonemeter.stack.stack import Endpoints, Stack
from phonemeter.stack.supervisor import RestartPolicy, ServiceSpec, ServiceState
from tests.phonemeter.stack.test_supervisor import running
from tests.waiting import blocking_until

SERVE = "import pathlib, signal; pathlib.Path('ready').touch(); signal.pause()"


@pytest.fixture
def settings(stack_settings: Settings) -> Settings:
    """Settings of a stack of its own, under a shorter name."""
    return stack_settings


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Python programs in place of phonemeter's own services, by name; each is ready with its file `ready`."""
    programs: dict[str, str] = {}

    def stand_in(name: ServiceName, settings: Settings, directory: StackDirectory) -> ServiceSpec:
        del settings

        async def ready() -> bool:
            return (directory.of(name) / "ready").exists()

        return ServiceSpec(
            name,
            (sys.executable, "-c", programs.get(name, SERVE)),
            ready,
            directory.log(name),
            directory=directory.of(name),
            restarts=RestartPolicy(attempts=2, delay_s=0.01, delay_max_s=0.01),
        )

    monkeypatch.setattr(services, "program", stand_in)
    return programs


@pytest.mark.usefixtures("programs")
def test_a_stack_is_ready_when_it_begins_and_gone_when_it_ends(settings: Settings) -> None:
    with Stack(settings, only=("engine", "worker", "sink")) as stack:
        pids = [stack.pid("engine"), stack.pid("worker"), stack.pid("sink")]
        assert all(running(pid) for pid in pids)
        assert stack.state("worker") is ServiceState.READY
    assert not any(running(pid) for pid in pids)
    assert stack.pid("worker") is None


@pytest.mark.usefixtures("programs")
async def test_a_stack_can_be_entered_asynchronously(settings: Settings) -> None:
    async with Stack(settings, only=("engine",)) as stack:
        pid = stack.pid("engine")
        assert running(pid)
    assert not running(pid)


@pytest.mark.usefixtures("programs")
def test_a_killed_service_comes_back_and_is_counted(settings: Settings) -> None:
    with Stack(settings, only=("worker",)) as stack:
        killed = stack.pid("worker")
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        blocking_until(lambda: stack.restart_count("worker") == 1 and running(stack.pid("worker")))
        stack.check()


def test_a_service_that_cannot_live_ends_the_start_with_the_reason(
    settings: Settings, programs: dict[str, str]
) -> None:
    programs["sink"] = "import sys; sys.exit('the schema is newer than this sink')"
    stack = Stack(settings, only=("engine", "worker", "sink"))
    with pytest.raises(OperationError, match=r"sink was given up .* the schema is newer"), stack:
        pass
    assert stack.pid("engine") is None
    assert stack.pid("worker") is None


def test_a_service_that_is_given_up_later_is_told_by_check(
    settings: Settings, programs: dict[str, str]
) -> None:
    programs["worker"] = (
        "import pathlib, signal, sys\n"
        "if pathlib.Path('ready').exists(): sys.exit('no more')\n"
        "pathlib.Path('ready').touch(); signal.pause()"
    )
    with Stack(settings, only=("worker",)) as stack:
        pid = stack.pid("worker")
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        blocking_until(lambda: stack.state("worker") is ServiceState.FAILED)
        with pytest.raises(OperationError, match="no more"):
            stack.check()


def test_a_service_that_is_not_ready_in_time_is_named(settings: Settings, programs: dict[str, str]) -> None:
    programs["worker"] = "import signal; print('waiting for Godot', flush=True); signal.pause()"
    stack = Stack(settings, only=("engine", "worker"))
    try:
        stack.start()
        blocking_until(
            lambda: (
                stack.directory.log("worker").exists() and stack.directory.log("worker").stat().st_size > 0
            ),
        )
        with pytest.raises(
            OperationError, match=r"within 0.1 s: worker is starting and said last: waiting for Godot"
        ):
            stack.wait_ready(0.1)
    finally:
        stack.stop()


@pytest.mark.usefixtures("programs")
def test_a_second_stack_on_the_directory_is_refused(settings: Settings) -> None:
    with (
        Stack(settings, only=("engine",)),
        pytest.raises(UserError, match=f"process {os.getpid()}"),
        Stack(settings, only=("worker",)),
    ):
        pass


@pytest.mark.usefixtures("programs")
def test_a_taken_port_is_refused_before_anything_starts(settings: Settings) -> None:
    stack = Stack(settings, only=("engine", "worker"))
    with (
        socket.create_server(("127.0.0.1", settings.worker_port)),
        pytest.raises(UserError, match=f"Port {settings.worker_port} .* PHONEMETER_WORKER_PORT"),
        stack,
    ):
        pass
    assert not stack.directory.of("engine").exists()


@pytest.mark.parametrize(
    ("setting", "value"),
    [("kafka", "broker.example:9092"), ("clickhouse", "clickhouse://default@db.example:9000/phonemeter")],
)
def test_servers_elsewhere_are_refused(settings: Settings, setting: str, value: str) -> None:
    with pytest.raises(UserError, match=f"PHONEMETER_{setting.upper()}"):
        Stack(settings.replaced(**{setting: value})).start()


@pytest.mark.usefixtures("programs")
def test_the_state_is_left_for_other_processes(settings: Settings) -> None:
    with Stack(settings, only=("engine",)) as stack:
        blocking_until(lambda: stack.directory.read_state() == stack.describe())
        assert stack.describe()["services"]["engine"]["state"] == "ready"
    assert stack.directory.read_state() is None


@pytest.mark.stack
def test_kafka_is_there_with_its_topics_and_dies_with_a_killed_stack(
    settings: Settings, tmp_path: Path
) -> None:
    program = tmp_path / "stack.py"
    program.write_text(
        "import signal\n"
        "from phonemeter.settings import load\n"
        "from phonemeter.stack.stack import Stack\n"
        "with Stack(load(), only=('kafka',)) as stack:\n"
        "    print(stack.pid('kafka'), flush=True)\n"
        "    signal.pause()\n"
    )
    environ = {**os.environ, **settings.to_environ()}
    with subprocess.Popen(
        [sys.executable, program], stdout=subprocess.PIPE, text=True, env=environ
    ) as process:
        assert process.stdout is not None
        kafka = int(process.stdout.readline())
        with admin(settings.kafka_access) as client:
            assert {topic.name for topic in ALL} <= set(client.list_topics())
        process.kill()
    blocking_until(lambda: not running(kafka))


def test_the_notifier_is_told_of_where_there_is_one(settings: Settings, tmp_path: Path) -> None:
    assert Endpoints.of(settings).notifier_metrics is None
    routed = settings.replaced(alert_routes=tmp_path / "routes.toml", notifier_port=9_999)
    assert Endpoints.of(routed).notifier_metrics == "http://127.0.0.1:9999/metrics"


def test_wechats_side_and_its_stand_in_are_told_of_where_they_run(settings: Settings, tmp_path: Path) -> None:
    assert (Endpoints.of(settings).wechat_metrics, Endpoints.of(settings).wechat_sim) == (None, None)
    both = with_simulated_wechat(
        settings.replaced(data_dir=tmp_path, wechat_port=9_998, wechat_sim_port=9_997)
    )
    assert Endpoints.of(both).wechat_metrics == "http://127.0.0.1:9998/metrics"
    assert Endpoints.of(both).wechat_sim == both.wechat_api == "http://127.0.0.1:9997"
    assert both.wechat_apps is not None
    assert {path.stat().st_mode & 0o077 for path in both.wechat_apps.parent.iterdir()} == {0}


def test_a_service_that_is_started_again_is_told_with_its_own_sentence(
    settings: Settings, programs: dict[str, str]
) -> None:
    programs["worker"] = (
        "import pathlib, signal, sys\n"
        "ready = pathlib.Path('ready')\n"
        "if not ready.exists(): ready.touch(); sys.exit('the topic was cut')\n"
        "signal.pause()"
    )
    with Stack(settings, only=("worker",)) as stack:
        blocking_until(lambda: len(stack.notices) == 1)
        assert stack.notices == ["worker ended and is started again (exit status 1): the topic was cut."]


@pytest.mark.usefixtures("programs")
def test_a_state_that_could_not_be_written_is_written_later(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused: list[object] = []
    write = StackDirectory.write_state

    def write_state(directory: StackDirectory, state: dict[str, Any]) -> None:
        if not refused:
            refused.append(state)
            raise OSError(errno.ENOSPC, "No space left on device")
        write(directory, state)

    monkeypatch.setattr(StackDirectory, "write_state", write_state)
    with Stack(settings, only=("engine",)) as stack:
        blocking_until(lambda: stack.directory.read_state() is not None)
        assert refused
