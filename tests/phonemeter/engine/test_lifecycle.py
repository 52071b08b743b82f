"""Start, stop and kill: acknowledged INSERTs survive, and a failed start is explained."""

import contextlib
import ctypes
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from clickhouse_driver import Client, errors

from phonemeter.engine.damage import EXIT_DAMAGED, wait_for_room
from tests.phonemeter.engine.harness import HOST, EngineProcess, refused, running
from tests.waiting import WITHIN_S, blocking_until

TABLE = (
    "CREATE TABLE phonemeter.t (a UInt32, s String) ENGINE = MergeTree ORDER BY a"
    " SETTINGS non_replicated_deduplication_window = 100"
)
SECRET = "a secret"  # noqa: S105 - of an engine that lives for a test


def test_databases_tables_and_rows_survive_sigterm_which_ends_the_process_cleanly_within_3_s(
    data: Path,
) -> None:
    with running(data) as engine:
        with engine.client() as client:
            client.execute("CREATE DATABASE phonemeter")
            client.execute(TABLE)
            client.execute("INSERT INTO phonemeter.t VALUES", [(1, "x")])
        busy = Client(HOST, engine.native_port)
        busy.execute_with_progress("SELECT count() FROM numbers(1e12) WHERE NOT ignore(sipHash64(number))")
        begun_s = time.monotonic()
        assert engine.stop() == 0
        assert time.monotonic() - begun_s < 3
        busy.disconnect()
    with running(data) as engine, engine.client(database="phonemeter") as client:
        assert client.execute("SELECT * FROM t") == [(1, "x")]
        engine.process.send_signal(signal.SIGINT)
        assert engine.process.wait(3) == 0


def test_sigterm_ends_the_process_whichever_of_its_threads_it_arrives_at(data: Path) -> None:
    with running(data) as engine:
        another = next(
            thread for thread in _threads_for(engine, signal.SIGTERM) if thread != engine.process.pid
        )
        assert ctypes.CDLL(None).tgkill(engine.process.pid, another, signal.SIGTERM) == 0
        assert engine.process.wait(WITHIN_S) == 0


def _threads_for(engine: EngineProcess, number: int) -> Iterator[int]:
    """The threads that do not block a signal."""
    for thread in Path(f"/proc/{engine.process.pid}/task").iterdir():
        blocked = re.search(r"^SigBlk:\t(\w+)$", (thread / "status").read_text(), re.MULTILINE)
        if blocked is not None and not int(blocked[1], 16) >> (number - 1) & 1:
            yield int(thread.name)


def test_a_declaration_of_the_default_database_that_a_loss_of_power_emptied_is_written_anew(
    data: Path,
) -> None:
    with running(data) as engine, engine.client(database="default") as client:
        client.execute("CREATE TABLE kept (a UInt8) ENGINE = MergeTree ORDER BY a AS SELECT 1 AS a")
        assert engine.stop() == 0
    (data / "metadata" / "default.sql").write_bytes(b"")
    with running(data) as engine, engine.client(database="default") as client:
        assert client.execute("SELECT a FROM kept") == [(1,)]


def test_a_directory_that_chdb_cannot_open_is_refused_and_the_sentence_comes_last(data: Path) -> None:
    (data / "metadata").mkdir(parents=True)
    (data / "metadata" / "default.sql").write_text("ATTACH nothing that is known")
    status, said = refused(data)
    assert status == 2
    assert said.splitlines()[-1].startswith(f"The engine cannot open {data}: ")


def test_kill_9_right_after_acknowledged_inserts_loses_nothing(data: Path) -> None:
    for turn in range(2):
        with running(data) as engine, engine.client() as client:
            client.execute("CREATE DATABASE IF NOT EXISTS phonemeter")
            client.execute(TABLE.replace("TABLE", "TABLE IF NOT EXISTS"))
            assert client.execute("SELECT count(), sum(a) FROM phonemeter.t") == [
                (turn * 500, sum(range(turn * 500)))
            ]
            for part in range(5):
                first = turn * 500 + part * 100
                client.execute(
                    "INSERT INTO phonemeter.t VALUES", [(a, "x") for a in range(first, first + 100)]
                )
            engine.kill()


