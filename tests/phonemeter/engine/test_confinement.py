"""The confinement of the engine's process by the kernel."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import landlockpy
import pytest

from phonemeter.engine.confinement import Confinement, confine
from tests.phonemeter.engine.guards import SECRET, Outside, unguarded
from tests.phonemeter.engine.harness import EngineProcess, command, running

NO_LANDLOCK = (
    "import landlockpy, runpy, sys; landlockpy.abi_version = lambda: 0; "
    "runpy.run_module('phonemeter.engine', run_name='__main__')"
)


def test_without_any_guard_but_the_kernels_no_statement_reads_writes_or_reaches_what_is_outside(
    data: Path, outside: Outside
) -> None:
    answers = unguarded(data, outside.statements(), "--confined")
    assert SECRET not in "".join(answers)
    assert "root:" not in "".join(answers)
    assert list(outside.folder.iterdir()) == [outside.secret]
    assert outside.asked == []


def test_the_same_statements_reach_it_without_the_kernels_guard(data: Path, outside: Outside) -> None:
    """Otherwise the test before would show nothing."""
    answers = unguarded(data, outside.statements())
    assert "".join(answers).count(SECRET) >= 6
    assert len(list(outside.folder.iterdir())) > 1
    assert outside.asked != []


def test_a_confined_chdb_still_serves_its_own_directory(data: Path) -> None:
    statements = [
        "CREATE DATABASE d",
        "CREATE TABLE d.t (a Int32) ENGINE = MergeTree ORDER BY a",
        "INSERT INTO d.t SELECT number FROM numbers(10)",
        "INSERT INTO d.t SELECT number FROM numbers(10)",
        "OPTIMIZE TABLE d.t FINAL",
        "RENAME TABLE d.t TO d.u",
        "SELECT count(), toTypeName(toDateTime(0, 'Asia/Shanghai')) FROM d.u",
    ]
    assert unguarded(data, statements, "--confined")[-1] == "20\tDateTime('Asia/Shanghai')\n"


def test_chdb_loads_in_confinement_whatever_lies_behind_the_environment(data: Path) -> None:
    data.mkdir()
    loading = [sys.executable, "-m", "tests.phonemeter.engine.heap_behind_environ", str(data)]
    loaded = subprocess.run(loading, capture_output=True, text=True, check=False)
    assert (loaded.returncode, loaded.stdout, loaded.stderr) == (0, "loaded", "")


def test_every_thread_of_the_engine_is_confined(engine: EngineProcess) -> None:
    """The kernel lists one flag that comes with confinement."""
    threads = list(Path(f"/proc/{engine.process.pid}/task").iterdir())
    assert len(threads) > 10
    for thread in threads:
        assert "NoNewPrivs:\t1\n" in (thread / "status").read_text()
    assert b"phonemeter_engine_confined 1.0\n" in engine.fetch("metrics")


def test_where_the_kernel_has_no_landlock_the_engine_says_so_and_serves(data: Path, tmp_path: Path) -> None:
    arguments = command(data)[3:]
    with (
        (tmp_path / "said").open("w") as said,
        subprocess.Popen(
            [sys.executable, "-c", NO_LANDLOCK, *arguments], stdout=subprocess.PIPE, stderr=said, text=True
        ) as process,
    ):
        try:
            assert process.stdout is not None
            ready = json.loads(process.stdout.readline())
            engine = EngineProcess(process, ready["native_port"], ready["http_port"])
            assert engine.curl("SELECT 1") == b"1\n"
            assert b"phonemeter_engine_confined 0.0\n" in engine.fetch("metrics")
        finally:
            process.kill()
    lines = (tmp_path / "said").read_text().splitlines()
    assert lines == [Confinement(files=False, connections=False).missing]


@pytest.mark.parametrize("abi", [0, 1])
def test_a_kernel_that_would_forbid_renames_between_directories_confines_nothing(
    data: Path, monkeypatch: pytest.MonkeyPatch, abi: int
) -> None:
    monkeypatch.setattr(landlockpy, "abi_version", lambda: abi)
    assert confine(data) == Confinement(files=False, connections=False)


def test_a_container_that_forbids_the_calls_is_told_from_one_that_confines(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden() -> int:
        raise landlockpy.LandlockError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(landlockpy, "abi_version", forbidden)
    assert confine(data) == Confinement(files=False, connections=False)


@pytest.mark.parametrize(
    ("confinement", "named"),
    [
        (Confinement(files=False, connections=False), "files or connections"),
        (Confinement(files=True, connections=False), "connections"),
    ],
)
def test_what_a_kernel_cannot_confine_is_named_in_one_sentence(confinement: Confinement, named: str) -> None:
    missing = confinement.missing
    assert missing is not None
    assert f"the engine's {named} (" in missing
    assert Confinement(files=True, connections=True).missing is None


@pytest.mark.stack
def test_a_relative_data_directory_is_served(data: Path) -> None:
    with running(Path(os.path.relpath(data))) as engine:
        assert engine.curl("SELECT 1") == b"1\n"
    assert (data / "status").exists()
