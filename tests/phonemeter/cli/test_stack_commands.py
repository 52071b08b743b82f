import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from stat import S_IMODE

import pytest
from kafka import KafkaConsumer

from metering.topics import ALERTS, NOTIFIER_GROUP
from phonemeter.settings import Settings, stack_clickhouse, without_password
from phonemeter.stack import services
from phonemeter.stack.directory import StackDirectory
from phonemeter.stack.health import ConsumerHealth, examine
from phonemeter.stack.stack import Stack
from sinks.kafka_consumer import poll
from tests.conftest import RunningKafka
from tests.phonemeter.cli.test_main import phonemeter
from tests.phonemeter.stack.test_supervisor import running
from tests.waiting import blocking_until

STOP_S_MAX = 10


@contextmanager
def up(settings: Settings) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "phonemeter", "up", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **settings.to_environ()},
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.stack
def test_up_tells_where_everything_is_and_stops_without_a_trace(stack_settings: Settings) -> None:
    with up(stack_settings) as process:
        assert process.stdout is not None
        blocking_until(StackDirectory(stack_settings.data_dir).is_owned)
        beside = phonemeter("audit", "--json", cwd=Path.cwd(), **stack_settings.to_environ())
        assert beside.returncode == 0, beside.stderr
        assert json.loads(beside.stdout)["clean"]
        assert re.match(
            r"The stack on /.* is starting \(.+\): waiting until it is ready, at most", beside.stderr
        )

        told = json.loads(process.stdout.readline())
        assert told["endpoints"]["kafka"] == stack_settings.kafka
        pids = [service["pid"] for service in told["services"].values()]
        assert all(running(pid) for pid in pids)

        blocking_until(lambda: examine(stack_settings).healthy)
        seen = phonemeter("status", "--json", cwd=Path.cwd(), **stack_settings.to_environ())
        health = json.loads(seen.stdout)
        assert health["problems"] == []
        assert seen.returncode == 0
        # Clock ticks come all the time; some may have just come.
        assert health["worker"]["members"] == health["sink"]["members"] == 1
        assert health["worker"]["waited_s"] < 60
        assert health["services"].keys() == {
            "kafka",
            "engine",
            "worker",
            "sink",
            "settler",
            "gateway",
            "console",
        }

        process.send_signal(signal.SIGTERM)
        assert process.wait(STOP_S_MAX) == 0
        assert not any(running(pid) for pid in pids)


@pytest.mark.stack
def test_a_stack_with_a_password_prints_none_and_its_files_are_for_the_user_alone(
    stack_settings: Settings,
) -> None:
    password = "hunter2"  # noqa: S105 - a made-up one
    url = stack_clickhouse(stack_settings.engine_native_port, password)
    settings = stack_settings.replaced(engine_password=password, clickhouse=url)
    with up(settings) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert json.loads(line)["endpoints"]["clickhouse"] == url.replace(password, "***")
        assert password not in line
        # Each service works with the password all the same.
        blocking_until(lambda: examine(settings).healthy, within_s=90)
        made = [one for one in settings.data_dir.rglob("*") if not one.is_symlink()]
        assert len(made) > 50
        # Some are gone again meanwhile.
        assert [str(one) for one in made if one.exists() and S_IMODE(one.stat().st_mode) & 0o077] == []
        assert S_IMODE(settings.data_dir.stat().st_mode) == 0o700


