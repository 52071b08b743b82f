"""Programs that are kept running while the caller waits."""

import sys
from pathlib import Path

from tests.torture.processes import Program, tended
from tests.waiting import blocking_until

WRITE_PID = "import os, pathlib, time; pathlib.Path('pid').write_text(str(os.getpid())); time.sleep(600)"


def program(directory: Path, name: str) -> Program:
    command = (sys.executable, "-c", WRITE_PID)
    return Program(name, command, {}, directory / name, directory / f"{name}.log")


def pid(one: Program) -> str:
    path = one.directory / "pid"
    return path.read_text() if path.exists() else ""


def test_a_killed_program_is_restarted_while_the_caller_waits(tmp_path: Path) -> None:
    one = program(tmp_path, "one")
    with tended([one]):
        one.start()
        blocking_until(lambda: pid(one) != "", 20)
        before = pid(one)
        one.kill()
        # Nothing is called here that could start it: whoever waits may be deep inside of a client.
        blocking_until(lambda: pid(one) not in {"", before}, 20)
        assert one.ended_by_itself == 1
    assert not one.running


def test_a_program_that_is_kept_away_is_not_restarted(tmp_path: Path) -> None:
    one, other = program(tmp_path, "one"), program(tmp_path, "other")
    with tended([one, other]):
        one.start()
        one.kill(stay_away=True)
        other.start()
        blocking_until(lambda: pid(other) != "", 20)
        other.kill()
        blocking_until(lambda: other.ended_by_itself == 1 and other.running, 20)
        assert not one.running
