"""docker-compose.yml and what it mounts: valid, pinned, closed, and the same services as everywhere else."""

import re
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
import yaml
from clickhouse_driver.util.helpers import parse_url

from phonemeter.cli.program import COMMANDS
from phonemeter.settings import Settings, load, variable
from phonemeter.stack import services
from phonemeter.stack.directory import StackDirectory

ROOT = Path(__file__).parents[1]
COMPOSE = ROOT / "docker-compose.yml"
PASSWORDS = {
    "SINK_PASSWORD": "sinksecret",
    "READER_PASSWORD": "readersecret",
    "READS_PASSWORD": "readssecret",
    "BUSINESS_PASSWORD": "businesssecret",
    "GRAFANA_PASSWORD": "shown",
}
OURS = ("topics", "worker", "sink", "settler", "notifier", "audit", "wechat", "gateway", "console")
PINNED = re.compile(r"^(?:postgres:\d+\.\d+|[a-z0-9./-]+:v?\d+\.\d+\.\d+[a-z0-9.-]*)$")


def composed() -> dict[str, Any]:
    """The file with the passwords filled in, as compose fills them."""
    text = re.sub(
        r"\$\{(\w+):\?[^}]*\}", lambda found: PASSWORDS[found.group(1)], COMPOSE.read_text(encoding="utf-8")
    )
    read: dict[str, Any] = yaml.safe_load(text)
    return read


def services_of(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = compose["services"]
    return found


EVERY = tuple(services_of(composed()))


def test_it_follows_the_compose_specification() -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE)],
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


@pytest.mark.parametrize("name", [name for name in EVERY if name != "topics"])
def test_every_long_running_service_has_a_health_check(name: str) -> None:
    assert services_of(composed())[name]["healthcheck"]["test"][0] == "CMD"


@pytest.mark.parametrize("name", OURS)
def test_our_services_have_a_read_only_root(name: str) -> None:
    assert services_of(composed())[name]["read_only"] is True


@pytest.mark.parametrize("name", OURS)
def test_our_commands_are_commands_of_the_program(name: str) -> None:
    command, *options = services_of(composed())[name]["command"]
    assert command in {one.name for one in COMMANDS}
    assert options == (["--every", "1h"] if name == "audit" else [])


@pytest.mark.parametrize("name", ["worker", "sink", "settler", "notifier", "wechat", "gateway", "console"])
def test_the_stack_of_one_machine_runs_the_same_commands(name: services.ServiceName, tmp_path: Path) -> None:
    service = services.program(name, load(), StackDirectory(tmp_path))
    assert services_of(composed())[name]["command"] == [service.command[-1]]


@pytest.mark.parametrize("name", OURS)
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
