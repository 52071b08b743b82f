"""The HTTP port with clickhouse-connect and curl."""

# ruff: noqa: S608 - table names are the tests' own

import gzip
import json
import threading
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

import clickhouse_connect
import lz4.frame  # type: ignore[import-untyped] # ships no types
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from phonemeter.engine.config import MAX_QUERY_BYTES
from tests.phonemeter.engine.harness import HOST, EngineProcess
from tests.waiting import WITHIN_S, blocking_until

REACHING = (
    "file", "fileCluster", "filesystem", "url", "urlCluster", "sqlite", "executable", "executablePool",
    "python", "deltaLakeLocal", "icebergLocal", "paimonLocal",
)  # fmt: skip
"""Table functions that would reach files or programs of the engine's machine, as ClickHouse spells them."""

LATE_FAILURE = "SELECT number, throwIf(number = 150000) FROM numbers(300000)"


@pytest.fixture(params=[False, "lz4", "gzip"], ids=["plain", "lz4", "gzip"])
def client(engine: EngineProcess, request: pytest.FixtureRequest) -> Iterator[Client]:
    client = clickhouse_connect.get_client(host=HOST, port=engine.http_port, compress=request.param)
    try:
        yield client
    finally:
        client.close()
        client.close_connections()


def test_connect_reads_back_what_it_inserted(client: Client, table: str) -> None:
    client.command(
        f"CREATE TABLE {table} (a Int32, b LowCardinality(Nullable(String)),"
        " c DateTime64(3, 'Asia/Shanghai'), d Array(UUID), e Decimal(18, 6), f Map(String, Int64))"
        " ENGINE = MergeTree ORDER BY a"
    )
    at = datetime(2026, 1, 1, 0, 0, 0, 5_000, tzinfo=ZoneInfo("Asia/Shanghai"))
    rows = [
        [n, None if n % 2 else "quick", at, [UUID(int=n)], Decimal("7.5"), {"k": n}] for n in range(1_000)
    ]
    summary = client.insert(table, rows, column_names=list("abcdef"))
    assert summary.written_rows == 1_000
    found = client.query(f"SELECT * FROM {table} ORDER BY a").result_rows
    assert [list(row) for row in found] == rows


def test_connect_binds_parameters_and_settings_on_the_server(client: Client) -> None:
    query = "SELECT {x:Int32} + 1, {s:String}, {l:Array(UInt8)}, getSetting('max_block_size')"
    parameters = {"x": 4, "s": "it's\t授权", "l": [1, 2]}
    found = client.query(query, parameters=parameters, settings={"max_block_size": 1234}).result_rows
    assert found == [(5, "it's\t授权", [1, 2], 1234)]


def test_connect_streams_and_reads_arrow_and_csv(client: Client) -> None:
    with client.query_row_block_stream("SELECT number FROM numbers(200000)") as blocks:
        assert sum(len(block) for block in blocks) == 200_000
    assert client.query_arrow("SELECT number AS n FROM numbers(3)").to_pydict() == {"n": [0, 1, 2]}
    assert client.raw_query("SELECT 1, 'x'", fmt="CSV") == b'1,"x"\n'


@pytest.mark.parametrize("query", ["SELECT nope", LATE_FAILURE])
def test_connect_hears_of_errors_early_and_late_and_goes_on(client: Client, query: str) -> None:
    with pytest.raises(DatabaseError, match="nope" if "nope" in query else "Code: 395"):
        client.query(query)
    assert client.query("SELECT 7").result_rows == [(7,)]


def test_connect_keeps_a_session(client: Client) -> None:
    client.command("CREATE TEMPORARY TABLE mine (a Int32)")
    client.command("SET max_threads = 3")
    client.insert("mine", [[1], [2]], column_names=["a"])
    assert client.query("SELECT sum(a), getSetting('max_threads') FROM mine").result_rows == [(3, 3)]


def test_ping_answers_without_a_password_or_a_query(engine: EngineProcess) -> None:
    assert engine.fetch("ping") == engine.fetch("") == b"Ok.\n"
    assert engine.fetch("ping", "-I").startswith(b"HTTP/1.1 200 OK")


def test_prometheus_reads_the_disk_and_the_connections(engine: EngineProcess) -> None:
    lines = engine.fetch("metrics").decode().splitlines()
    values = {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}
    free, size = (values[f"phonemeter_engine_disk_{which}_bytes"] for which in ("free", "size"))
    assert 0 < free < size
    assert values["phonemeter_engine_connections"] >= 1
    assert values["process_open_fds"] > 0
    assert engine.fetch("play?query=SELECT+1").startswith(b"Code: 62.")


