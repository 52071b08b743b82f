"""Packages of the console and its tests: uPlot in the wheel and beside the sources, axe, Chromium."""

import json
import re
import subprocess
import zipfile
from pathlib import Path

import pytest

from tools import axe, chromium, console_assets

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("locked", [axe.LOCKED, console_assets.LOCKED], ids=["axe", "console"])
def test_what_npm_fetches_is_locked_by_version_and_hash_and_by_no_address(locked: Path) -> None:
    lock = json.loads((locked / "package-lock.json").read_text(encoding="utf-8"))
    packages = [one for name, one in lock["packages"].items() if name]
    assert packages
    assert all(one["version"] and one["integrity"].startswith("sha512-") for one in packages)
    assert not any("resolved" in one for one in packages)


def test_the_script_of_the_curves_is_the_release_that_is_locked() -> None:
    lock = json.loads((console_assets.LOCKED / "package-lock.json").read_text(encoding="utf-8"))
    version = lock["packages"]["node_modules/uplot"]["version"]
    script = (console_assets.ASSETS / "uplot" / "uPlot.iife.min.js").read_text(encoding="utf-8")
    assert f"(v{version})" in script.splitlines()[0]


@pytest.mark.slow
def test_the_wheel_brings_the_assets_of_the_console(tmp_path: Path) -> None:
    uv = ROOT / ".tools" / "bin" / "uv"
    built = [str(uv) if uv.exists() else "uv", "build", "--wheel", "--quiet", "--out-dir", str(tmp_path)]
    subprocess.run(built, cwd=ROOT, check=True)
    (wheel,) = tmp_path.glob("phonemeter-*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"dashboards/console/assets/uplot/{Path(name).name}" for name in console_assets.FILES} <= names


def test_the_browser_of_the_machine_is_used_where_it_has_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "chromium").touch(0o755)
    assert chromium.program() == tmp_path / "chromium"


def test_the_browser_starts_with_its_own_libraries_and_fonts(tmp_path: Path) -> None:
    program = tmp_path / chromium.PROGRAM
    program.parent.mkdir(parents=True)
    (tmp_path / "usr/lib/x86_64-linux-gnu/nss").mkdir(parents=True)
    program.write_text('#!/bin/sh\necho "$LD_LIBRARY_PATH $FONTCONFIG_FILE $1"\n')
    program.chmod(0o755)
    chromium.launched(tmp_path)
    ran = subprocess.run([tmp_path / "chromium", "--version"], capture_output=True, text=True, check=True)
    libraries, fonts, argument = ran.stdout.split()
    assert str(tmp_path / "usr/lib/x86_64-linux-gnu") in libraries.split(":")
    assert re.search("<dir .*>usr/share/fonts</dir>", Path(fonts).read_text(encoding="utf-8"))
    assert argument == "--version"
