"""Results over HTTP: in every format, in limited memory, complete or marked as broken."""

# ruff: noqa: S608 - the queries are the tests' own

import http.client
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from phonemeter.engine.config import HTTP_BUFFER_BYTES, MAX_HELD_RESULT_BYTES
from tests.phonemeter.engine.harness import HOST, EngineProcess, running
from tests.real_parts import starts_real_parts
from tests.waiting import blocking_until

MEGABYTE = 1 << 20
ROWS = 1_500_000
ROW = "number, repeat('x', 200) AS s"
RESULT_BYTES = 200 * ROWS
"""Less than the size of a result, except in formats that compress it."""
GROWTH_BYTES = 400 * MEGABYTE
"""The memory that a result of 300 MB may take; whole it takes over 700 MB."""
FORMATS = (
    "JSON", "JSONCompact", "JSONObjectEachRow", "XML", "CSVWithNames", "TSVWithNamesAndTypes", "Values",
    "RowBinaryWithNamesAndTypes", "Native", "JSONEachRow", "Parquet", "Arrow", "ORC",
)  # fmt: skip
PACKED = frozenset({"Parquet", "Arrow", "ORC"})
LATE = "SELECT number, throwIf(number = 3000000) FROM numbers(5000000)"


@pytest.fixture(scope="module")
@starts_real_parts
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineProcess]:
    """An engine for this module, so that its memory can be measured."""
    with running(tmp_path_factory.mktemp("engine")) as process:
        yield process


def downloaded(engine: EngineProcess, sql: str, **params: str) -> tuple[int, int]:
    """The status and the size of an answer, which is discarded."""
    arguments = ["curl", "-sS", "-m", "120", "-o", "/dev/null", "-w", "%{http_code} %{size_download}"]
    query = "&".join(f"{name}={quote(value)}" for name, value in params.items())
    done = subprocess.run(
        [*arguments, f"{engine.url}?{query}", "--data-binary", sql], capture_output=True, check=True
    )
    status, size = done.stdout.split()
    return int(status), int(size)


def forget_peak(engine: EngineProcess) -> int:
    """Reset the kernel's peak of memory; returns the current use."""
    Path(f"/proc/{engine.process.pid}/clear_refs").write_text("5")
    return engine.rss_bytes()


def peak_bytes(engine: EngineProcess) -> int:
    status = Path(f"/proc/{engine.process.pid}/status").read_text()
    return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


@pytest.mark.parametrize("output_format", FORMATS)
def test_a_large_result_is_not_held_in_memory(own: EngineProcess, output_format: str) -> None:
    before = forget_peak(own)
    status, size = downloaded(own, f"SELECT {ROW} FROM numbers({ROWS}) FORMAT {output_format}")
    assert status == 200
    assert output_format in PACKED or size > RESULT_BYTES
    assert peak_bytes(own) - before < GROWTH_BYTES


def test_a_large_result_that_is_waited_for_is_not_held_in_memory_either(own: EngineProcess) -> None:
    before = forget_peak(own)
    sql = f"SELECT {ROW} FROM numbers({ROWS}) FORMAT JSON"
    assert downloaded(own, sql, wait_end_of_query="1")[1] > RESULT_BYTES
    assert peak_bytes(own) - before < GROWTH_BYTES


@pytest.mark.parametrize(
    "output_format", ["JSONColumns", "jsoncompactcolumns", "JSONColumnsWithMetadata", "Npy"]
)
def test_a_format_that_has_to_be_held_has_a_limit_and_says_so(own: EngineProcess, output_format: str) -> None:
    before = forget_peak(own)
    row = ROW.partition(", ")[2] if output_format == "Npy" else ROW
    answer = own.curl(f"SELECT {row} FROM numbers(10000000) FORMAT {output_format}")
    assert b"Code: 241. DB::Exception: " in answer
    assert peak_bytes(own) - before < MAX_HELD_RESULT_BYTES + GROWTH_BYTES


