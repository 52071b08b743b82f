"""The native port with clickhouse-driver."""

# ruff: noqa: S608 - table names are the tests' own

import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
from clickhouse_driver import Client, errors

from tests.phonemeter.engine.harness import EngineProcess, running
from tests.waiting import WITHIN_S, blocking_until

TYPES: dict[str, list[object]] = {
    "Int8": [-128, 127],
    "UInt16": [0, 65_535],
    "Int64": [-(2**63), 2**63 - 1],
    "UInt64": [0, 2**64 - 1],
    "Int128": [-(2**127), 2**127 - 1],
    "UInt256": [0, 2**256 - 1],
    "Float32": [0.5, -2.0],
    "Float64": [1e300, -0.1],
    "Bool": [True, False],
    "String": ["", "授权" * 100],
    "FixedString(4)": ["abcd", "wxyz"],
    "Nullable(String)": [None, "x"],
    "LowCardinality(String)": ["quick", "realtime"],
    "LowCardinality(Nullable(String))": [None, "quick"],
    "Array(Nullable(Int32))": [[], [1, None, 3]],
    "Array(Array(String))": [[["a"], []], [["b", "c"]]],
    "Array(LowCardinality(String))": [[], ["a", "b", "a"]],
    "Map(String, Array(UInt8))": [{}, {"a": [1, 2], "b": []}],
    "Tuple(Int32, Nullable(String))": [(1, None), (2, "b")],
    "Tuple(size Int32, `validity days` LowCardinality(String))": [(1, "a"), (2, "b")],
    "Enum8('denied' = 1, 'a,b)' = 2)": ["denied", "a,b)"],
    "Date": [date(2026, 2, 28), date(1970, 1, 1)],
    "Date32": [date(1925, 1, 1), date(2026, 1, 1)],
    "DateTime": [datetime(2026, 1, 1, 12), datetime(1970, 1, 1)],  # noqa: DTZ001 - the driver's idea of it
    "DateTime64(3, 'UTC')": [datetime(2026, 1, 1, 0, 0, 0, 123_000, UTC), datetime(2017, 1, 1, tzinfo=UTC)],
    "Decimal(9, 2)": [Decimal("7.50"), Decimal("-0.01")],
    "Decimal(38, 6)": [Decimal("270000.000001"), Decimal(0)],
    "UUID": [UUID(int=0), UUID("12345678-1234-5678-1234-567812345678")],
    "IPv4": [IPv4Address("127.0.0.1"), IPv4Address("10.0.0.1")],
    "IPv6": [IPv6Address("::1"), IPv6Address("fe80::1")],
    "SimpleAggregateFunction(sum, UInt64)": [1, 2],
    "Point": [(1.0, 2.0), (0.0, 0.0)],
    "MultiPolygon": [[[[(0.0, 0.0), (1.0, 0.0), (1.0, 1.0)]]], []],
}


@pytest.fixture(params=[False, "lz4"], ids=["plain", "lz4"])
def client(engine: EngineProcess, request: pytest.FixtureRequest) -> Iterator[Client]:
    with engine.client(compression=request.param) as client:
        yield client


def test_values_of_every_type_come_back_as_they_were_inserted(client: Client, table: str) -> None:
    columns = ", ".join(f"c{i} {name}" for i, name in enumerate(TYPES))
    client.execute(f"CREATE TABLE {table} (n UInt8, {columns}) ENGINE = MergeTree ORDER BY n")
    rows = [(n, *(values[n] for values in TYPES.values())) for n in range(2)]
    assert client.execute(f"INSERT INTO {table} VALUES", rows) == 2
    assert client.execute(f"SELECT * FROM {table} ORDER BY n") == rows