@pytest.mark.parametrize(
    ("output_format", "expected"),
    [
        ("TSV", b"1\tx\n"),
        ("CSVWithNames", b'"a","b"\n1,"x"\n'),
        ("JSONEachRow", b'{"a":1,"b":"x"}\n'),
        ("JSONCompactEachRow", b'[1, "x"]\n'),
        ("Values", b"(1,'x')"),
        ("Native", b"\x02\x01\x01a\x05UInt8\x01\x01b\x06String\x01x"),
        ("RowBinaryWithNamesAndTypes", b"\x02\x01a\x01b\x05UInt8\x06String\x01\x01x"),
    ],
)
def test_results_come_in_the_format_that_was_asked_for(
    engine: EngineProcess, output_format: str, expected: bytes
) -> None:
    query = "SELECT 1 AS a, 'x' AS b"
    assert engine.curl(f"{query} FORMAT {output_format}") == expected
    assert engine.curl(query, default_format=output_format) == expected
    assert (
        engine.curl(query, "-H", f"X-ClickHouse-Format: {output_format}", wait_end_of_query="1") == expected
    )


def test_large_results_in_one_document_are_one_document(engine: EngineProcess) -> None:
    found = json.loads(engine.curl("SELECT number FROM numbers(200000) FORMAT JSONCompact"))
    assert found["rows"] == len(found["data"]) == 200_000


@pytest.mark.parametrize(
    ("statement", "data"),
    [
        ("INSERT INTO {} FORMAT CSV", b"1,a\n2,b\n"),
        ("INSERT INTO {} FORMAT JSONEachRow", b'{"a":1,"b":"a"}\n{"a":2,"b":"b"}'),
        ("INSERT INTO {} (b, a) FORMAT TabSeparated", b"a\t1\nb\t2\n"),
        ("INSERT INTO {} VALUES", b"(1, 'a'), (1 + 1, 'b')"),
        ("INSERT INTO {} VALUES (1, 'a'),", b"(2, 'b')"),
        ("INSERT INTO {} SETTINGS max_threads = 1 VALUES (1, 'a'), (2, 'b');", b""),
        ("INSERT INTO {} -- FORMAT TSV\n FORMAT CSV\n1,a", b"2,b\n"),
        ("", b"INSERT INTO {} FORMAT CSV\n1,a\n2,b\n"),
        (
            "INSERT INTO {} FORMAT Native",
            b"\x02\x02\x01a\x05Int32\x01\0\0\0\x02\0\0\0\x01b\x06String\x01a\x01b",
        ),
    ],
)
@pytest.mark.parametrize("packed", ["plain", "gzip", "lz4", "chunked"])
def test_inserts_take_their_data_from_the_url_and_the_body(
    engine: EngineProcess, table: str, statement: str, data: bytes, packed: str
) -> None:
    engine.curl(f"CREATE TABLE {table} (a Int32, b String) ENGINE = MergeTree ORDER BY a")
    body = data.replace(b"{}", table.encode())
    packers = {"gzip": gzip.compress, "lz4": lz4.frame.compress}
    headers = {
        "gzip": "Content-Encoding: gzip",
        "lz4": "Content-Encoding: lz4",
        "chunked": "Transfer-Encoding: chunked",
    }
    options = ["-H", headers[packed]] if packed in headers else []
    answer = engine.curl(statement.replace("{}", table), *options, data=packers.get(packed, bytes)(body))
    assert answer == b""
    assert engine.curl(f"SELECT * FROM {table} ORDER BY a") == b"1\ta\n2\tb\n"


@pytest.mark.parametrize("begin", [b"SELECT '", b"INSERT INTO t SELECT '", b"-- x\nSELECT "])
def test_a_query_that_is_too_long_is_refused_though_all_of_it_came(
    engine: EngineProcess, begin: bytes
) -> None:
    answer = engine.fetch("", "--data-binary", "@-", data=begin + b"a" * MAX_QUERY_BYTES + b"'")
    assert answer.startswith(b"Code: 307. DB::Exception: The query has more than ")


def test_large_bodies_are_inserted_whole(engine: EngineProcess, table: str) -> None:
    engine.curl(f"CREATE TABLE {table} (a UInt64) ENGINE = MergeTree ORDER BY a")
    body = "".join(f"{n}\n" for n in range(500_000)).encode()
    assert engine.curl(f"INSERT INTO {table} FORMAT TSV", data=body) == b""
    assert (
        engine.curl(
            f"INSERT INTO {table} FORMAT TSV", "-H", "Content-Encoding: gzip", data=gzip.compress(body)
        )
        == b""
    )
    assert engine.curl(f"SELECT count(), sum(a) FROM {table}") == b"1000000\t249999500000\n"