@pytest.mark.parametrize("output_format", ["JSON", "CSVWithNames", "Parquet", "TSV", "Native"])
def test_a_failure_after_the_first_bytes_breaks_the_answer_off(
    engine: EngineProcess, output_format: str
) -> None:
    connection = http.client.HTTPConnection(HOST, engine.http_port, timeout=60)
    connection.request("POST", "/", body=f"{LATE} FORMAT {output_format} SETTINGS max_threads = 1")
    answer = connection.getresponse()
    assert answer.status == 200
    mark = answer.headers["X-ClickHouse-Exception-Tag"]
    with pytest.raises(http.client.IncompleteRead) as broken:
        answer.read()
    end = broken.value.partial[-2_000:].decode(errors="replace")
    assert f"__exception__\r\n{mark}\r\nCode: 395. DB::Exception: " in end
    assert end.endswith(f" {mark}\r\n__exception__\r\n")
    connection.close()


@pytest.mark.parametrize("output_format", ["JSON", "CSVWithNames", "Parquet", "TSV", "Native"])
@pytest.mark.parametrize("wait", ["0", "1"])
def test_a_failure_before_the_first_bytes_has_a_status_and_nothing_else(
    engine: EngineProcess, output_format: str, wait: str
) -> None:
    small = "SELECT number, throwIf(number = 9000) FROM numbers(10000) SETTINGS max_block_size = 1000"
    for sql in (small, LATE) if wait == "1" else (small,):
        answer = engine.curl(f"{sql} FORMAT {output_format}", "-i", wait_end_of_query=wait).decode()
        head, body = answer.split("\r\n\r\n")
        assert head.startswith("HTTP/1.1 500 ")
        assert "X-ClickHouse-Exception-Code: 395" in head
        assert body.startswith("Code: 395. DB::Exception: ")
    assert engine.curl("SELECT 7") == b"7\n"


def test_a_client_that_leaves_a_large_document_ends_its_query_and_nothing_else(own: EngineProcess) -> None:
    sql = "SELECT number FROM numbers(2e12) FORMAT JSON"
    with_size_limit = ["curl", "-sS", "--max-time", "1", "-o", "/dev/null", own.url, "--data-binary", sql]
    subprocess.run(with_size_limit, capture_output=True, check=False)
    running_queries = (
        "SELECT count() FROM system.processes WHERE query LIKE '%2e12%' AND query NOT LIKE '%LIKE%'"
    )
    blocking_until(lambda: own.curl(running_queries) == b"0\n")
    failures = "SELECT sum(value) FROM system.events WHERE event = 'WriteBufferFromFileDescriptorWriteFailed'"
    assert own.curl(failures) == b"0\n"


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 7 AS a",
        "SELECT 7 AS a;",
        "SELECT 7 AS a ; -- the end;",
        "SELECT 7 AS a -- the end",
        "SELECT 7 AS a # the end",
        "(SELECT 7 AS a)",
        "WITH 7 AS x SELECT x AS a",
        "SELECT 7 AS a SETTINGS max_threads = 1",
        "FROM numbers(1) SELECT 7 AS a",
        "SELECT toUInt8(6) + 1 AS a INTERSECT SELECT toUInt16(7)",
    ],
)
def test_a_document_has_all_of_the_result_however_the_statement_ends(engine: EngineProcess, sql: str) -> None:
    found = json.loads(engine.curl(sql, default_format="JSONCompact"))
    assert (found["data"], found["meta"][0]["name"], found["rows"]) == ([[7]], "a", 1)


def test_documents_have_totals_extremes_and_names_without_rows(engine: EngineProcess) -> None:
    sql = "SELECT number % 2 AS k, count() AS n FROM numbers(4) GROUP BY k WITH TOTALS ORDER BY k"
    found = json.loads(engine.curl(f"{sql} FORMAT JSONCompact", extremes="1"))
    assert (found["totals"], found["extremes"]["max"]) == ([0, 4], [1, 2])
    assert engine.curl("SELECT 1 AS a WHERE 0 FORMAT CSVWithNames") == b'"a"\n'
    assert json.loads(engine.curl("SHOW DATABASES LIKE 'system' FORMAT JSONCompact"))["data"] == [["system"]]


def test_rows_that_come_slowly_are_sent_before_the_last_one_is_there(engine: EngineProcess) -> None:
    sql = "SELECT number, sleepEachRow(0.1) FROM numbers(1000) SETTINGS max_block_size = 1, max_threads = 1"
    connection = http.client.HTTPConnection(HOST, engine.http_port, timeout=20)
    connection.request("POST", "/", body=f"{sql} FORMAT Native")
    answer = connection.getresponse()
    assert answer.read(1)
    connection.close()