def test_columnar_inserts_and_results_work(client: Client, table: str) -> None:
    client.execute(f"CREATE TABLE {table} (a UInt32, b String) ENGINE = MergeTree ORDER BY a")
    columns = [list(range(70_000)), [str(n) * (n % 50) for n in range(70_000)]]
    assert client.execute(f"INSERT INTO {table} (a, b) VALUES", columns, columnar=True) == 70_000
    found = client.execute(f"SELECT a, b FROM {table} ORDER BY a", columnar=True)
    assert [list(column) for column in found] == columns


def test_numpy_inserts_work(engine: EngineProcess, table: str) -> None:
    with engine.client(settings={"use_numpy": True}) as client:
        client.execute(
            f"CREATE TABLE {table} (t DateTime64(3, 'UTC'), n Int64) ENGINE = MergeTree ORDER BY n"
        )
        numbers = np.arange(10_000)
        times = np.datetime64("2026-01-01T00:00:00.000", "ms") + numbers
        client.execute(f"INSERT INTO {table} VALUES", [times, numbers], columnar=True)
        last, total = client.execute(f"SELECT toUnixTimestamp64Milli(max(t)), sum(n) FROM {table}")[0]
    assert (last, total) == (int(times[-1].astype("int64")), int(numbers.sum()))


def test_an_insert_fills_the_columns_it_names_and_the_engine_the_others(client: Client, table: str) -> None:
    client.execute(
        f"CREATE TABLE {table} (a Int32, `b c` String DEFAULT 'd', m Int32 MATERIALIZED a + 1,"
        " x Int32 ALIAS a) ENGINE = MergeTree ORDER BY a"
    )
    client.execute(f"INSERT INTO {table} (`b c`, a) VALUES", [("z", 1)])
    client.execute(f"INSERT INTO {table} (a) VALUES", [(2,)])
    client.execute(f"INSERT INTO {table} VALUES", [(3, "y")])
    client.execute(f"INSERT INTO {table} (* EXCEPT (`b c`)) VALUES", [(4,)])
    found = client.execute(f"SELECT a, `b c`, m, x FROM {table} ORDER BY a")
    assert found == [(1, "z", 2, 1), (2, "d", 3, 2), (3, "y", 4, 3), (4, "d", 5, 4)]


def test_inline_values_and_insert_select_are_written(client: Client, table: str) -> None:
    client.execute(f"CREATE TABLE {table} (a Int32, b String) ENGINE = MergeTree ORDER BY a")
    client.execute(f"INSERT INTO {table} VALUES (1, 'FORMAT'), (1 + 1, 'it''s');")
    client.execute(f"INSERT INTO {table} SELECT a + 10, b FROM {table}")
    found = client.execute(f"SELECT * FROM {table} ORDER BY a")
    assert found == [(1, "FORMAT"), (2, "it's"), (11, "FORMAT"), (12, "it's")]
    assert client.last_query.progress is not None


def test_results_without_rows_still_name_their_columns(client: Client) -> None:
    query = "SELECT toInt32(1) AS a, 'x' AS `b c` WHERE 0 -- nothing"
    assert client.execute(query, with_column_types=True) == ([], [("a", "Int32"), ("b c", "String")])
    shown = client.execute("SHOW TABLES LIKE 'there is none'", with_column_types=True)
    assert shown == ([], [("name", "String")])


def test_format_clauses_of_the_text_do_not_change_the_protocol(client: Client) -> None:
    assert client.execute("SELECT 1 AS format FORMAT JSON") == [(1,)]
    assert client.execute("SELECT 2 INTO OUTFILE 'never.csv' FORMAT CSV SETTINGS max_threads = 1;") == [(2,)]


def test_settings_hold_for_their_query_only(client: Client) -> None:
    query = "SELECT getSetting('max_block_size')"
    default = client.execute(query)
    assert client.execute(query, settings={"max_block_size": 1234}) == [(1234,)]
    assert client.execute(query) == default