def test_data_that_cannot_be_read_is_an_error_and_writes_nothing(engine: EngineProcess, table: str) -> None:
    engine.curl(f"CREATE TABLE {table} (a Int32) ENGINE = MergeTree ORDER BY a")
    answer = engine.curl(f"INSERT INTO {table} FORMAT TSV", data=b"1\nfoo\n")
    assert answer.startswith(b"Code: 27. DB::Exception: ")
    assert b"/proc/" not in answer
    assert b"Code: 271." in engine.curl(
        f"INSERT INTO {table} FORMAT TSV", "-H", "Content-Encoding: gzip", data=b"1\n"
    )
    assert engine.curl(f"SELECT count() FROM {table}") == b"0\n"


def test_parameters_are_settings_and_unknown_ones_are_refused(engine: EngineProcess) -> None:
    query = "SELECT getSetting('max_threads'), {x:String} FORMAT TSVRaw"
    assert engine.curl(query, max_threads="3", param_x="it's") == b"3\tit's\n"
    assert engine.curl("SELECT 1", no_such_setting="3").startswith(b"Code: 115.")
    assert engine.fetch("?query=SELECT+1&a%20b=3").startswith(b"Code: 115.")
    assert engine.curl("SELECT currentDatabase()", database="system") == b"system\n"
    assert engine.curl("SELECT 1", database="nope").startswith(b"Code: 81.")


def test_errors_have_a_status_and_a_code(engine: EngineProcess) -> None:
    answer = engine.curl("SELECT * FROM nope", "-i").decode()
    assert answer.startswith("HTTP/1.1 404 ")
    assert "X-ClickHouse-Exception-Code: 60" in answer
    assert "Code: 60. DB::Exception: Unknown table expression identifier 'nope'." in answer


def test_the_summary_counts_rows_as_the_jdbc_driver_needs_it(engine: EngineProcess) -> None:
    answer = engine.curl("SELECT number FROM numbers(5)", "-i", wait_end_of_query="1").decode()
    summary = json.loads(answer.split("X-ClickHouse-Summary: ")[1].splitlines()[0])
    assert (summary["read_rows"], summary["result_rows"], summary["written_rows"]) == ("5", "5", "0")


def test_get_reads_but_never_writes(engine: EngineProcess, table: str) -> None:
    assert engine.curl("SELECT 1", "-X", "GET") == b"1\n"
    assert engine.curl(f"CREATE TABLE {table} (a Int32) ENGINE = Memory", "-X", "GET").startswith(
        b"Code: 164."
    )
    assert engine.curl(f"EXISTS {table}") == b"0\n"


def test_the_output_of_a_failed_query_never_reaches_the_next_result(engine: EngineProcess) -> None:
    for output_format in ("JSON", "CSVWithNames", "CSV", "Native", "TSV"):
        for wait in ("0", "1"):
            failed = engine.curl(
                LATE_FAILURE + f" FORMAT {output_format}", session_id="one", wait_end_of_query=wait
            )
            assert b"Code: 395" in failed
            assert engine.curl("SELECT 7", session_id="one") == b"7\n"


def test_sessions_keep_temporary_tables_are_locked_while_busy_and_can_be_checked(
    engine: EngineProcess,
) -> None:
    engine.curl("CREATE TEMPORARY TABLE mine (a Int32)", session_id="two")
    assert engine.curl("SELECT count() FROM mine", session_id="two") == b"0\n"
    assert engine.curl("SELECT count() FROM mine").startswith(b"Code: 60.")
    assert engine.curl("SELECT 1", session_id="nobody", session_check="1").startswith(b"Code: 372.")
    query = "SELECT sleepEachRow(2.5) FROM numbers(20) SETTINGS max_block_size = 1"
    thread = threading.Thread(
        target=engine.curl, args=(query, "-m", "30"), kwargs={"session_id": "two", "query_id": "busy"}
    )
    thread.start()
    blocking_until(
        lambda: engine.curl("SELECT count() FROM system.processes WHERE query LIKE '%(2.5)%'") == b"2\n"
    )
    assert engine.curl("SELECT 1", session_id="two").startswith(b"Code: 373.")
    engine.curl("KILL QUERY WHERE query_id = 'busy'")
    thread.join(WITHIN_S)
    assert not thread.is_alive()


def test_a_query_ends_when_its_http_client_hangs_up(engine: EngineProcess) -> None:
    engine.curl("SELECT count() FROM numbers(4e12) WHERE NOT ignore(sipHash64(number))", "-m", "1")
    blocking_until(
        lambda: engine.curl("SELECT count() FROM system.processes WHERE query LIKE '%4e12%'") == b"1\n"
    )


