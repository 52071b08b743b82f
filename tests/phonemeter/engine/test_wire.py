"""Bytes that no client library sends: the engine stays up and small, and nothing is written."""

# ruff: noqa: S311, S608 - table names are the tests' own; seeded on purpose

import contextlib
import random
import socket
from collections.abc import Iterator

import pytest

from phonemeter.engine import frames
from phonemeter.engine.blocks import BLOCK_INFO
from phonemeter.engine.wire_values import text, varint
from tests.phonemeter.engine.harness import HOST, EngineProcess
from tests.phonemeter.engine.raw import HELLO, NOTHING, column, data, query, talk
from tests.waiting import blocking_until

SEED = 20261017
MEGABYTE = 1 << 20
MEMORY_MARGIN_BYTES = 200 * MEGABYTE
ROWS = data(
    column("a", "UInt32", b"".join(n.to_bytes(4, "little") for n in range(100))),
    column("s", "Array(LowCardinality(String))", b"\x01" + bytes(7) + b"\0" * 800),
    rows=100,
)


@pytest.fixture
def written(engine: EngineProcess, table: str) -> Iterator[str]:
    """A table into which nothing may be written, in an engine that must stay up and small."""
    columns = "a UInt32, s Array(LowCardinality(String))"
    engine.curl(f"CREATE TABLE {table} ({columns}) ENGINE = MergeTree ORDER BY a")
    before = engine.rss_bytes()
    yield table
    assert engine.process.poll() is None
    assert engine.curl(f"SELECT count() FROM {table}") == b"0\n"
    assert engine.rss_bytes() < before + MEMORY_MARGIN_BYTES


def test_random_bytes_get_no_further(engine: EngineProcess, written: str) -> None:
    chosen = random.Random(SEED)
    for _ in range(40):
        talk(engine, chosen.randbytes(chosen.randrange(1, 5_000)))
        talk(engine, HELLO + chosen.randbytes(chosen.randrange(1, 5_000)))
        insert = HELLO + query(f"INSERT INTO {written} VALUES") + NOTHING
        talk(engine, insert + chosen.randbytes(chosen.randrange(1, 5_000)))


def test_a_client_that_dies_at_any_point_of_an_insert_writes_nothing(
    engine: EngineProcess, written: str
) -> None:
    stream = HELLO + query(f"INSERT INTO {written} VALUES") + NOTHING + ROWS + NOTHING
    chosen = random.Random(SEED)
    for cut in [*chosen.sample(range(len(stream)), 60), len(stream) - 1]:
        talk(engine, stream[:cut])


def test_mutated_inserts_that_are_never_finished_write_nothing(engine: EngineProcess, written: str) -> None:
    prefix = HELLO + query(f"INSERT INTO {written} VALUES") + NOTHING
    packed = HELLO + query(f"INSERT INTO {written} VALUES", compressed=True)
    packed += varint(2) + text("") + frames.pack(NOTHING[2:]) + varint(2) + text("") + frames.pack(ROWS[2:])
    chosen = random.Random(SEED)
    for turn in range(150):
        stream = bytearray(packed if turn % 3 == 0 else prefix + ROWS)
        for _ in range(chosen.randrange(1, 8)):
            stream[chosen.randrange(len(HELLO), len(stream))] = chosen.randrange(256)
        if stream[-len(NOTHING) :] != NOTHING:
            talk(engine, bytes(stream))


@pytest.mark.parametrize(
    "block",
    [
        data(column("a", "UInt32", b""), rows=2**62),
        data(column("a", "UInt32", b""), rows=2**25),
        data(column("a", "String", varint(2**62)), rows=1),
        data(column("a", "Array(String)", (2**62).to_bytes(8, "little")), rows=1),
        data(
            column("a", "LowCardinality(String)", b"\x01" + bytes(7) + b"\0\x06" + bytes(6) + b"\xff" * 8),
            rows=1,
        ),
        data(column("a", "FixedString(99999999999)", b""), rows=1),
        data(column("a", "Array(" * 200 + "Int8" + ")" * 200, b""), rows=1),
        data(column("a", "Tuple(" * 5000, b""), rows=1),
        data(column("a", "JSON", b""), rows=1),
        data(column("x" * 2_000_000, "Int8", b""), rows=1),
        varint(2) + text("") + BLOCK_INFO + varint(2**40) + varint(1),
        varint(2) + varint(2**62),
        varint(2) + b"\xff" * 20,
        varint(2) + text("") + b"\x07",
    ],
    ids=range(14),
)
def test_huge_and_impossible_lengths_end_the_connection(
    engine: EngineProcess, written: str, block: bytes
) -> None:
    answer = talk(engine, HELLO + query(f"INSERT INTO {written} VALUES") + NOTHING + block + b"x" * 1000)
    assert b"phonemeter" in answer


