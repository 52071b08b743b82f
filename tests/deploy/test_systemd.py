"""deploy/systemd: units that systemd takes, closed, for commands and settings that exist."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from configparser import RawConfigParser
from pathlib import Path

import pytest

from phonemeter.cli.failures import REFUSALS
from phonemeter.cli.program import COMMANDS
from phonemeter.errors import UserError
from phonemeter.settings import Settings, variable
from phonemeter.stack.services import STAGES
from tools.systemd import analyze

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "deploy" / "systemd"
SHARED = UNITS / "phonemeter-.service.d" / "10-shared.conf"
PROGRAM = "/opt/phonemeter/.venv/bin/phonemeter"
SERVICES = sorted(UNITS.glob("*.service"), key=lambda path: path.name)
INSTANCES = {"worker@": ("6066", "6067"), "sink@": ("9465",)}
OF_ONE = ("settler", "notifier", "gateway", "console", "wechat")
EXPOSURE_MAX = 20
"""Tenths; Debian's own services that are open to the network have 50 to 96."""


class _Unit(RawConfigParser):
    """A unit file; of a key that stands several times, all values, a line each."""

    optionxform = staticmethod(str)  # type: ignore[assignment] # keys are told apart by their case

    def __init__(self, path: Path) -> None:
        super().__init__(strict=False, delimiters=("=",), interpolation=None)
        text = path.read_text(encoding="utf-8")
        self.keys_of = {
            section: [line.partition("=")[0] for line in body.splitlines() if re.match(r"\w+=", line)]
            for section, body in re.findall(r"^\[(\w+)\]\n(.*?)(?=^\[|\Z)", text, re.MULTILINE | re.DOTALL)
        }
        self.read_string(text)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The units as on a machine where the program is there, and a settings file with nothing in it."""
    directory = tmp_path_factory.mktemp("units") / "system"
    shutil.copytree(UNITS, directory)
    for unit in directory.glob("*.service"):
        unit.write_text(unit.read_text(encoding="utf-8").replace(PROGRAM, "/bin/true"), encoding="utf-8")
    return directory


@pytest.fixture(scope="module")
def systemd(installed: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """A function that runs systemd-analyze on the units."""
    program, environ = analyze(installed)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [program, *arguments], env=environ, cwd=installed, capture_output=True, text=True, check=False
        )

    return run


def names() -> list[str]:
    """Every unit as it is enabled, with its instance."""
    found = []
    for path in SERVICES:
        stem = path.stem.removeprefix("phonemeter-")
        instances = OF_ONE if stem == "service@" else INSTANCES.get(stem, ("",))
        found += [f"phonemeter-{stem}{instance}.service" for instance in instances]
    return found


def test_systemd_takes_every_unit(systemd: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    checked = systemd("verify", "--man=no", "./phonemeter.target", *(f"./{name}" for name in names()))
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_every_unit_is_closed(systemd: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    for name in names():
        judged = systemd(
            "security", "--offline=yes", f"--threshold={EXPOSURE_MAX}", "--json=short", f"./{name}"
        )
        assert judged.returncode == 0, judged.stdout + judged.stderr
        fields = {one["json_field"]: one["set"] for one in json.loads(judged.stdout)}
        assert fields["NoNewPrivileges"]
        assert fields["ProtectSystem"]


def test_every_service_of_the_stack_has_a_unit_and_every_unit_a_command() -> None:
    commands = {command.name for command in COMMANDS}
    run = {
        _Unit(UNITS / f"{name.partition('@')[0]}@.service" if "@" in name else UNITS / name)["Service"][
            "ExecStart"
        ].replace("%i", name.partition("@")[2].removesuffix(".service"))
        for name in names()
    }
    assert all(line.startswith(f"{PROGRAM} ") for line in run)
    started = {line.split()[1] for line in run}
    assert started <= commands
    assert started == {name for name in STAGES if name != "wechat-sim"} | {"audit", "topics"}


@pytest.mark.parametrize("path", [*SERVICES, SHARED], ids=lambda path: path.name)
def test_units_set_nothing_but_settings(path: Path) -> None:
    known = {variable(name) for name in Settings.model_fields} | {"PHONEMETER_SECRETS"}
    assert set(re.findall(r"PHONEMETER_\w+", path.read_text(encoding="utf-8"))) <= known
    example = (UNITS / "phonemeter.env").read_text(encoding="utf-8")
    assert set(re.findall(r"PHONEMETER_\w+", example)) <= known


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.name)
def test_what_is_shared_overrides_nothing_of_a_unit(path: Path) -> None:
    """A drop-in comes after the unit, and its value would stand."""
    own, shared = _Unit(path).keys_of, _Unit(SHARED).keys_of
    repeated = set(own["Service"]) & set(shared["Service"])
    assert repeated <= {"Environment"}


def test_a_refused_setting_is_not_tried_again() -> None:
    shared = _Unit(SHARED)["Service"]
    assert REFUSALS
    assert shared["RestartPreventExitStatus"] == str(UserError.exit_status)
    for path in SERVICES:
        assert _Unit(path)["Service"]["Restart"] in {"always", "on-failure"}


def test_secrets_come_as_credentials_from_the_directory_of_the_service_and_never_by_variable() -> None:
    assert "PHONEMETER_SECRETS=%d" in SHARED.read_text(encoding="utf-8")
    secrets = {
        variable(name)
        for name, field in Settings.model_fields.items()
        if isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("secret")
    }
    for path in (*SERVICES, SHARED, UNITS / "phonemeter.env"):
        set_here = re.findall(r"^#?(?:Environment=)?(PHONEMETER_\w+)=", path.read_text("utf-8"), re.MULTILINE)
        assert not secrets & set(set_here)
    for path in SERVICES:
        credentials = _Unit(path)["Service"]["LoadCredential"]
        assert re.fullmatch(r"phonemeter:/etc/phonemeter/secrets/[a-z%]+", credentials)