def test_newer_clients_get_native_blocks_with_their_info_and_flags(engine: EngineProcess) -> None:
    query = "SELECT toUInt8(1) AS a, 'x' AS b FORMAT Native"
    info = b"\x01\x00\x02\xff\xff\xff\xff\x00"
    plain = b"\x02\x01\x01a\x05UInt8\x01\x01b\x06String\x01x"
    flagged = b"\x02\x01\x01a\x05UInt8\x00\x01\x01b\x06String\x00\x01x"
    assert engine.curl(query, client_protocol_version="54405") == info + plain
    assert engine.curl(query, client_protocol_version="54460") == info + flagged
    assert engine.curl(query, client_protocol_version="x").startswith(b"Code: 62.")


def test_compress_packs_the_result_in_frames_of_clickhouse(engine: EngineProcess, table: str) -> None:
    packed = engine.curl("SELECT number FROM numbers(100000) FORMAT Native", compress="1")
    assert len(packed) < 700_000
    engine.curl(f"CREATE TABLE {table} (number UInt64) ENGINE = Memory")
    assert engine.curl(f"INSERT INTO {table} FORMAT Native", data=packed, decompress="1") == b""
    assert engine.curl(f"SELECT count(), sum(number) FROM {table}") == b"100000\t4999950000\n"


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("CREATE USER x", 497),
        ("DROP ROLE IF EXISTS x", 497),
        ("CREATE ROW POLICY x ON t USING 1", 497),
        ("CREATE SETTINGS PROFILE x", 497),
        ("GRANT SELECT ON *.* TO x", 497),
        ("SET ROLE x", 497),
        ("SYSTEM SHUTDOWN", 497),
        ("SYSTEM KILL", 497),
        ("/* x */ sYsTeM -- y\n SHUTDOWN", 497),
        ("SYSTEM START LISTEN HTTP", 497),
        ("SYSTEM RELOAD CONFIG", 1),
        ("SELECT 1 INTO OUTFILE '/tmp/never'", 497),
        ("SELECT * FROM file('/etc/passwd')", 497),
        ("SELECT `file`('/etc/passwd')", 497),
        ("SELECT * FROM url('file:///etc/passwd', LineAsString)", 497),
        *((f"SELECT * FROM {reaching}('file:///etc/passwd', 'LineAsString')", 497) for reaching in REACHING),
        ("SELECT * FROM `urlCluster`('default', 'file:///etc/passwd', LineAsString)", 497),
        ("SELECT * FROM URLcluster('default', 'file:///etc/passwd', LineAsString)", 497),
        ("INSERT INTO FUNCTION file('/tmp/never.csv') SELECT 1", 497),
        ("INSERT INTO TABLE FUNCTION file('/tmp/never.csv') VALUES (1)", 497),
        ("INSERT INTO t FROM INFILE '/etc/passwd' FORMAT TSV", 497),
        ("CREATE TABLE f (a String) ENGINE = File(TSV, '/etc/passwd')", 497),
        ("CREATE TABLE f (a String) ENGINE = Executable('x', TSV)", 497),
        ("INSERT INTO t SELECT * FROM input('a Int32') FORMAT TSV", 48),
        ("BACKUP TABLE t TO File('x')", 48),
        ("BEGIN TRANSACTION", 48),
        ("SELECT 1; DROP TABLE t", 62),
        ("", 62),
        ("INSERT INTO t (a)", 62),
    ],
)
def test_what_is_not_served_is_refused_in_one_sentence(engine: EngineProcess, query: str, code: int) -> None:
    answer = engine.curl(query, data=b"\n").decode()
    assert answer.startswith(f"Code: {code}. DB::Exception: ")
    assert answer.count("\n") == 1
    assert engine.curl("SELECT 1") == b"1\n"


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (["-H", "Content-Encoding: br", "-d", "x"], "use gzip, lz4 or none"),
        (["-F", "external=1"], "not served here"),
        (["-H", "Content-Encoding: zstd", "-d", "x"], "use gzip, lz4 or none"),
        (["-G", "-d", "role=x"], "no roles here"),
        (["-u", "somebody:"], "Authentication failed"),
        (["-u", "default:wrong"], "Authentication failed"),
        (["-H", "Authorization: Basic %%%"], "Authorization header"),
    ],
)
def test_requests_that_are_not_served_say_why(engine: EngineProcess, options: list[str], part: str) -> None:
    assert part in engine.fetch("?query=SELECT+1", *options).decode()
