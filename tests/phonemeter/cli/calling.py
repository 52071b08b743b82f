"""The command line called within the test's process, which is quicker than a process for each call."""

import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from phonemeter.cli import main


class Done(NamedTuple):
    """What a command printed, and its exit status."""

    returncode: int
    stdout: str
    stderr: str


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