def test_kill_9_during_an_insert_leaves_all_or_nothing_and_a_retry_with_its_token_makes_it_all_once(
    data: Path,
) -> None:
    columns = [list(range(300_000)), ["some text"] * 300_000]
    token = {"insert_deduplication_token": "batch-1"}
    with running(data) as engine, engine.client() as client:
        client.execute("CREATE DATABASE phonemeter")
        client.execute(TABLE)
        failures = list[Exception]()

        def insert() -> None:
            try:
                client.execute("INSERT INTO phonemeter.t VALUES", columns, columnar=True, settings=token)
            except (errors.Error, EOFError, OSError) as error:
                failures.append(error)

        thread = threading.Thread(target=insert)
        thread.start()
        blocking_until(lambda: _spooled_bytes(engine) > 0)
        engine.kill()
        thread.join(WITHIN_S)
        assert len(failures) == 1
    with running(data) as engine, engine.client() as client:
        assert client.execute("SELECT count() FROM phonemeter.t")[0][0] in {0, 300_000}
        client.execute("INSERT INTO phonemeter.t VALUES", columns, columnar=True, settings=token)
        assert client.execute("SELECT count(), sum(a) FROM phonemeter.t") == [(300_000, sum(range(300_000)))]
    assert list((data / "spool").iterdir()) == []


def test_a_damaged_part_ends_the_engine_once_and_the_next_start_puts_it_aside(data: Path) -> None:
    with running(data) as engine, engine.client() as client:
        client.execute("CREATE DATABASE phonemeter")
        client.execute(f"{TABLE}, min_bytes_for_wide_part = 0")
        for a in (1, 2, 3):
            client.execute("INSERT INTO phonemeter.t VALUES", [(a, "x")])
        _empty_files_of(client, "all_2_2_0")
        with pytest.raises((errors.Error, EOFError, OSError)):
            client.execute("SELECT * FROM phonemeter.t")
        assert engine.process.wait(WITHIN_S) == EXIT_DAMAGED
    with running(data) as engine, engine.client() as client:
        assert client.execute("SELECT a FROM phonemeter.t ORDER BY a") == [(1,), (3,)]
        _empty_files_of(client, "all_3_3_0")
        for _ in range(2):
            with pytest.raises(errors.ServerException, match="Empty marks file"):
                client.execute("SELECT * FROM phonemeter.t")
        assert engine.stop() == 0


@pytest.mark.parametrize(
    "statement", ["INSERT INTO phonemeter.t SELECT 4, 'x'", "OPTIMIZE TABLE phonemeter.t FINAL"]
)
def test_a_write_that_fails_ends_the_engine_and_the_next_start_has_all_that_was_acknowledged(
    data: Path, statement: str
) -> None:
    with running(data) as engine, engine.client() as client:
        client.execute("CREATE DATABASE phonemeter")
        client.execute(TABLE)
        for a in (1, 2, 3):
            client.execute("INSERT INTO phonemeter.t VALUES", [(a, "x")])
        resource.prlimit(engine.process.pid, resource.RLIMIT_FSIZE, (8, 8))
        with contextlib.suppress(errors.Error, EOFError, OSError):
            client.execute(statement)
            assert statement.startswith("OPTIMIZE"), "an INSERT was acknowledged that is not there"
        assert engine.process.wait(WITHIN_S) == EXIT_DAMAGED
    with running(data) as engine, engine.client() as client:
        assert client.execute("SELECT a FROM phonemeter.t ORDER BY a") == [(1,), (2,), (3,)]


def test_an_insert_whose_part_cannot_be_written_is_not_acknowledged_though_its_data_came(data: Path) -> None:
    """The data is small, and the part made of it is large."""
    with running(data) as engine, engine.client() as client:
        client.execute("CREATE DATABASE phonemeter")
        wide = "a Int32, b String MATERIALIZED randomString(100000)"
        client.execute(f"CREATE TABLE phonemeter.t ({wide}) ENGINE = MergeTree ORDER BY a")
        client.execute("INSERT INTO phonemeter.t VALUES", [(1,)])
        resource.prlimit(engine.process.pid, resource.RLIMIT_FSIZE, (16_384, 16_384))
        with pytest.raises((errors.Error, EOFError, OSError)):
            client.execute("INSERT INTO phonemeter.t VALUES", [(2,)])
        assert engine.process.wait(WITHIN_S) == EXIT_DAMAGED
    with running(data) as engine, engine.client() as client:
        assert client.execute("SELECT a FROM phonemeter.t") == [(1,)]


