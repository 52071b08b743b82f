"""docker-compose.yml and what it mounts: valid, pinned, closed, and the same services as everywhere else."""

import json
import re
import socket
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ET
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from clickhouse_driver.util.helpers import parse_url

from dashboards.grafana.clickhouse import PLUGIN_VERSION
from phonemeter.cli.program import COMMANDS
from phonemeter.settings import Settings, load, variable
from phonemeter.stack import services
from phonemeter.stack.directory import StackDirectory
from tests.compose_files import read_filled
from tests.conftest import RunningKafka

ROOT = Path(__file__).parents[1]
COMPOSE = ROOT / "docker-compose.yml"
PASSWORDS = {
    "SINK_PASSWORD": "sinksecret",
    "READER_PASSWORD": "readersecret",
    "READS_PASSWORD": "readssecret",
    "BUSINESS_PASSWORD": "businesssecret",
    "GRAFANA_PASSWORD": "shown",
}
OVERRIDES = sorted((ROOT / "deploy" / "compose").glob("*.yml"))
OURS = ("topics", "worker", "sink", "settler", "notifier", "audit", "wechat", "gateway", "console")
PINNED = re.compile(r"^(?:postgres:\d+\.\d+|[a-z0-9./-]+:v?\d+\.\d+\.\d+[a-z0-9.-]*)$")


def composed() -> dict[str, Any]:
    """The file with the passwords filled in, as compose fills them."""
    return read_filled(COMPOSE, PASSWORDS)