def test_a_frame_that_claims_too_much_is_refused_before_it_is_unpacked(
    engine: EngineProcess, written: str
) -> None:
    begin = HELLO + query(f"INSERT INTO {written} VALUES", compressed=True) + varint(2) + text("")
    for method, packed, size in [
        (0x82, 2**31, 10),
        (0x82, 100, 2**31),
        (0x82, 0, 0),
        (0x82, 100, 2**20),
        (0x11, 50, 9),
    ]:
        answer = talk(engine, begin + bytes(16) + frames.HEADER.pack(method, packed, size) + bytes(200))
        assert b"CANNOT_DECOMPRESS" in answer
    zstd = talk(engine, begin + bytes(16) + frames.HEADER.pack(frames.METHOD_ZSTD, 100, 50) + bytes(200))
    assert b"Compression by ZSTD is not served: use lz4 or none." in zstd


@pytest.mark.parametrize(
    ("sent", "part"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", b"use the HTTP port"),
        (varint(1), b"Expected Hello"),
        (HELLO.replace(text("default"), text("nobody")), b"nobody: Authentication failed"),
        (HELLO.replace(varint(54_468), varint(50_000)), b"too old"),
        (HELLO + varint(5), b"Packet 5 is not served"),
        (HELLO + NOTHING, b"Packet 2 is not served"),
        (HELLO + query("SELECT 1", stage=1) + NOTHING, b"Distributed reads"),
        (HELLO + query("SELECT 1") + ROWS + NOTHING, b"External tables"),
        (
            HELLO + varint(1) + text("") + b"\x01" + text("") * 3 + b"\x02",
            b"interface 2",
        ),
        (HELLO + varint(1) + text(b"\xff\xfe"), b"not valid UTF-8"),
    ],
    ids=range(10),
)
def test_what_is_not_served_is_refused_in_one_sentence(
    engine: EngineProcess, sent: bytes, part: bytes
) -> None:
    assert part in talk(engine, sent)


def test_packets_split_into_single_bytes_are_understood(engine: EngineProcess, table: str) -> None:
    engine.curl(
        f"CREATE TABLE {table} (a UInt32, s Array(LowCardinality(String))) ENGINE = MergeTree ORDER BY a"
    )
    with socket.create_connection((HOST, engine.native_port), timeout=20) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in HELLO + query(f"INSERT INTO {table} VALUES") + NOTHING + ROWS + NOTHING:
            sock.sendall(bytes([byte]))
        blocking_until(lambda: engine.curl(f"SELECT count() FROM {table}") == b"100\n")


@pytest.mark.parametrize(
    "sent",
    [
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx",
        b"POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 99999999999999\r\n\r\n",
        b"POST /?query=INSERT+INTO+t+FORMAT+CSV HTTP/1.1\r\nContent-Length: 100\r\n\r\n1,2\n",
        b"POST / HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n",
        b"POST /?decompress=1 HTTP/1.1\r\nContent-Length: 200\r\n\r\n" + b"\xff" * 200,
        b"BREW / HTTP/1.1\r\n\r\n",
        bytes(range(256)),
    ],
    ids=range(10),
)
def test_broken_http_requests_are_answered_or_closed(engine: EngineProcess, sent: bytes) -> None:
    with socket.create_connection((HOST, engine.http_port), timeout=20) as sock:
        sock.sendall(sent)
        sock.shutdown(socket.SHUT_WR)
        answer = bytearray()
        with contextlib.suppress(ConnectionError):
            while part := sock.recv(MEGABYTE):
                answer += part
    assert b" 200 " not in bytes(answer)
    assert b"Traceback" not in answer
    assert engine.curl("SELECT 1") == b"1\n"


def test_a_cancel_that_arrives_with_its_query_ends_it(engine: EngineProcess) -> None:
    endless = query("SELECT count() FROM numbers(5e12) WHERE NOT ignore(sipHash64(number))")
    with socket.create_connection((HOST, engine.native_port), timeout=20) as sock:
        sock.sendall(HELLO + endless + NOTHING + varint(3) + varint(4))
        received = b""
        while not received.endswith(b"\x05\x04"):
            part = sock.recv(MEGABYTE)
            assert part
            received += part
    assert b"Exception" not in received


def test_the_columns_of_a_result_are_told_while_its_query_still_runs(engine: EngineProcess) -> None:
    endless = query("SELECT count() AS c FROM numbers(6e12) WHERE NOT ignore(sipHash64(number))")
    with socket.create_connection((HOST, engine.native_port), timeout=20) as sock:
        sock.sendall(HELLO + endless + NOTHING)
        received = b""
        while not received.endswith(varint(1) + varint(0) + text("c") + text("UInt64")):
            part = sock.recv(MEGABYTE)
            assert part
            received += part
        sock.sendall(varint(3) + varint(4))
        while not received.endswith(b"\x05\x04"):
            part = sock.recv(MEGABYTE)
            assert part
            received += part
