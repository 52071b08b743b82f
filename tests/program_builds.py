"""Building of programs in other languages that tests run."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

OUTPUT_CHARS_MAX: Final = 600


class NotBuiltError(Exception):
    """A program could not be built; the text says why."""


def build(
    command: tuple[str, ...],
    directory: Path | None = None,
    environ: Mapping[str, str] | None = None,
    *,
    timeout_s: float,
) -> None:
    """Run the command that builds a program.

    Raises:
        NotBuiltError: it failed.
    """
    ran = subprocess.run(
        command,
        cwd=directory,
        env={**os.environ, **(environ or {})},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    if ran.returncode != 0:
        said = " ".join((ran.stdout + ran.stderr).split())[-OUTPUT_CHARS_MAX:]
        raise NotBuiltError(f"{Path(command[0]).name} failed: {said}")
