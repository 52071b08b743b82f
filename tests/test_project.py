"""The first five minutes: make, its prerequisites, the checks, and the shape of the tree."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
TOOLS = ("sh", "sed", "cut")


def project() -> dict[str, dict[str, dict[str, dict[str, dict[str, dict[str, list[str]]]]]]]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


PACKAGES = tuple(project()["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])


def make(*arguments: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    program = shutil.which("make")
    assert program is not None
    # The tests may themselves run under make, whose own variables are not for another one.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    if path is not None:
        environ["PATH"] = str(path)
    return subprocess.run(
        [program, *arguments], cwd=ROOT, env=environ, capture_output=True, text=True, check=False
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A directory with only what a bare machine has; tests take something away."""
    programs = {name: shutil.which(name) for name in TOOLS}
    # The interpreter itself: what `python3` is on the PATH may be a script that needs more than is here.
    for name, program in {**programs, "python3": os.path.realpath(sys.executable)}.items():
        assert program is not None, f"{name} is needed to run the tests"
        pretend(tmp_path, name, f'exec "{program}" "$@"')
    return tmp_path


def pretend(path: Path, tool: str, script: str) -> None:
    (path / tool).write_text(f"#!{shutil.which('sh')}\n{script}\n")
    (path / tool).chmod(0o755)


def test_make_alone_says_what_there_is() -> None:
    said = make().stdout
    for target in ("demo", "test", "test-fast", "check", "setup"):
        assert re.search(rf"^  make {target} +\w", said, flags=re.MULTILINE)


def test_a_machine_with_python_alone_is_not_bothered(path: Path) -> None:
    result = make("python", path=path)
    assert (result.returncode, result.stderr) == (0, "")


def test_neither_java_nor_maven_is_asked_for(path: Path) -> None:
    for target in ("demo", "test", "setup"):
        result = make("--always-make", "--dry-run", target, path=path)
        assert (result.returncode, result.stderr) == (0, "")
        assert not re.search(r"\b(java|mvn|sudo)\b", result.stdout)


def refusal(result: subprocess.CompletedProcess[str]) -> str:
    """The one line that a missing prerequisite may cost."""
    assert result.returncode != 0
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    return line


def test_the_tests_have_prometheus_before_they_begin(path: Path) -> None:
    said = make("--always-make", "--dry-run", "test", path=path).stdout
    assert 0 < said.index("tools.prometheus") < said.index("pytest")


def test_a_missing_or_old_python_is_told_with_the_command_that_installs_it(path: Path) -> None:
    pretend(path, "python3", "exit 1")
    said = refusal(make("python", path=path))
    assert "Python 3.11, 3.12 or 3.13 is needed" in said
    assert "apt-get install -y python3" in said


def test_the_commands_for_ci_are_valid_shell_and_run_both_checks() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0
    text = script.read_text(encoding="utf-8")
    assert "set -euo pipefail" in text
    assert text.index("make check") < text.index("make test")
    assert "apt-get" not in text, "what the tests need they fetch themselves"


def test_hooks_need_no_network() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert [repo["repo"] for repo in config["repos"]] == ["local"]
    assert {hook["language"] for repo in config["repos"] for hook in repo["hooks"]} == {"system"}


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_is_typed_and_has_a_docstring(package: str) -> None:
    assert (ROOT / package / "py.typed").exists()
    assert (ROOT / package / "__init__.py").read_text(encoding="utf-8").startswith('"""')


def test_every_package_of_the_tree_is_in_the_wheel() -> None:
    found = {init.parent.name for init in ROOT.glob("*/__init__.py")} - {"tests", "bench", "tools"}
    assert found == set(PACKAGES)


def test_every_folder_of_tests_is_a_package() -> None:
    """One that is not would shadow the package of the same name."""
    folders = {test.parent for test in (ROOT / "tests").rglob("test_*.py")}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").exists()] == []


def test_no_locked_package_needs_a_compiler() -> None:
    locked = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))["package"]
    assert [one["name"] for one in locked if "registry" in one["source"] and not one.get("wheels")] == []
