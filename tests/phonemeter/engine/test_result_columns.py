"""Types of result columns as clients see them, compared with the engine's."""

# ruff: noqa: S608 - table names are the tests' own

from datetime import datetime
from zoneinfo import ZoneInfo

import asynch
import clickhouse_connect
import pytest

from phonemeter.engine.blocks import BLOCK_INFO, read_head
from phonemeter.engine.result_columns import wire_name
from phonemeter.engine.wire_values import cursor_over, text, varint
from tests.phonemeter.engine.harness import HOST, EngineProcess
from tests.phonemeter.engine.raw import END, NOTHING, ask, query

SHANGHAI = ZoneInfo("Asia/Shanghai")
ZONED = "DateTime('Asia/Shanghai')"
HALF_PAST_MIDNIGHT = datetime(2026, 1, 1, 0, 30, tzinfo=SHANGHAI)
TYPES = (
    ZONED, "DateTime('UTC')", "DateTime", "DateTime64(3, 'Asia/Shanghai')", "DateTime64(3)",
    f"Nullable({ZONED})", f"Array({ZONED})", f"Tuple({ZONED}, Int8)", f"Tuple(a {ZONED}, `b c` Int8)",
    f"Nested(a {ZONED}, b String)", f"LowCardinality({ZONED})", f"Map({ZONED}, {ZONED})",
    f"SimpleAggregateFunction(max, {ZONED})", f"AggregateFunction(max, {ZONED})", f"Variant({ZONED}, String)",
    f"JSON(max_dynamic_paths=8, a {ZONED})", f"Nullable(Tuple(a {ZONED}))",
    "AggregateFunction(sumMap, Array(UInt8), Array(UInt64))", "AggregateFunction(quantiles(0.5), Float64)",
    "Enum8('a' = 1, 'b' = 2, 'it''s (' = 3, 'two\nlines' = 4)", "Enum16('a' = 1, 'b' = 1000)",
    "Decimal(9, 2)", "FixedString(3)", "Point", "MultiPolygon", "IntervalDay", "Time64(3)", "Bool",
    "Dynamic(max_types=3)",
    "Tuple(a Int8, b Tuple(c Array(Tuple(d Int8, e String)), f Enum8('x' = 1, 'y' = 2)))",
)  # fmt: skip


def written_type(block: bytes) -> str:
    """The name of the first column's type."""
    cursor = cursor_over(block)
    cursor.varint()
    cursor.varint()
    cursor.text()
    return cursor.text()


@pytest.mark.parametrize("type_name", TYPES)
def test_the_type_of_every_column_is_called_what_the_engine_calls_it(
    engine: EngineProcess, table: str, type_name: str
) -> None:
    settings: dict[str, str] = {"flatten_nested": "0", "allow_suspicious_low_cardinality_types": "1"}
    engine.curl(f"CREATE TABLE {table} (c {type_name}) ENGINE = Memory", data=b"", **settings)
    engine.curl(f"CREATE TABLE {table}_none AS {table}", data=b"", **settings)
    assert engine.curl(f"INSERT INTO {table} VALUES (DEFAULT)") == b""
    asked = f"SELECT toTypeName(c) FROM {table} FORMAT RawBLOB"
    expected = engine.curl(asked, print_pretty_type_names="0").decode().replace("(1, sum", "(sum")
    assert expected[:4] == type_name[:4]
    for options in ({}, {"wait_end_of_query": "1"}):
        assert (
            written_type(engine.curl(f"SELECT c FROM {table} FORMAT Native", data=b"", **options)) == expected
        )
    named = text("c") + text(expected)
    empty, full = (BLOCK_INFO + varint(1) + varint(rows) + named for rows in (0, 1))
    answer = ask(engine, query(f"SELECT c FROM {table}") + NOTHING)
    assert answer.index(empty) < answer.index(full)
    assert empty in ask(engine, query(f"SELECT c FROM {table}_none") + NOTHING)
    assert wire_name(engine.curl(asked, print_pretty_type_names="1").decode()) == expected


@pytest.mark.parametrize(
    "type_name",
    [
        "Enum8('a' = 1, 'b' = 2)",
        "Tuple(a Int8, b Tuple(c Array(Tuple(d Int8, e String)), f String))",
        "Array(Tuple(a Int8, `b, \n c` Int8))",
        ZONED,
    ],
)
def test_the_sample_block_of_an_insert_has_each_type_on_one_line_and_with_its_zone(
    engine: EngineProcess, table: str, type_name: str
) -> None:
    engine.curl(f"CREATE TABLE {table} (c {type_name}) ENGINE = Memory")
    expected = engine.curl(
        f"SELECT toTypeName(c) FROM {table} GROUP BY 1 UNION ALL SELECT toTypeName(defaultValueOfTypeName("
        f"'{type_name.translate({39: chr(92) + chr(39), 92: chr(92) * 2})}')) LIMIT 1 FORMAT RawBLOB",
        print_pretty_type_names="0",
    )
    sample = BLOCK_INFO + varint(1) + varint(0) + text("c") + text(expected)
    assert sample in ask(engine, query(f"INSERT INTO {table} VALUES") + NOTHING + NOTHING)


