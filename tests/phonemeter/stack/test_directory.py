import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from stat import S_IMODE

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


@pytest.fixture
def usual_umask() -> Iterator[None]:
    """The umask of a shell; a stack that other tests share has this process keep its files from others."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return S_IMODE(path.stat().st_mode)


@pytest.mark.usefixtures("usual_umask")
def test_what_was_there_before_and_what_is_made_is_for_the_user_alone(tmp_path: Path) -> None:
    data, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    (data / "kafka" / "data").mkdir(parents=True)
    (data / "kafka" / "data" / "log").touch(0o666)
    (data / "kafka" / "data" / "run").touch(0o755)
    (data / "state.json").touch(0o644)
    elsewhere.touch()
    elsewhere.chmod(0o644)
    (data / "kafka" / "link").symlink_to(elsewhere)
    with StackDirectory(data).owned():
        (data / "logs").mkdir()
        (data / "logs" / "sink.log").touch()
        made = [data / "logs", data / "kafka", data / "kafka" / "data", data, data / "kafka" / "data" / "run"]
        assert [mode(one) for one in made] == [0o700] * 5
        files = [data / "stack.lock", data / "kafka" / "data" / "log", data / "logs" / "sink.log"]
        assert [mode(one) for one in files] == [0o600] * 3
    assert mode(elsewhere) == 0o644
    after = tmp_path / "after"
    after.touch()
    assert mode(after) & 0o044


@pytest.mark.usefixtures("usual_umask")
def test_a_directory_that_holds_other_things_is_left_as_it_is_but_for_the_stacks_own(tmp_path: Path) -> None:
    (tmp_path / "kafka").mkdir(mode=0o755)
    mine = tmp_path / "mine"
    mine.touch(0o644)
    tmp_path.chmod(0o755)
    with StackDirectory(tmp_path).owned():
        assert (mode(tmp_path), mode(mine), mode(tmp_path / "kafka")) == (0o755, 0o644, 0o700)


def test_the_state_of_a_stack_that_has_ended_is_not_taken_for_that_of_a_new_one(tmp_path: Path) -> None:
    directory = StackDirectory(tmp_path)
    with directory.owned():
        directory.write_state({"services": {}})
    with directory.owned():
        assert directory.is_owned()
        assert directory.read_state() is None
    assert not directory.is_owned()