def test_an_unknown_setting_is_refused_only_when_the_client_calls_it_important(engine: EngineProcess) -> None:
    with engine.client() as client:
        assert client.execute("SELECT 1", settings={"no_such_setting": 1}) == [(1,)]
        assert client.execute("SELECT 2") == [(2,)]
    with engine.client(settings_is_important=True) as client, pytest.raises(errors.ServerException) as caught:
        client.execute("SELECT 1", settings={"no_such_setting": 1})
    assert caught.value.code == 115


def test_client_side_parameters_work_and_server_side_ones_are_refused(client: Client) -> None:
    assert client.execute("SELECT %(x)s, %(y)s", {"x": 5, "y": "it's"}) == [(5, "it's")]
    client.connection.context.client_settings["server_side_params"] = True
    with pytest.raises(errors.ServerException) as caught:
        client.execute("SELECT {x:Int32}", {"x": 5})
    assert caught.value.code == 456


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("SELEC 1", 62),
        ("1 + 1", 62),
        ("SELECT nope", 47),
        ("SELECT * FROM nope", 60),
        ("SELECT * FROM nope.nope", 81),
        ("INSERT INTO nope VALUES", 60),
        ("INSERT INTO nope VALUES (1)", 60),
        ("SELECT throwIf(number = 150000) FROM numbers(300000)", 395),
        ("SELECT 1; SELECT 2", 62),
        ("SELECT 1 AS a, count() GROUP BY a WITH TOTALS", 48),
        (
            "SELECT sleepEachRow(0.3) FROM numbers(9) SETTINGS max_execution_time = 0.2, max_block_size = 1",
            159,
        ),
        (
            "SELECT number FROM numbers(1e8) ORDER BY sipHash64(number) SETTINGS max_memory_usage = 1000000",
            241,
        ),
    ],
)
def test_errors_have_their_codes_and_leave_the_connection_usable(
    engine: EngineProcess, query: str, code: int
) -> None:
    with engine.client() as client:
        with pytest.raises(errors.ServerException) as caught:
            client.execute(query)
        assert caught.value.code == code
        assert "/proc/" not in str(caught.value)
        assert client.execute("SELECT 5") == [(5,)]


def test_the_position_of_a_syntax_error_is_the_clients_own(client: Client) -> None:
    with pytest.raises(errors.ServerException, match="failed at position 13"):
        client.execute("SELECT 1, , 2")


def test_a_readonly_query_can_read_but_not_write_and_the_next_one_can(client: Client, table: str) -> None:
    client.execute(f"CREATE TABLE {table} (a Int32) ENGINE = MergeTree ORDER BY a")
    assert client.execute(f"SELECT count() FROM {table}", settings={"readonly": 1}) == [(0,)]
    with pytest.raises(errors.ServerException) as caught:
        client.execute(f"DROP TABLE {table}", settings={"readonly": 1})
    assert caught.value.code == 164
    client.execute(f"DROP TABLE {table}")


def test_the_database_and_temporary_tables_belong_to_the_connection(
    engine: EngineProcess, table: str
) -> None:
    with engine.client() as first, engine.client() as second:
        first.execute(f"CREATE DATABASE {table}")
        first.execute(f"USE {table}")
        first.execute("CREATE TEMPORARY TABLE mine (a Int32)")
        first.execute("INSERT INTO mine VALUES", [(7,)])
        assert first.execute("SELECT currentDatabase(), a FROM mine") == [(table, 7)]
        with pytest.raises(errors.ServerException):
            second.execute("SELECT * FROM mine")
    with engine.client(database=table) as third:
        assert third.execute("SELECT currentDatabase()") == [(table,)]
    with (
        engine.client(database="no_such_database") as fourth,
        pytest.raises(errors.ServerException) as caught,
    ):
        fourth.execute("SELECT 1")
    assert caught.value.code == 81