def test_the_driver_reads_and_writes_zoned_times_as_what_they_are(engine: EngineProcess, table: str) -> None:
    with engine.client() as client:
        client.execute(f"CREATE TABLE {table} (n Int8, t {ZONED}, u DateTime) ENGINE = MergeTree ORDER BY n")
        naive = HALF_PAST_MIDNIGHT.replace(tzinfo=None)
        client.execute(f"INSERT INTO {table} VALUES", [(1, naive, naive)])
        stored = client.execute(f"SELECT toString(t), toString(u) FROM {table}")
        assert stored == [("2026-01-01 00:30:00", "2026-01-01 00:30:00")]
        ((read, utc),) = client.execute(f"SELECT t, u FROM {table}")
        assert (read, read.utcoffset()) == (HALF_PAST_MIDNIGHT, HALF_PAST_MIDNIGHT.utcoffset())
        assert utc == naive


def test_connect_reads_and_writes_zoned_times_as_what_they_are(engine: EngineProcess, table: str) -> None:
    client = clickhouse_connect.get_client(host=HOST, port=engine.http_port)
    try:
        client.command(f"CREATE TABLE {table} (t {ZONED}) ENGINE = MergeTree ORDER BY t")
        client.insert(table, [[HALF_PAST_MIDNIGHT]], column_names=["t"])
        assert engine.curl(f"SELECT toString(t) FROM {table}") == b"2026-01-01 00:30:00\n"
        found = client.query(f"SELECT t FROM {table}").result_rows[0][0]
        frame = client.query_df(f"SELECT t FROM {table}")
        assert (found, found.utcoffset()) == (HALF_PAST_MIDNIGHT, HALF_PAST_MIDNIGHT.utcoffset())
        assert frame["t"][0].isoformat() == HALF_PAST_MIDNIGHT.isoformat()
    finally:
        client.close()


async def test_asynch_inserts_and_reads_and_goes_on_on_the_same_connection(
    engine: EngineProcess, table: str
) -> None:
    connection = asynch.Connection(host=HOST, port=engine.native_port, database="default")
    await connection.connect()
    try:
        async with connection.cursor() as cursor:
            await cursor.execute(f"CREATE TABLE {table} (n Int32, t {ZONED}) ENGINE = MergeTree ORDER BY n")
            for _ in range(2):
                rows = [(n, HALF_PAST_MIDNIGHT) for n in range(100)]
                await cursor.execute(f"INSERT INTO {table} (n, t) VALUES", rows)
            await cursor.execute(f"INSERT INTO {table} SELECT n + 100, t FROM {table} LIMIT 1")
            await cursor.execute(f"SELECT count(), max(t) FROM {table}")
            ((count, newest),) = await cursor.fetchall()
    finally:
        await connection.close()
    assert (count, newest, newest.utcoffset()) == (201, HALF_PAST_MIDNIGHT, HALF_PAST_MIDNIGHT.utcoffset())


def test_after_the_data_of_an_insert_comes_nothing_but_the_end(engine: EngineProcess, table: str) -> None:
    engine.curl(f"CREATE TABLE {table} (a UInt8) ENGINE = Memory")
    block = varint(2) + text("") + BLOCK_INFO + varint(1) + varint(1) + text("a") + text("UInt8") + b"\x07"
    answer = ask(engine, query(f"INSERT INTO {table} VALUES") + NOTHING + block + NOTHING)
    assert answer.endswith(text("a") + text("UInt8") + END)
    assert engine.curl(f"SELECT a FROM {table}") == b"7\n"


@pytest.mark.parametrize(
    ("select", "zones"),
    [
        # Values, and names of other columns, that look like the head of the column with the zone.
        ("SELECT {look} AS s, {t} AS t, {look} AS u", 1),
        ("SELECT {t} AS t, arrayJoin([{look}, '', {look}]) AS s, [{look}] AS a", 1),
        ("SELECT {look} AS s, {t} AS `DateTime`", 1),
        ("SELECT concat(char(8), 'DateTime') AS s, {t} AS `DateTime`", 1),
        ("SELECT t, t FROM (SELECT {t} AS t)", 2),
        ("SELECT {t} AS t, toDateTime(0, 'Asia/Tokyo') AS b, toDateTime(0) AS c", 1),
        ("(SELECT {t} AS t)", 1),
        ("SELECT {t} AS t; -- the end", 1),
        # Types whose end on the wire cannot be found.
        ("SELECT sumState(1) AS s, CAST('{{\"a\": 1}}', 'JSON') AS j, {t} AS t", 1),
    ],
)
def test_the_zone_is_put_back_whatever_the_values_are(engine: EngineProcess, select: str, zones: int) -> None:
    looks_like_a_head = "concat(char(1), 't', char(8), 'DateTime')"
    sql, without = (
        select.format(t=t, look=looks_like_a_head)
        for t in ("toDateTime(0, 'Asia/Shanghai')", "toDateTime(0)")
    )
    zoned = engine.curl(sql, default_format="Native")
    assert zoned.replace(text(ZONED), text("DateTime")) == engine.curl(without, default_format="Native")
    if "sumState" not in select:
        assert [type_name for _, type_name in read_head(zoned).columns].count(ZONED) == zones
    assert BLOCK_INFO + zoned in ask(engine, query(sql) + NOTHING)


def test_a_subquery_runs_once_though_its_types_are_asked_for_before(engine: EngineProcess) -> None:
    with engine.client() as client:
        seen = "SELECT value FROM system.events WHERE event = 'SelectedRows'"
        before = client.execute(seen)[0][0]
        assert client.execute("SELECT (SELECT sum(number) FROM numbers(3000000))") == [(4_499_998_500_000,)]
        assert client.execute(seen)[0][0] - before < 2 * 3_000_000
