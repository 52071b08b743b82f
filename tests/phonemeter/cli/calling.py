"""The command line called within the test's process, which is quicker than a process for each call."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from phonemeter.cli import main


class Done(NamedTuple):
    """The output of a command, and its exit status."""

    returncode: int
    stdout: str
    stderr: str

    @property
    def json(self) -> dict[str, Any]:
        """The JSON object that it printed."""
        printed: dict[str, Any] = json.loads(self.stdout)
        return printed


Phonemeter = Callable[..., Done]
"""Calls `phonemeter` with arguments, in the directory `cwd` and the environment of the other names."""


def called(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    cwd: Path,
    kafka: str,
    *arguments: object,
    **environ: str,
) -> Done:
    """Call `phonemeter` with these arguments, on this Kafka, in this directory and environment."""
    with monkeypatch.context() as here:
        here.chdir(cwd)
        here.setenv("PHONEMETER_KAFKA", kafka)
        here.setenv("COLUMNS", "200")
        for name, value in environ.items():
            here.setenv(name, value)
        here.setattr(sys, "argv", ["phonemeter", *map(str, arguments)])
        try:
            main()
            status = 0
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else 0
    return Done(status, *capsys.readouterr())