def services_of(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = compose["services"]
    return found


EVERY = tuple(services_of(composed()))


def test_it_follows_the_compose_specification_and_what_is_laid_over_it_too(tmp_path: Path) -> None:
    """The checker knows no tags, so the latter are given to it as they are read."""
    laid_over = [tmp_path / f"{file.stem}.json" for file in OVERRIDES]
    for file, read in zip(OVERRIDES, laid_over, strict=True):
        read.write_text(json.dumps(read_filled(file, defaultdict(lambda: "given"))))
    checker = (sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec")
    checked = subprocess.run(
        [*checker, str(COMPOSE), *map(str, laid_over)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("name", EVERY)
def test_every_image_is_pinned(name: str) -> None:
    assert PINNED.match(services_of(composed())[name]["image"])


def test_our_image_carries_our_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert services_of(composed())["worker"]["image"] == f"phonemeter:{project['version']}"


@pytest.mark.parametrize("name", EVERY)
def test_every_port_is_on_loopback(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in services_of(composed())[name].get("ports", ()))


def test_no_port_is_published_twice() -> None:
    published = [
        port.rsplit(":", 1)[0] for one in services_of(composed()).values() for port in one.get("ports", ())
    ]
    assert len(published) == len(set(published))


@pytest.mark.parametrize("name", EVERY)
def test_every_service_has_limits_and_may_gain_nothing(name: str) -> None:
    service = services_of(composed())[name]
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "cap_add" not in service
    assert "privileged" not in service


@pytest.mark.parametrize("name", [name for name in EVERY if name not in {"topics", "phonemeter"}])
def test_every_long_running_service_has_a_health_check_and_what_waits_for_it_waits_until_it_is_healthy(
    name: str,
) -> None:
    assert services_of(composed())[name]["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}
    for one in services_of(composed()).values():
        needed = one.get("depends_on", {}).get(name)
        assert needed in (None, {"condition": "service_healthy"})


@pytest.mark.parametrize("name", EVERY)
def test_every_service_has_time_to_stop_a_log_within_bounds_and_a_first_process_that_passes_signals_on(
    name: str,
) -> None:
    service = services_of(composed())[name]
    assert re.fullmatch(r"\d+s", service["stop_grace_period"])
    assert set(service["logging"]["options"]) == {"max-size", "max-file"}
    assert service["init"] is True


def test_kafka_is_healthy_when_it_answers_a_request(kafka: RunningKafka) -> None:
    """The bytes of the check, sent to a broker; the check looks for the same in the answer."""
    check = " ".join(services_of(composed())["kafka"]["healthcheck"]["test"][-1].split())
    sent = re.search(r"printf '([\\0-7]+)' ", check)
    looked_for = re.search(r"head -c (\d+) .* grep -q '([0-9a-f ]+)'", check)
    assert sent is not None
    assert looked_for is not None
    request = bytes(int(octal, 8) for octal in sent.group(1).split("\\")[1:])
    host, _, port = kafka.bootstrap.partition(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(request)
        answer = connection.recv(int(looked_for.group(1)), socket.MSG_WAITALL)
    assert looked_for.group(2) in answer.hex(" ")


def test_commands_run_with_accounts_that_only_read_clickhouse() -> None:
    service = services_of(composed())["phonemeter"]
    assert service["profiles"] == ["commands"]
    assert service["restart"] == "no"
    assert "depends_on" not in service
    users = {
        name: parse_url(url)[1]["user"]
        for name, url in service["environment"].items()
        if url.startswith("clickhouse:")
    }
    assert users == {"PHONEMETER_CLICKHOUSE": "reader", "PHONEMETER_READS_CLICKHOUSE": "reads"}


@pytest.mark.parametrize("name", [*OURS, "phonemeter"])
def test_our_services_have_a_read_only_root(name: str) -> None:
    assert services_of(composed())[name]["read_only"] is True


def test_every_service_of_the_stack_is_here() -> None:
    running = (one for one in services_of(composed()).values() if one.get("profiles") != ["commands"])
    ours = (one for one in running if one["image"].startswith("phonemeter:"))
    commands = {one["command"][0] for one in ours if one.get("command")}
    assert commands == {*OURS} == {*services.STAGES, "audit", "topics"} - {"wechat-sim"}


@pytest.mark.parametrize("name", OURS)
def test_our_commands_are_commands_of_the_program(name: str) -> None:
    command, *options = services_of(composed())[name]["command"]
    assert command in {one.name for one in COMMANDS}
    assert options == (["--every", "1h"] if name == "audit" else [])


@pytest.mark.parametrize("name", ["worker", "sink", "settler", "notifier", "wechat", "gateway", "console"])
def test_the_stack_of_one_machine_runs_the_same_commands(name: services.ServiceName, tmp_path: Path) -> None:
    service = services.program(name, load(), StackDirectory(tmp_path))
    assert services_of(composed())[name]["command"] == [service.command[-1]]


@pytest.mark.parametrize("name", [*OURS, "phonemeter"])
def test_our_environment_is_made_of_settings_that_are_valid(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = services_of(composed())[name]["environment"]
    assert set(environment) <= {variable(field) for field in Settings.model_fields}
    for key, value in environment.items():
        monkeypatch.setenv(key, str(value))
    settings = load()
    assert settings.kafka == "kafka:19092"
    if name == "sink":
        assert settings.clickhouse == "clickhouse://sink:sinksecret@clickhouse:9000/phonemeter"


def test_the_audit_reads_as_the_reader_with_time_for_its_fingerprints() -> None:
    url = services_of(composed())["audit"]["environment"]["PHONEMETER_CLICKHOUSE"]
    _, options = parse_url(url)
    assert (options["user"], options["password"]) == ("reader", "readersecret")
    assert options["settings"] == {"max_execution_time": "300"}


@pytest.mark.parametrize(
    ("name", "port"),
    [
        ("worker", "worker_port"),
        ("sink", "sink_metrics_port"),
        ("settler", "settler_port"),
        ("notifier", "notifier_port"),
        ("audit", "audit_port"),
        ("wechat", "wechat_port"),
        ("gateway", "gateway_metrics_port"),
        ("console", "console_metrics_port"),
    ],
)
def test_ports_are_those_of_the_settings(name: str, port: str) -> None:
    number = Settings.model_fields[port].default
    service = services_of(composed())[name]
    assert service["ports"][0] == f"127.0.0.1:{number}:{number}"
    assert len(service["ports"]) == (2 if name in {"wechat", "gateway", "console"} else 1)
    assert f"'http://127.0.0.1:{number}/healthz'" in service["healthcheck"]["test"][-1]


def test_no_password_is_written_down() -> None:
    text = COMPOSE.read_text(encoding="utf-8")
    for line in text.splitlines():
        if "PASSWORD" in line:
            assert re.search(r"\$\{\w+_PASSWORD:\?", line), line


def test_the_example_names_every_password_and_gives_none() -> None:
    lines = (ROOT / "deploy/example.env").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not line.startswith("#")] == [f"{name}=" for name in PASSWORDS]
    asked = {name for file in OVERRIDES for name in re.findall(r"\$\{(\w+):\?", file.read_text("utf-8"))}
    assert asked == {line.strip("#=") for line in lines if re.fullmatch(r"#\w+=", line)}


def test_every_mounted_path_exists() -> None:
    mounted = [
        volume.split(":")[0]
        for one in services_of(composed()).values()
        for volume in one.get("volumes", ())
        if volume.startswith("./")
    ]
    assert mounted
    assert [path for path in mounted if not (ROOT / path).exists()] == []


def test_every_volume_is_declared_and_used() -> None:
    used = {
        volume.split(":")[0]
        for one in services_of(composed()).values()
        for volume in one.get("volumes", ())
        if not volume.startswith("./")
    }
    assert used == set(composed()["volumes"])


def test_kafka_makes_no_topics_by_itself() -> None:
    assert services_of(composed())["kafka"]["environment"]["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"


def test_grafana_brings_the_data_source_that_the_dashboards_are_for_and_fetches_nothing() -> None:
    service = services_of(composed())["grafana"]
    text = (ROOT / service["build"] / "Dockerfile").read_text(encoding="utf-8")
    assert f"FROM grafana/grafana:{service['image'].rpartition(':')[2]}\n" in text
    assert f"ARG DATASOURCE_VERSION={PLUGIN_VERSION}\n" in text
    assert text.rstrip().endswith("USER 472")
    assert service["environment"]["GF_PLUGINS_PREINSTALL_DISABLED"] == "true"
    assert not any("PREINSTALL_SYNC" in name for name in service["environment"])


def test_grafana_has_what_its_provisioning_asks_for() -> None:
    environment = services_of(composed())["grafana"]["environment"]
    provisioning = ROOT / "dashboards/grafana/provisioning/datasources"
    asked = {
        name
        for file in provisioning.glob("*.yml")
        for name in re.findall(r"\$(\w+)", file.read_text("utf-8"))
    }
    assert asked <= set(environment)
    assert environment["CLICKHOUSE_USER"] == "reader"


def test_only_the_sink_may_write_and_only_in_its_database() -> None:
    users = ET.parse(ROOT / "deploy/clickhouse/accounts.xml").getroot().find("users")  # noqa: S314 - our own file
    assert users is not None
    assert [user.tag for user in users] == ["default", "sink", "reader", "reads"]
    grants = {user.tag: [query.text for query in user.iter("query")] for user in users}
    assert grants["default"] == []
    assert grants["reader"] == ["GRANT SELECT ON phonemeter.*"]
    assert all(re.fullmatch(r"GRANT SELECT ON phonemeter\.\w+", str(grant)) for grant in grants["reads"])
    places = (" ON phonemeter.*", " ON phonemeter_repair.*", " ON system.processes")
    assert all(str(grant).endswith(places) for grant in grants["sink"])
