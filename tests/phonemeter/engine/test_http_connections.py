"""HTTP connections: time limits, the limit of their number, and refusals that reach the client."""

import contextlib
import http.client
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from phonemeter.engine.config import MAX_CONNECTIONS
from phonemeter.engine.http_connection import HttpConnection
from phonemeter.engine.http_connection_limit import RESERVED_CONNECTIONS
from tests.phonemeter.engine.harness import HOST, EngineProcess, running
from tests.real_parts import starts_real_parts
from tests.waiting import blocking_until

SHORT_S = 0.2
LARGE_BYTES = 20_000_000
UNREAD_BODY = b"POST /?query=SELECT+1 HTTP/1.1\r\nContent-Length: 10\r\n\r\n"
SECRET = {"PHONEMETER_ENGINE_PASSWORD": "a secret"}


class Answering(HttpConnection):
    """A connection that answers every request."""

    def set_idle(self) -> None:
        pass

    def set_busy(self) -> bool:
        return True

    def answer(self) -> None:
        self.send(200, b"x", {})


@pytest.fixture
def client() -> Iterator[socket.socket]:
    """The client's end of a served connection."""
    ours, theirs = socket.socketpair()

    def serve() -> None:
        with theirs, contextlib.suppress(OSError):
            Answering(theirs, ("", 0), cast("Any", None))

    thread = threading.Thread(target=serve)
    thread.start()
    with ours:
        ours.settimeout(20)
        yield ours
    thread.join(20)
    assert not thread.is_alive()


def received(sock: socket.socket) -> bytes:
    """All bytes up to the end of the connection."""
    parts = list[bytes]()
    with contextlib.suppress(ConnectionError):
        while part := sock.recv(1 << 20):
            parts.append(part)
    return b"".join(parts)


class TestTimes:
    @pytest.fixture(autouse=True)
    def short(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("phonemeter.engine.http_connection.HTTP_KEEP_ALIVE_S", SHORT_S)
        monkeypatch.setattr("phonemeter.engine.http_connection.HTTP_HEADERS_S", SHORT_S)

    def test_an_idle_connection_ends_after_the_time_that_its_client_was_told(
        self, client: socket.socket
    ) -> None:
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        answer = received(client)
        assert f"\r\nKeep-Alive: timeout={SHORT_S}\r\n".encode() in answer
        assert answer.endswith(b"\r\n\r\nx")

    def test_a_connection_on_which_nothing_comes_ends(self, client: socket.socket) -> None:
        assert received(client) == b""

    def test_headers_that_come_byte_by_byte_end_the_connection(self, client: socket.socket) -> None:
        client.sendall(b"POST / HTTP/1.1\r\n")

        def ended() -> bool:
            try:
                client.sendall(b"X")
                return client.recv(1, socket.MSG_DONTWAIT) == b""
            except BlockingIOError:
                return False
            except ConnectionError:
                return True

        blocking_until(ended)


@pytest.mark.parametrize(
    "first", [b"", b"POST / HTTP/1.1\r\nHost: x\r\nX-A: "], ids=["silent", "half headers"]
)
def test_connections_without_a_request_do_not_shut_out_those_with_one(data: Path, first: bytes) -> None:
    with running(data) as engine, contextlib.ExitStack() as opened:
        idle = [_connected(engine, opened, first) for _ in range(MAX_CONNECTIONS + RESERVED_CONNECTIONS + 20)]
        assert engine.fetch("ping") == b"Ok.\n"
        assert b"phonemeter_engine_connections" in engine.fetch("metrics")
        assert engine.curl("SELECT 7") == b"7\n"
        assert received(idle[0]) == b""


def test_when_all_connections_have_requests_probes_are_answered_and_queries_are_told(data: Path) -> None:
    with running(data) as engine, contextlib.ExitStack() as opened:
        for _ in range(MAX_CONNECTIONS):
            _connected(engine, opened, UNREAD_BODY)

        def is_refused() -> bool:
            if engine.curl("SELECT 7").startswith(b"Code: 202."):
                return True
            # A connection whose request had not been read yet gave way.
            _connected(engine, opened, UNREAD_BODY)
            return False

        blocking_until(is_refused)
        assert b"HTTP/1.1 429 " in engine.curl("SELECT 7", "-i", data=b" " * 1_000_000)
        assert engine.fetch("ping") == b"Ok.\n"
        assert b"phonemeter_engine_connections" in engine.fetch("metrics")
        opened.close()
        blocking_until(lambda: engine.curl("SELECT 7") == b"7\n")


@pytest.mark.parametrize(
    ("path", "headers", "part"),
    [
        ("/?query=INSERT+INTO+t+FORMAT+TSV", {"X-ClickHouse-Key": "wrong"}, b"Code: 516."),
        ("/?query=INSERT+INTO+t+FORMAT+TSV", {"Content-Encoding": "zstd"}, b"Code: 271."),
        ("/", {"Content-Type": "multipart/form-data; boundary=x"}, b"Code: 48."),
        ("/", {"Origin": "http://evil.example"}, b"Code: 497."),
        ("/nope", {}, b"Code: 62."),
        ("/", {"X": "y" * 70_000}, b"431: "),
    ],
    ids=["password", "encoding", "form", "page", "path", "header"],
)
def test_a_refusal_reaches_its_client_though_the_body_is_still_on_its_way(
    locked: EngineProcess,
    path: str,
    headers: dict[str, str],
    part: bytes,
) -> None:
    connection = http.client.HTTPConnection(HOST, locked.http_port, timeout=30)
    sent = {"X-ClickHouse-Key": "a secret", **headers}
    connection.request("POST", path, body=b"1\tx\n" * (LARGE_BYTES // 4), headers=sent)
    answer = connection.getresponse()
    text = answer.read()
    assert answer.status >= 400
    assert text.startswith(part)
    assert text.count(b"\n") == 1
    connection.close()


def test_a_client_that_waits_with_its_body_is_asked_for_it_only_when_it_is_let_in(
    locked: EngineProcess,
) -> None:
    for password, first in ((b"wrong", b"HTTP/1.1 403 "), (b"a secret", b"HTTP/1.1 100 Continue\r\n\r\n")):
        head = b"POST / HTTP/1.1\r\nContent-Length: 8\r\nExpect: 100-continue\r\nX-ClickHouse-Key: %s\r\n\r\n"
        with socket.create_connection((HOST, locked.http_port), timeout=20) as sock:
            sock.sendall(head % password)
            assert sock.recv(1 << 16).startswith(first)
            if b"100" in first:
                sock.sendall(b"SELECT 7")
                assert b"HTTP/1.1 200 OK" in sock.recv(1 << 16)


def test_a_probe_with_a_body_does_not_have_it_taken_for_the_next_request(engine: EngineProcess) -> None:
    with socket.create_connection((HOST, engine.http_port), timeout=20) as sock:
        body = b"GET /?query=SELECT+7 HTTP/1.1\r\n\r\n"
        sock.sendall(b"GET /ping HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        sock.shutdown(socket.SHUT_WR)
        answer = received(sock)
        assert answer.count(b"HTTP/1.1 ") == 1
        assert b"\r\nConnection: close\r\n" in answer


@pytest.fixture(scope="module")
@starts_real_parts
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineProcess]:
    """An engine with a password."""
    with running(tmp_path_factory.mktemp("engine"), SECRET) as process:
        yield process


def _connected(engine: EngineProcess, opened: contextlib.ExitStack, first: bytes) -> socket.socket:
    sock = opened.enter_context(socket.create_connection((HOST, engine.http_port), timeout=20))
    sock.sendall(first)
    return sock
