"""The tools that `make` fetches: uv by pip, Prometheus by apt, without root, or one sentence."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import tools
from tools import debian, prometheus, uv
from tools.debian import NotToBeHadError, unpacked

APT = """#!/bin/sh
for word; do case "$word" in
    update) echo 'W: one source does not answer' >&2;;
    download) touch one_1.0.deb;;
    --simulate) echo 'NOTE: only a simulation'; echo 'Inst needed (2.0 Debian [amd64])'; exit 0;;
    needed) touch needed_2.0.deb;;
    nonesuch) echo 'E: Unable to locate package nonesuch' >&2; exit 100;;
esac; done
"""
DPKG = """#!/bin/sh
mkdir -p "$3/usr/bin" "$3/usr/share/python-wheels" "$3/opened" && echo "$2" > "$3/usr/bin/one"
touch "$3/opened/${2##*/}"
touch "$3/usr/share/python-wheels/pip-23.0.1-py3-none-any.whl"
"""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The PATH of a machine with nothing but an apt and a dpkg of the test's own."""
    path = tmp_path / "path"
    path.mkdir()
    for name, script in {"apt-get": APT, "dpkg": DPKG}.items():
        (path / name).write_text(script)
        (path / name).chmod(0o755)
    for name in ("mkdir", "touch"):
        (path / name).symlink_to(str(shutil.which(name)))
    monkeypatch.setenv("PATH", str(path))
    return path


def test_packages_are_unpacked_once_and_nothing_else_is_left(tmp_path: Path, machine: Path) -> None:
    target = tmp_path / "tools" / "one"
    assert unpacked(("one",), target, "do without") == target
    assert (target / "usr/bin/one").read_text().endswith("/debs/one_1.0.deb\n")
    (machine / "apt-get").unlink()
    assert unpacked(("one",), target, "do without") == target
    assert sorted(path.name for path in target.parent.iterdir()) == ["one", "one.lock"]


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("needs", ["left", "brought"])
def test_what_a_package_needs_is_unpacked_with_it_where_asked_for(tmp_path: Path, needs: str) -> None:
    target = unpacked(("one",), tmp_path / "one", "do without", with_needs=needs == "brought")
    files = sorted(path.name for path in (target / "opened").iterdir())
    assert files == (["needed_2.0.deb", "one_1.0.deb"] if needs == "brought" else ["one_1.0.deb"])


@pytest.mark.usefixtures("machine")
def test_a_package_that_is_not_to_be_had_is_told_and_nothing_looks_unpacked(tmp_path: Path) -> None:
    target = tmp_path / "tools" / "one"
    with pytest.raises(NotToBeHadError, match=r"locate package nonesuch\).* Otherwise do without\."):
        unpacked(("nonesuch",), target, "do without")
    assert [path.name for path in target.parent.iterdir()] == ["one.lock"]


def test_a_machine_without_apt_is_told_what_to_do_instead(tmp_path: Path, machine: Path) -> None:
    (machine / "apt-get").unlink()
    with pytest.raises(NotToBeHadError, match=r"no apt to fetch one with\. Otherwise do without\."):
        unpacked(("one",), tmp_path / "one", "do without")


def test_programs_of_the_machine_are_used_where_it_has_them(machine: Path) -> None:
    for name in ("promtool", "alertmanager"):
        (machine / name).touch(0o755)
    assert prometheus.program("promtool") == str(machine / "promtool")
    assert prometheus.program("alertmanager") == str(machine / "alertmanager")


def test_a_missing_prometheus_is_told_in_one_line(tmp_path: Path, machine: Path) -> None:
    """As `make test` tells it before it begins."""
    (machine / "apt-get").unlink()
    (tmp_path / "tools").mkdir()
    for module in (tools, debian, prometheus):
        shutil.copy(str(module.__file__), tmp_path / "tools")
    ran = subprocess.run(
        [sys.executable, "-m", "tools.prometheus"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 1
    (line,) = ran.stderr.splitlines()
    assert "needed to test the alerts" in line
    assert "promtool, amtool, prometheus, alertmanager are on the PATH" in line


@pytest.mark.usefixtures("machine")
def test_a_python_without_pip_borrows_debians(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uv, "find_spec", lambda _: None)
    monkeypatch.setattr(uv, "TOOLS", tmp_path / "tools")
    python, pip = uv._pip()
    assert python == sys.executable
    assert re.search(r"tools/pip/usr/share/python-wheels/pip-[\d.]+-py3-none-any\.whl/pip$", pip)


def test_uv_is_pinned_by_version_and_checksum() -> None:
    requirement = uv.REQUIREMENT.read_text(encoding="utf-8")
    assert re.match(r"uv==\d+\.\d+\.\d+ ", requirement)
    assert len(re.findall(r"--hash=sha256:[0-9a-f]{64}", requirement)) > 10