@pytest.mark.stack
def test_up_refuses_a_taken_port_with_status_2(stack_settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", stack_settings.kafka_port)):
        refused = phonemeter("up", cwd=Path.cwd(), **stack_settings.to_environ())
    assert refused.returncode == 2
    assert f"Port {stack_settings.kafka_port} cannot be used" in refused.stderr


def test_status_without_anything_running_names_what_is_missing(stack_settings: Settings) -> None:
    seen = phonemeter("status", "--json", cwd=Path.cwd(), **stack_settings.to_environ())
    assert seen.returncode == 1
    health = json.loads(seen.stdout)
    assert [problem.partition(" at ")[0] for problem in health["problems"]] == ["Kafka", "ClickHouse"]
    assert health["services"] is None
    assert seen.stderr == ""


def test_status_says_why_there_is_no_notifier(stack_settings: Settings, tmp_path: Path) -> None:
    def notifier(settings: Settings) -> str:
        shown = phonemeter("status", cwd=tmp_path, **settings.to_environ(), COLUMNS="200").stdout
        (row,) = (line for line in shown.splitlines() if line.startswith("│ notifier"))
        return row.split("│")[2].strip()

    where = "PHONEMETER_ALERT_ROUTES (alert_routes in phonemeter.toml)"
    assert notifier(stack_settings) == f"not running: no routes are configured; set {where}"
    assert notifier(stack_settings.replaced(alert_routes=tmp_path / "routes.toml")) == "unknown"


def test_status_says_why_nothing_is_read_at_wechat(stack_settings: Settings, tmp_path: Path) -> None:
    def wechat(settings: Settings) -> str:
        shown = phonemeter("status", cwd=tmp_path, **settings.to_environ(), COLUMNS="200").stdout
        (row,) = (line for line in shown.splitlines() if line.startswith("│ wechat"))
        return row.split("│")[2].strip()

    where = "PHONEMETER_WECHAT_APPS (wechat_apps in phonemeter.toml)"
    assert wechat(stack_settings) == f"not running: no apps are configured; set {where}"
    assert wechat(stack_settings.replaced(wechat_apps=tmp_path / "apps.toml")) == "unknown"


def test_status_names_a_stage_that_nobody_runs(topics: RunningKafka, stack_settings: Settings) -> None:
    health = examine(stack_settings.replaced(kafka=topics.bootstrap))
    assert "Nobody reads phone-events: consumer group phonemeter-worker has no members." in health.problems
    assert health.worker is not None
    assert health.worker.lag == 0


def test_status_finds_a_notifier_whose_routes_are_set_elsewhere(
    topics: RunningKafka, stack_settings: Settings, tmp_path: Path
) -> None:
    settings = stack_settings.replaced(kafka=topics.bootstrap)
    assert examine(settings).notifier is None
    member = KafkaConsumer(bootstrap_servers=topics.bootstrap, group_id=NOTIFIER_GROUP)
    try:
        # A group that is divided before its member has heard of the topic may give it nothing for ever.
        blocking_until(lambda: bool(member.partitions_for_topic(ALERTS)))
        member.subscribe([ALERTS])
        blocking_until(lambda: bool(poll(member, 0.1)) or bool(member.assignment()))
        assert examine(settings).notifier == ConsumerHealth(members=1, lag=0)
        routed = examine(settings.replaced(alert_routes=tmp_path / "routes.toml"))
        assert (routed.notifier, len(routed.problems)) == (ConsumerHealth(members=1, lag=0), 3)
    finally:
        member.close()


def test_topics_creates_what_is_missing_and_is_content_with_the_rest(
    kafka: RunningKafka, stack_settings: Settings
) -> None:
    environ = stack_settings.replaced(kafka=kafka.bootstrap).to_environ()
    phonemeter("topics", cwd=Path.cwd(), **environ)
    again = phonemeter("topics", cwd=Path.cwd(), **environ)
    assert again.returncode == 0
    assert again.stdout == f"Kafka at {kafka.bootstrap} has every topic with 4 partitions.\n"


def test_settings_are_listed_without_secrets(stack_settings: Settings) -> None:
    environ = stack_settings.replaced(engine_password="hunter2").to_environ()  # noqa: S106 - a made-up one
    listed = phonemeter("settings", "--json", cwd=Path.cwd(), **environ)
    assert json.loads(listed.stdout)["kafka_port"] == stack_settings.kafka_port
    assert "hunter2" not in listed.stdout
    assert "hunter2" not in phonemeter("settings", cwd=Path.cwd(), **environ).stdout


def test_a_url_is_shown_without_its_password() -> None:
    assert without_password("clickhouse://me:secret@db:9000/x") == "clickhouse://me:***@db:9000/x"
    assert without_password("clickhouse://me@db:9000/x") == "clickhouse://me@db:9000/x"


def test_the_shared_stack_survives_the_death_of_all_services_at_once(stack: Stack) -> None:
    before = {name: stack.restart_count(name) for name in services.service_names(stack.settings)}
    for name in before:
        pid = stack.pid(name)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
    blocking_until(lambda: all(stack.restart_count(name) > before[name] for name in before))
    problems: list[str] = []

    def healthy() -> bool:
        # Other tests publish into wrong partitions of this stack, on purpose.
        problems[:] = [one for one in examine(stack.settings).problems if "into wrong partitions" not in one]
        return not problems

    try:
        # At first everybody waits for Kafka, which waits for the session of its former self to run out.
        blocking_until(healthy, within_s=150)
    except AssertionError:
        pytest.fail("; ".join((*problems, *stack.notices)))
