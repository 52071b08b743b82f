"""A page of another origin can neither read nor write; other clients are not affected."""

import http.client
import socket
from urllib.parse import quote

import pytest

from phonemeter.engine.wire_values import varint
from tests.phonemeter.engine.harness import HOST, EngineProcess, running
from tests.phonemeter.engine.raw import HELLO, NOTHING, query

FOREIGN = {
    "simple request": {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"},
    "form": {
        "Origin": "http://evil.example",
        "Sec-Fetch-Site": "cross-site",
        "Sec-Fetch-Mode": "navigate",
        "Content-Type": "application/x-www-form-urlencoded",
    },
    "sandboxed frame": {"Origin": "null", "Sec-Fetch-Site": "cross-site"},
    "old browser": {"Origin": "http://evil.example"},
    "broken origin": {"Origin": "http://[evil"},
    "empty origin": {"Origin": ""},
    "other port": {"Origin": "http://127.0.0.1:3000", "Sec-Fetch-Site": "same-site"},
    "image": {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
    "link": {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-User": "?1"},
    "rebound name": {"Host": "rebind.evil.example"},
    "rebound name with its own origin": {
        "Host": "rebind.evil.example:8123",
        "Origin": "http://rebind.evil.example:8123",
        "Sec-Fetch-Site": "same-origin",
    },
    "name like ours": {"Host": "localhost.evil.example"},
    "broken name": {"Host": "[evil"},
}
"""Headers that browsers send for pages of another origin."""
OWN = {
    "curl": {},
    "name": {"Host": "localhost:8123"},
    "name with a dot": {"Host": "localhost."},
    "IPv6": {"Host": "[::1]:8123"},
    "address typed into a browser": {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"},
    "same origin": {
        "Host": "127.0.0.1:8123",
        "Origin": "http://127.0.0.1:8123",
        "Sec-Fetch-Site": "same-origin",
    },
}


def asked(
    engine: EngineProcess, method: str, sql: str, headers: dict[str, str], path: str = ""
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(HOST, engine.http_port, timeout=20)
    target = path or (f"/?query={quote(sql)}" if method == "GET" else "/")
    sent = {"Host": f"{HOST}:{engine.http_port}", "Content-Type": "text/plain", **headers}
    try:
        connection.request(method, target, body=sql.encode() if method == "POST" else None, headers=sent)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize("headers", FOREIGN.values(), ids=FOREIGN)
def test_a_foreign_page_neither_reads_nor_writes(
    engine: EngineProcess, table: str, headers: dict[str, str]
) -> None:
    reads = "SELECT 'sec' || 'ret'"
    writes = f"CREATE TABLE {table} (a Int32) ENGINE = Memory"
    for method, sql in (("GET", reads), ("POST", reads), ("POST", writes)):
        status, answer = asked(engine, method, sql, headers)
        assert (status, b"secret" in answer) == (403, False)
        assert answer.startswith(b"Code: 497. DB::Exception: ")
        assert answer.count(b"\n") == 1
    assert asked(engine, "GET", "", headers, "/metrics")[0] == 403
    assert engine.curl(f"EXISTS {table}") == b"0\n"


@pytest.mark.parametrize("headers", FOREIGN.values(), ids=FOREIGN)
def test_a_page_may_not_ask_beforehand_whether_it_may_and_learns_only_that_the_engine_lives(
    engine: EngineProcess, headers: dict[str, str]
) -> None:
    connection = http.client.HTTPConnection(HOST, engine.http_port, timeout=20)
    connection.request("OPTIONS", "/", headers={"Access-Control-Request-Method": "POST", **headers})
    answer = connection.getresponse()
    assert answer.status == 501
    assert not [name for name, _ in answer.getheaders() if name.lower().startswith("access-control")]
    connection.close()
    assert asked(engine, "GET", "", headers, "/ping") == (200, b"Ok.\n")


@pytest.mark.parametrize("headers", OWN.values(), ids=OWN)
def test_other_clients_are_served_by_every_name_of_this_machine(
    engine: EngineProcess, headers: dict[str, str]
) -> None:
    for method in ("GET", "POST"):
        assert asked(engine, method, "SELECT 7", headers) == (200, b"7\n")


@pytest.mark.stack
def test_behind_a_password_the_name_does_not_matter_and_the_origin_does(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    password = {"X-ClickHouse-Key": "a secret", "Host": "clickhouse.internal:8123"}
    foreign = {**password, "Origin": "http://evil.example"}
    with running(tmp_path_factory.mktemp("engine"), {"PHONEMETER_ENGINE_PASSWORD": "a secret"}) as engine:
        assert asked(engine, "POST", "SELECT 7", password) == (200, b"7\n")
        assert asked(engine, "POST", "SELECT 7", foreign)[0] == 403


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"])
def test_the_native_port_hangs_up_on_http_before_it_reads_what_follows(
    engine: EngineProcess, table: str, method: str
) -> None:
    native = HELLO + query(f"CREATE TABLE {table} (a Int32) ENGINE = Memory") + NOTHING + varint(4)
    with socket.create_connection((HOST, engine.native_port), timeout=20) as sock:
        sock.sendall(f"{method} / HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        answer = sock.recv(1 << 16)
        assert answer.startswith(b"HTTP/1.0 400 ")
        assert b"use the HTTP port" in answer
    with socket.create_connection((HOST, engine.native_port), timeout=20) as sock:
        try:
            sock.sendall(f"{method} / HTTP/1.1\r\nContent-Length: {len(native)}\r\n\r\n".encode() + native)
            while sock.recv(1 << 16):
                pass
        except ConnectionError:
            pass
    assert engine.curl(f"EXISTS {table}") == b"0\n"
