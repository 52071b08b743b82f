import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from kafka import KafkaConsumer

from metering.topics import ALERTS, NOTIFIER_GROUP
from phonemeter.settings import Settings
from phonemeter.stack import services
from phonemeter.stack.health import Consumer, examine, without_password
from phonemeter.stack.stack import Stack
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


def test_up_tells_where_everything_is_and_stops_without_a_trace(stack_settings: Settings) -> None:
    with up(stack_settings) as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        assert told["endpoints"]["kafka"] == stack_settings.kafka
        pids = [service["pid"] for service in told["services"].values()]
        assert all(running(pid) for pid in pids)

        blocking_until(lambda: examine(stack_settings).healthy, within_s=30)
        seen = phonemeter("status", "--json", cwd=Path.cwd(), **stack_settings.to_environ())
        health = json.loads(seen.stdout)
        assert health["problems"] == []
        assert seen.returncode == 0
        assert health["worker"] == {"members": 1, "lag": 0}
        assert health["sink"] == {"members": 1, "lag": 0}
        assert health["services"].keys() == {"kafka", "engine", "worker", "sink"}

        process.send_signal(signal.SIGTERM)
        assert process.wait(STOP_S_MAX) == 0
        assert not any(running(pid) for pid in pids)


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
    # A group that is divided before its member has heard of the topic gives it nothing until it looks again.
    member = KafkaConsumer(
        ALERTS, bootstrap_servers=topics.bootstrap, group_id=NOTIFIER_GROUP, metadata_max_age_ms=500
    )
    try:
        blocking_until(lambda: bool(member.poll(100)) or bool(member.assignment()), within_s=30)
        assert examine(settings).notifier == Consumer(members=1, lag=0)
        routed = examine(settings.replaced(alert_routes=tmp_path / "routes.toml"))
        assert (routed.notifier, len(routed.problems)) == (Consumer(members=1, lag=0), 3)
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


@pytest.mark.stack
def test_the_shared_stack_survives_the_death_of_all_services_at_once(stack: Stack) -> None:
    before = {name: stack.restart_count(name) for name in services.wanted(stack.settings)}
    for name in before:
        pid = stack.pid(name)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
    blocking_until(lambda: all(stack.restart_count(name) > before[name] for name in before), within_s=15)
    blocking_until(lambda: examine(stack.settings).healthy, within_s=60)
