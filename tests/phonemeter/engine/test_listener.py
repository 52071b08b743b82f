"""Shortages of threads and files: they cost one connection and never the port."""

import resource
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from clickhouse_driver import errors

from tests.phonemeter.engine.harness import HOST, EngineProcess, running
from tests.phonemeter.engine.raw import HELLO
from tests.real_parts import starts_real_parts
from tests.waiting import blocking_until

THREADS_THAT_FAIL = """
import pathlib, threading
start = threading.Thread.start
def fail(self):
    if self.name == "client" and pathlib.Path(FLAG).exists():
        raise RuntimeError("can't start new thread")
    start(self)
threading.Thread.start = fail
"""
"""Loaded by the interpreter at its start; the only difference from production."""


@pytest.fixture
def said(tmp_path: Path) -> Path:
    return tmp_path / "stderr"


@pytest.fixture
def no_threads(tmp_path: Path) -> Path:
    """A file; while it exists, no thread for a client can be started."""
    return tmp_path / "no_threads"


@pytest.fixture
@starts_real_parts
def engine(data: Path, tmp_path: Path, said: Path, no_threads: Path) -> Iterator[EngineProcess]:
    (tmp_path / "sitecustomize.py").write_text(f"FLAG = {str(no_threads)!r}\n{THREADS_THAT_FAIL}")
    with said.open("w") as stderr, running(data, {"PYTHONPATH": str(tmp_path)}, stderr) as process:
        yield process


def refused(engine: EngineProcess, reason: str) -> float:
    lines = engine.fetch("metrics").decode().splitlines()
    name = f'phonemeter_engine_connections_refused_total{{reason="{reason}"}} '
    return next(float(line.removeprefix(name)) for line in lines if line.startswith(name))


def test_a_thread_that_cannot_be_started_costs_its_own_connection_only(
    engine: EngineProcess, said: Path, no_threads: Path
) -> None:
    with engine.client() as early:
        assert early.execute("SELECT 1") == [(1,)]
        no_threads.touch()
        for _ in range(40):
            with engine.client() as client, pytest.raises(errors.ServerException) as caught:
                client.execute("SELECT 1")
            assert caught.value.code == 439
            assert "No thread can be started for this connection: try again later." in str(caught.value)
            answer = engine.fetch("ping", "-i").decode()
            assert answer.startswith("HTTP/1.0 503 ")
            assert "Code: 439. DB::Exception: No thread can be started" in answer
        assert early.execute("SELECT 2") == [(2,)]
        no_threads.unlink()
    with engine.client() as client:
        assert client.execute("SELECT 3") == [(3,)]
    assert engine.curl("SELECT 4") == b"4\n"
    assert refused(engine, "no_thread") == 80
    assert said.read_text().count("no thread could be started for it (can't start new thread)") == 2


@pytest.mark.parametrize("port", ["native", "http"])
def test_a_connection_for_which_there_is_no_file_waits_until_there_is_one(
    engine: EngineProcess, said: Path, port: str
) -> None:
    usual = resource.prlimit(engine.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(engine.process.pid, resource.RLIMIT_NOFILE, (8, usual[1]))
    number = engine.native_port if port == "native" else engine.http_port
    with closing(socket.create_connection((HOST, number), timeout=20)) as waiting:
        blocking_until(lambda: f"Port {number}: Connections cannot be accepted" in said.read_text())
        resource.prlimit(engine.process.pid, resource.RLIMIT_NOFILE, usual)
        waiting.sendall(HELLO if port == "native" else b"GET /ping HTTP/1.0\r\n\r\n")
        assert (b"ClickHouse" if port == "native" else b"200 OK") in waiting.recv(1_000)
    assert refused(engine, "no_file") >= 1


def test_connections_over_the_limit_are_told_so_and_counted(engine: EngineProcess) -> None:
    held = [socket.create_connection((HOST, engine.native_port), timeout=20) for _ in range(256)]
    try:
        with engine.client() as client, pytest.raises(errors.ServerException) as caught:
            client.execute("SELECT 1")
        assert caught.value.code == 202
        assert refused(engine, "full") == 1
    finally:
        for sock in held:
            sock.close()


def test_a_connection_that_the_engine_cannot_make_is_an_error_and_not_a_hang_up(
    engine: EngineProcess,
) -> None:
    with engine.client(database="nope") as client, pytest.raises(errors.ServerException) as caught:
        client.execute("SELECT 1")
    assert caught.value.code == 81