def test_a_full_disk_is_waited_for_and_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    room = iter((0, 5 << 20, 33 << 20))
    monkeypatch.setattr(
        "phonemeter.engine.damage.shutil.disk_usage", lambda _data: SimpleNamespace(free=next(room))
    )
    monkeypatch.setattr("phonemeter.engine.damage.ROOM_LOOK_S", 0.0)
    wait_for_room(tmp_path)
    assert capsys.readouterr().err == (
        f"The disk of {tmp_path} has 0 MiB left: the engine waits until there are 32 MiB; make room.\n"
    )


def _empty_files_of(client: Client, part: str) -> None:
    """Empty the files of a part, as a full disk does."""
    ((path,),) = client.execute("SELECT path FROM system.parts WHERE name = %(part)s", {"part": part})
    for file in Path(path).iterdir():
        file.write_bytes(b"")


def test_a_crash_is_explained_in_the_log(data: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("w") as stderr, running(data, stderr=stderr) as engine, engine.client() as client:
        client.execute("SELECT 1")
        engine.process.send_signal(signal.SIGSEGV)
        assert engine.process.wait(WITHIN_S) == -signal.SIGSEGV
    assert log.read_text().startswith("Fatal Python error: Segmentation fault\n\n")


def test_loading_chdb_opens_no_database(tmp_path: Path) -> None:
    """It would be a second engine in the process."""
    loading = "import os; from phonemeter.engine.chdb_library import load_chdb; load_chdb()"
    counting = "print(len(os.listdir('/proc/self/task')))"
    command = [sys.executable, "-c", f"{loading}; {counting}"]
    environ = {**os.environ, "TMPDIR": str(tmp_path)}
    assert subprocess.check_output(command, env=environ, text=True) == "1\n"
    assert list(tmp_path.iterdir()) == []


def test_a_second_process_on_the_directory_is_refused_and_the_first_goes_on(data: Path) -> None:
    with running(data) as engine, engine.client() as client:
        status, said = refused(data)
        assert (status, said) == (
            2,
            f"Another process is serving the data directory {data}: stop it, or use another directory.\n",
        )
        assert client.execute("SELECT 1") == [(1,)]


def test_a_port_in_use_is_named(data: Path) -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        status, said = refused(data, "--http-port", str(port))
    assert (status, said) == (2, f"Port {port} on {HOST} cannot be used: Address already in use.\n")


@pytest.mark.stack
def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    status, said = refused(tmp_path / "file" / "data")
    assert (status, said) == (
        2,
        f"The data directory {tmp_path}/file/data cannot be written: Not a directory.\n",
    )


@pytest.mark.parametrize(
    ("options", "part"),
    [(["--host", "0.0.0.0"], "needs a password"), (["--http-port", "70000"], "is not between")],  # noqa: S104 - refused
)
def test_settings_that_cannot_be_served_are_refused(data: Path, options: list[str], part: str) -> None:
    status, said = refused(data, *options)
    assert status == 2
    assert part in said
    assert said.count("\n") == 1


def test_a_password_is_asked_of_every_client(data: Path) -> None:
    with running(data, {"PHONEMETER_ENGINE_PASSWORD": SECRET}) as engine:
        with engine.client(password=SECRET) as client:
            assert client.execute("SELECT 1") == [(1,)]
        with engine.client(password=SECRET[1:]) as client, pytest.raises(errors.ServerException) as caught:
            client.execute("SELECT 1")
        assert caught.value.code == 516
        assert engine.curl("SELECT 1", "-u", f"default:{SECRET}") == b"1\n"
        assert engine.curl("SELECT 1", "-H", f"X-ClickHouse-Key: {SECRET}") == b"1\n"
        assert engine.curl("SELECT 1", password=SECRET) == b"1\n"
        assert engine.curl("SELECT 1").startswith(b"Code: 516.")
        assert engine.fetch("ping") == b"Ok.\n"


def _spooled_bytes(engine: EngineProcess) -> int:
    """The size of the INSERT data in the engine's files without a name."""
    total = 0
    for link in Path(f"/proc/{engine.process.pid}/fd").iterdir():
        try:
            if "/spool/" in str(link.readlink()):
                total += link.stat().st_size
        except FileNotFoundError:
            continue
    return total
