import subprocess
import sys
from pathlib import Path

import pytest

from phonemeter.errors import UserError
from phonemeter.stack.directory import StackDirectory


def test_a_second_owner_is_refused_naming_the_first_and_the_setting(tmp_path: Path) -> None:
    program = (
        "import pathlib, sys\n"
        "from phonemeter.stack.directory import StackDirectory\n"
        "with StackDirectory(pathlib.Path(sys.argv[1])).owned():\n"
        "    print('owned', flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, tmp_path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "owned\n"
        with (
            pytest.raises(UserError, match=rf"process {owner.pid}\) runs on .* PHONEMETER_DATA_DIR"),
            StackDirectory(tmp_path).owned(),
        ):
            pass
        owner.kill()
    with StackDirectory(tmp_path).owned():
        pass


def test_a_directory_that_cannot_be_written_is_named_with_its_setting(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(UserError, match=r"file/data cannot be written .* PHONEMETER_DATA_DIR"),
        StackDirectory(tmp_path / "file" / "data").owned(),
    ):
        pass


def test_the_state_is_there_only_while_a_stack_runs(tmp_path: Path) -> None:
    directory = StackDirectory(tmp_path)
    assert directory.read_state() is None
    with directory.owned():
        directory.write_state({"services": {}})
        assert directory.read_state() == {"services": {}}
    assert directory.read_state() is None


def test_wiping_forgets_the_data_but_nothing_else(tmp_path: Path) -> None:
    for name in ("kafka", "engine", "logs", "mine"):
        (tmp_path / name).mkdir()
    StackDirectory(tmp_path).wipe()
    assert {path.name for path in tmp_path.iterdir()} == {"mine", "stack.lock"}


def test_a_directory_in_use_is_not_wiped(tmp_path: Path) -> None:
    directory = StackDirectory(tmp_path)
    with directory.owned(), pytest.raises(UserError, match="Another stack"):
        directory.wipe()