@pytest.mark.parametrize(
    ("sql", "named", "size"),
    [
        ("SELECT 1", "TabSeparated", 2),
        ("SELECT 1 WHERE 0", "TabSeparated", 0),
        ("SELECT 1 FORMAT JSONEachRow", "JSONEachRow", 8),
        ("SELECT 1 WHERE 0 FORMAT Native", "Native", 0),
        ("SHOW TABLES LIKE 'no such'", "TabSeparated", 0),
        ("SET max_threads = 1", None, 0),
        ("DROP TABLE IF EXISTS no_such", None, 0),
    ],
)
def test_headers_tell_the_format_of_a_result_and_that_there_is_none(
    engine: EngineProcess, sql: str, named: str | None, size: int
) -> None:
    connection = http.client.HTTPConnection(HOST, engine.http_port, timeout=20)
    connection.request("POST", "/?query_id=mine-1", body=sql)
    answer = connection.getresponse()
    assert (answer.status, answer.headers["X-ClickHouse-Format"]) == (200, named)
    assert answer.headers["X-ClickHouse-Query-Id"] == "mine-1"
    assert answer.headers["X-ClickHouse-Timezone"] == "UTC"
    assert answer.headers["X-ClickHouse-Server-Display-Name"] == "phonemeter"
    summary = json.loads(answer.headers["X-ClickHouse-Summary"])
    assert int(summary["elapsed_ns"]) > 0
    assert len(answer.read()) == size
    connection.close()


def test_large_results_are_sent_in_pieces_and_small_ones_whole(engine: EngineProcess) -> None:
    for rows, header in ((10, "Content-Length"), (HTTP_BUFFER_BYTES, "Transfer-Encoding")):
        connection = http.client.HTTPConnection(HOST, engine.http_port, timeout=20)
        connection.request("POST", "/", body=f"SELECT number FROM numbers({rows}) FORMAT JSON")
        answer = connection.getresponse()
        assert header in answer.headers
        assert len(json.load(answer)["data"]) == rows
        connection.close()


def test_a_format_is_a_name_wherever_it_was_asked_for(engine: EngineProcess) -> None:
    for name in ("JSON SETTINGS max_threads = 1", "TSV'", "", "Nope"):
        answer = engine.curl("SELECT 1 AS a", default_format=name)
        assert answer == b"1\n" if not name else answer.startswith(b"Code: 73.")


def test_results_of_types_whose_end_cannot_be_found_have_their_block_info(engine: EngineProcess) -> None:
    sql = "SELECT 1::Dynamic AS a FORMAT Native"
    plain, with_info = (engine.curl(sql, client_protocol_version=revision) for revision in ("0", "54405"))
    assert with_info == b"\x01\x00\x02\xff\xff\xff\xff\x00" + plain


def test_texts_that_are_not_utf_8_and_names_with_a_dollar_come_through(engine: EngineProcess) -> None:
    assert engine.fetch("", "--data-binary", "@-", data=b"SELECT hex('\xff\xfe')") == b"FFFE\n"
    assert engine.fetch("?query=SELECT+hex('%FF%FE')") == b"FFFE\n"
    assert engine.fetch("?query=SELECT%20'授权'") == "授权\n".encode()
    query = "SELECT {$x:UInt8}, {x$y:String} FORMAT TSVRaw"
    assert engine.fetch(f"?query={quote(query)}&param_$x=5&param_x$y=it's") == b"5\tit's\n"


def test_a_database_that_a_query_names_is_current_for_that_query_only(engine: EngineProcess) -> None:
    def current(database: str = "") -> bytes:
        return engine.curl("SELECT currentDatabase()", session_id="databases", database=database)

    assert [current(), current(database="system"), current(database="system"), current()] == [
        b"default\n", b"system\n", b"system\n", b"default\n",
    ]  # fmt: skip
    assert engine.curl("USE system", session_id="databases") == b""
    assert [current(), current(database="default"), current()] == [b"system\n", b"default\n", b"system\n"]