def test_an_insert_that_violates_a_constraint_is_an_error_and_writes_nothing(
    client: Client, table: str
) -> None:
    client.execute(
        f"CREATE TABLE {table} (a Int32, CONSTRAINT small CHECK a < 100) ENGINE = MergeTree ORDER BY a"
    )
    with pytest.raises(errors.ServerException) as caught:
        client.execute(f"INSERT INTO {table} VALUES", [(1,), (100,)])
    assert caught.value.code == 469
    assert client.execute(f"SELECT count() FROM {table}") == [(0,)]


def test_an_insert_whose_materialized_view_fails_is_an_error(client: Client, table: str) -> None:
    client.execute(f"CREATE TABLE {table} (a Int32) ENGINE = MergeTree ORDER BY a")
    client.execute(
        f"CREATE MATERIALIZED VIEW {table}_view ENGINE = MergeTree ORDER BY b"
        f" AS SELECT throwIf(a = 50) AS b FROM {table}"
    )
    with pytest.raises(errors.ServerException) as caught:
        client.execute(f"INSERT INTO {table} VALUES", [(50,)])
    assert caught.value.code == 395


def test_a_retried_insert_with_its_token_counts_once(client: Client, table: str) -> None:
    client.execute(
        f"CREATE TABLE {table} (a Int32) ENGINE = MergeTree ORDER BY a"
        " SETTINGS non_replicated_deduplication_window = 100"
    )
    for token in ("first", "first", "second"):
        client.execute(f"INSERT INTO {table} VALUES", [(1,)], settings={"insert_deduplication_token": token})
    client.execute(f"INSERT INTO {table} SETTINGS insert_deduplication_token = 'second' VALUES", [(2,)])
    assert client.execute(f"SELECT count() FROM {table}") == [(2,)]


def test_progress_and_profile_tell_what_was_read_and_written(client: Client, table: str) -> None:
    client.execute(f"CREATE TABLE {table} (a Int32) ENGINE = MergeTree ORDER BY a")
    client.execute(f"INSERT INTO {table} SELECT number FROM numbers(150000)")
    assert client.last_query.progress.written_rows == 150_000
    client.execute(f"INSERT INTO {table} VALUES (1), (2)")
    assert client.last_query.progress.written_rows == 2
    client.execute(f"SELECT * FROM {table}")
    assert client.last_query.progress.rows == 150_002
    assert client.last_query.progress.total_rows == 150_002
    assert client.last_query.profile_info.rows == 150_002
    done = [*client.execute_with_progress("SELECT max(number) FROM numbers(20000000)")]
    assert done[-1] == (20_000_000, 20_000_000)


def test_types_that_cannot_be_inserted_can_be_read(client: Client) -> None:
    query = "SELECT CAST('{\"a\": 1}', 'JSON') AS j, toDateTime(0, 'Asia/Shanghai') AS t FROM numbers(2)"
    (document, time), _ = client.execute(query)
    assert document == {"a": 1}
    assert time.isoformat() == "1970-01-01T08:00:00+08:00"


def test_the_level_of_logs_is_accepted_and_fills_nobodys_log(data: Path, tmp_path: Path) -> None:
    said = tmp_path / "stderr"
    with said.open("w") as stderr, running(data, stderr=stderr) as engine, engine.client() as client:
        assert client.execute("SELECT 1", settings={"send_logs_level": "trace"}) == [(1,)]
        assert engine.curl("SELECT 2", send_logs_level="trace") == b"2\n"
    assert said.read_text() == ""


def test_after_the_default_database_was_dropped_everyone_goes_on_and_it_comes_back_empty(
    data: Path,
) -> None:
    with running(data) as engine, engine.client() as client:
        client.execute("CREATE TABLE lost (a Int8) ENGINE = MergeTree ORDER BY a")
        client.execute("DROP DATABASE default")
        assert client.execute("SELECT 1") == [(1,)]
        with pytest.raises(errors.ServerException) as caught:
            client.execute("CREATE TABLE t (a Int8) ENGINE = Memory")
        assert caught.value.code == 81
        assert engine.curl("SELECT currentDatabase()") == b"default\n"
        assert engine.curl("EXISTS lost") == b"0\n"
        with engine.client(database="default") as other:
            other.execute("CREATE TABLE t (a Int8) ENGINE = MergeTree ORDER BY a")
            other.execute("INSERT INTO t VALUES", [(1,)])
        assert client.execute("SELECT a FROM t") == [(1,)]


