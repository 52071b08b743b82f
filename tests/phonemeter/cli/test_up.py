"""`phonemeter up`: what its options make of the settings; `test_stack_commands.py` tries the stack itself."""

from pathlib import Path

import pytest

from phonemeter.cli import up as command
from phonemeter.errors import UserError
from phonemeter.settings import Settings
from tests.phonemeter.cli.calling import called


class _NotStarted:
    """Stands where the stack would be made, and keeps what it was to be made of."""

    settings: Settings | None = None

    def __init__(self, settings: Settings) -> None:
        _NotStarted.settings = settings
        raise UserError("not started in this test")


@pytest.mark.parametrize(
    ("arguments", "setting", "clock"),
    [
        ((), "events", "events"),
        (("--clock", "events"), "wall", "events"),
        (("--clock", "wall"), "events", "wall"),
    ],
)
def test_the_clock_is_the_options_and_without_one_the_settings(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    arguments: tuple[str, ...],
    setting: str,
    clock: str,
) -> None:
    monkeypatch.setattr(command, "Stack", _NotStarted)
    done = called(monkeypatch, capsys, tmp_path, "unused:1", "up", *arguments, PHONEMETER_CLOCK=setting)
    assert (done.returncode, done.stderr) == (2, "not started in this test\n")
    assert _NotStarted.settings is not None
    assert _NotStarted.settings.clock == clock
    assert _NotStarted.settings.to_environ()["PHONEMETER_CLOCK"] == clock


def test_the_stand_in_for_wechat_is_there_only_if_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(command, "Stack", _NotStarted)
    own = {"PHONEMETER_DATA_DIR": str(tmp_path), "PHONEMETER_WECHAT_SIM_PORT": "9999"}
    for options, wanted in (((), False), (("--with-wechat-sim",), True)):
        called(monkeypatch, capsys, tmp_path, "unused:1", "up", *options, **own)
        assert _NotStarted.settings is not None
        assert _NotStarted.settings.wechat_sim == wanted
        assert (_NotStarted.settings.wechat_apps is not None) == wanted
        assert (_NotStarted.settings.wechat_api == "http://127.0.0.1:9999") == wanted
