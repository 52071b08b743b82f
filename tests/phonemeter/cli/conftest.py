"""The command line, called within the test's process."""

from pathlib import Path

import pytest

from tests.phonemeter.cli.calling import Done, Phonemeter, called


@pytest.fixture
def phonemeter(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Phonemeter:
    """A function that calls `phonemeter` in a directory and environment, 100 columns wide, without colors."""

    def call(*arguments: object, cwd: Path, **environ: str) -> Done:
        kafka = environ.get("PHONEMETER_KAFKA", "127.0.0.1:1")
        terminal = {"COLUMNS": "100", "NO_COLOR": "1"}
        return called(monkeypatch, capsys, cwd, kafka, *arguments, **terminal | environ)

    return call
