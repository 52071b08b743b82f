"""The distribution `phonemeter-client`: built and installed with its own dependencies, and nothing else."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from tools.client.tree import ROOT

UV: Final = shutil.which("uv") or str(ROOT / ".tools" / "bin" / "uv")


class Installed(NamedTuple):
    """An environment with the wheel in it."""

    directory: Path
    wheel: Path
    sdist: Path

    @property
    def python(self) -> str:
        """The interpreter."""
        return str(self.directory / "bin" / "python")

    def run(self, *arguments: str, **environ: str) -> str:
        """Run the interpreter, and return what it printed."""
        return said(self.python, *arguments, environ=environ)


def said(*command: str, environ: dict[str, str] | None = None) -> str:
    """Run a program that must succeed, and return what it printed."""
    ours = {name: value for name, value in os.environ.items() if name not in {"VIRTUAL_ENV", "PYTHONPATH"}}
    ran = subprocess.run(
        command, env={**ours, **(environ or {})}, capture_output=True, text=True, check=False, timeout=300
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout + ran.stderr


def built(out: Path) -> tuple[Path, Path]:
    """Build wheel and sdist."""
    said(sys.executable, "-m", "tools.client", UV, str(out))
    (wheel,), (sdist,) = out.glob("*.whl"), out.glob("*.tar.gz")
    return wheel, sdist


def installed(directory: Path, extras: Sequence[str] = ()) -> Installed:
    """Build the distribution, and install the wheel into an environment of its own."""
    wheel, sdist = built(directory / "dist")
    environment = directory / "environment"
    said(UV, "venv", "--quiet", "--python", sys.executable, str(environment))
    made = Installed(environment, wheel, sdist)
    said(UV, "pip", "install", "--quiet", "--python", made.python, str(wheel), *extras)
    return made