def test_large_results_stream_through_an_iterator(client: Client) -> None:
    blocks = client.execute_iter("SELECT number, toString(number) FROM numbers(300000)", chunk_size=50_000)
    assert sum(len(block) for block in blocks) == 300_000


def test_cancel_ends_the_query_and_the_connection_goes_on(engine: EngineProcess) -> None:
    with engine.client() as client, engine.client() as other:
        running = client.execute_with_progress(
            "SELECT count() FROM numbers(1e12) WHERE NOT ignore(sipHash64(number))"
        )
        blocking_until(lambda: _running(other, "1e12") == 1)
        client.cancel()
        del running
        blocking_until(lambda: _running(other, "1e12") == 0)
        assert client.execute("SELECT 1") == [(1,)]


def test_a_query_ends_when_its_client_hangs_up(engine: EngineProcess) -> None:
    with engine.client() as client, engine.client() as other:
        client.execute_with_progress("SELECT count() FROM numbers(2e12) WHERE NOT ignore(sipHash64(number))")
        blocking_until(lambda: _running(other, "2e12") == 1)
        client.disconnect()
        blocking_until(lambda: _running(other, "2e12") == 0)


def test_kill_query_finds_a_query_by_its_clients_id(engine: EngineProcess) -> None:
    with engine.client() as client, engine.client() as other:
        failures = list[errors.ServerException]()

        def run() -> None:
            try:
                client.execute(
                    "SELECT count() FROM numbers(3e12) WHERE NOT ignore(number)", query_id="mine-1"
                )
            except errors.ServerException as error:
                failures.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        blocking_until(lambda: _running(other, "3e12") == 1)
        other.execute("KILL QUERY WHERE query_id = 'mine-1'")
        thread.join(WITHIN_S)
    assert [failure.code for failure in failures] == [394]


def test_eight_clients_write_and_read_at_once_and_none_sees_anothers_result(
    engine: EngineProcess, table: str
) -> None:
    with engine.client() as client:
        client.execute(f"CREATE TABLE {table} (who UInt8, n UInt32) ENGINE = MergeTree ORDER BY (who, n)")
    wrong = list[object]()

    def work(who: int) -> None:
        with engine.client() as mine:
            for turn in range(10):
                mine.execute(f"INSERT INTO {table} VALUES", [(who, turn * 100 + n) for n in range(100)])
                found = mine.execute(f"SELECT count(), min(who), max(who) FROM {table} WHERE who = {who}")
                if found != [((turn + 1) * 100, who, who)]:
                    wrong.append(found)

    threads = [threading.Thread(target=work, args=(who,)) for who in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WITHIN_S)
    assert wrong == []
    with engine.client() as client:
        assert client.execute(f"SELECT count() FROM {table}") == [(8_000,)]


def test_a_long_query_does_not_keep_another_client_waiting(engine: EngineProcess) -> None:
    with engine.client() as slow, engine.client() as quick:
        slow.execute_with_progress("SELECT sleepEachRow(3) FROM numbers(20) SETTINGS max_block_size = 1")
        blocking_until(lambda: _running(quick, "sleepEachRow(3)") == 1)
        assert quick.execute("SELECT 1") == [(1,)]
        assert _running(quick, "sleepEachRow(3)") == 1
        slow.disconnect()


def _running(client: Client, part: str) -> int:
    query = (
        "SELECT count() FROM system.processes WHERE position(query, %(part)s) > 0"
        " AND query NOT LIKE '%%processes%%'"
    )
    count: int = client.execute(query, {"part": part})[0][0]
    return count
