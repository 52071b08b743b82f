"""Statements as the engine's own parser reads them: kind, names, start of data."""

# ruff: noqa: S608 - the statements are the tests' own

import pytest

from tests.phonemeter.engine.guards import SECRET, Outside
from tests.phonemeter.engine.harness import EngineProcess


@pytest.mark.parametrize(
    ("statement", "answer"),
    [
        ("SELECT number AS format FROM numbers(3) ORDER BY format DESC", b"2\n1\n0\n"),
        ("SELECT number AS format FROM numbers(3) ORDER BY format ASC;", b"0\n1\n2\n"),
        ("SELECT number AS format FROM numbers(2)", b"0\n1\n"),
        ("SELECT 1 FORMAT JSONEachRow; -- c", b'{"1":1}\n'),
        ("SELECT 1 /* a /* b */ c */ AS a // x\n FORMAT CSVWithNames", b'"a"\n1\n'),
        ("SELECT 1 FORMAT Null", b""),
        ("SELECT getSetting('max_threads') AS t FORMAT JSONEachRow SETTINGS max_threads = 3", b'{"t":3}\n'),
        (
            "SELECT getSetting('max_threads') SETTINGS max_threads = 2 FORMAT CSV SETTINGS log_queries = 0;",
            b"2\n",
        ),
        ("SELECT 1 # x\n", b"1\n"),
        ("SELECT $$FORMAT JSON$$", b"FORMAT JSON\n"),
        ("(SELECT 1) UNION ALL (SELECT 1)", b"1\n1\n"),
        ("SHOW TABLES FROM system LIKE $$one$$ FORMAT JSONEachRow", b'{"name":"one"}\n'),
        ("EXISTS system.one FORMAT JSONEachRow; -- c", b'{"result":1}\n'),
        ("EXPLAIN AST SELECT 1;", b"SelectWithUnionQuery (children 1)\n"),
        ("DESCRIBE (SELECT 1 AS a)", b"a\tUInt8\t"),
    ],
)
def test_a_result_has_the_format_that_the_engines_parser_finds(
    engine: EngineProcess, statement: str, answer: bytes
) -> None:
    assert engine.fetch("", "--data-binary", "@-", data=statement.encode()).startswith(answer)


@pytest.mark.parametrize(
    ("statement", "rows"),
    [
        ("WITH y AS (SELECT 7 AS a, $$w$$ AS b) INSERT INTO {} SELECT a, b FROM y", "7\tw\n"),
        ("INSERT INTO {} VALUES (1,'x'),(2,'y;z');", "1\tx\n2\ty;z\n"),
        ("INSERT INTO {} VALUES (1+3, concat('a','b')), (toInt64('5'), upper('q'))", "4\tab\n5\tQ\n"),
        ("INSERT INTO {} VALUES (9, $$here$$)", "9\there\n"),
        ("INSERT INTO {} /* FORMAT CSV */ (a, b) -- VALUES\nFORMAT CSV\n10,csv\n", "10\tcsv\n"),
        ("INSERT INTO {} /* a /* b */ c */ (a,b) VALUES (11,'n')", "11\tn\n"),
        ("INSERT INTO {} // VALUES\n (b, a) VALUES ('n', 11)", "11\tn\n"),
        ("INSERT INTO {} (* EXCEPT(b)) VALUES (12)", "12\t\n"),
        ("INSERT INTO TABLE {} VALUES (16,'t')", "16\tt\n"),
        ("INSERT INTO {} SETTINGS max_threads=1 VALUES (17,'s')", "17\ts\n"),
        ("INSERT INTO {} SELECT 18,'sel' SETTINGS max_threads=1;", "18\tsel\n"),
        (
            "INSERT INTO {} FORMAT TSV\n1\tINSERT INTO x VALUES (1); SELECT 2\n",
            "1\tINSERT INTO x VALUES (1); SELECT 2\n",
        ),
    ],
)
def test_an_insert_writes_what_it_says(engine: EngineProcess, table: str, statement: str, rows: str) -> None:
    engine.curl(f"CREATE TABLE {table} (a Int64, b String) ENGINE = Memory")
    sent = statement.replace("{}", table).encode()
    assert engine.fetch("", "--data-binary", "@-", data=sent) == b""
    assert engine.curl(f"SELECT * FROM {table} ORDER BY a") == rows.encode()


@pytest.mark.parametrize("name", ["url", "file", "format", "values"])
def test_tables_may_be_named_like_functions_and_keywords(
    engine: EngineProcess, name: str, table: str
) -> None:
    engine.curl(f"CREATE DATABASE {table}")
    assert engine.curl(f"CREATE TABLE {table}.{name} (a Int8) ENGINE = Memory") == b""
    assert engine.curl(f"INSERT INTO {table}.{name} (a) VALUES (1)") == b""
    with engine.client(database=table) as client:
        client.execute(f"INSERT INTO `{name}` (a) VALUES", [(2,)])
        assert client.execute(f"SELECT a FROM `{name}` ORDER BY a FORMAT CSV") == [(1,), (2,)]


def test_statements_in_parallel_are_one_statement(engine: EngineProcess, table: str) -> None:
    made = [f"CREATE TABLE {table}_{n} (a Int8) ENGINE = Memory" for n in range(2)]
    assert engine.curl(" PARALLEL WITH ".join(made)) == b""
    assert engine.curl(f"EXISTS {table}_0") == engine.curl(f"EXISTS {table}_1") == b"1\n"


@pytest.mark.parametrize("readonly", ["1", "2"])
def test_a_statement_cannot_take_back_that_it_only_reads(
    engine: EngineProcess, table: str, readonly: str
) -> None:
    engine.curl(f"CREATE TABLE {table} (a Int64, b String) ENGINE = Memory")
    for settings in ("", "SETTINGS readonly = 0 "):
        answer = engine.curl(f"INSERT INTO {table} {settings}VALUES (1, 'x')", readonly=readonly)
        assert answer.startswith(b"Code: 164.")
    assert engine.curl(f"SELECT count() FROM {table}") == b"0\n"


def test_what_the_grants_do_not_know_is_refused_by_what_the_parser_finds(
    engine: EngineProcess, outside: Outside
) -> None:
    secret, folder, url = outside.secret, outside.folder, outside.url
    layout = "LAYOUT(COMPLEX_KEY_HASHED()) LIFETIME(0)"
    dictionary = "CREATE DICTIONARY d (l String) PRIMARY KEY l"
    table = "(a Int32) ENGINE = MergeTree ORDER BY a"
    for statement in (
        f"SELECT file // x\n('{secret}')",
        f"SELECT `fi\\x6ce`('{secret}')",
        f"CREATE FUNCTION reading AS (x) -> file('{secret}')",
        f"DESCRIBE (SELECT file('{secret}'))",
        "SELECT * FROM executable('id', 'TSV', 'a String')",
        "SELECT * FROM eval('SELECT 1') SETTINGS allow_experimental_eval_table_function = 1",
        "SELECT * FROM `pyth\\x6fn`(os)",
        f"CREATE TABLE r (k UInt64) ENGINE = EmbeddedRocksDB(0, '{folder}/rocks') PRIMARY KEY k",
        "CREATE TABLE q (query String) ENGINE = `Query\\x52unner`",
        f"{dictionary} SOURCE(FILE(path '{secret}' format 'CSV')) {layout}",
        f"{dictionary} SOURCE(HTTP(url '{url}' format 'CSV')) {layout}",
        f"{dictionary} SOURCE(EXECUTABLE(command 'id' format 'CSV')) {layout}",
        f"CREATE TABLE m {table} SETTINGS disk = disk(type = web, endpoint = '{url}')",
        f"ATTACH TABLE a FROM '{folder}' {table}",
        f"SELECT 1 INTO OUTFILE '{folder}/out'",
        f"EXPLAIN SELECT 1 INTO OUTFILE '{folder}/out'",
        f"EXISTS system.one INTO OUTFILE '{folder}/out'",
        f"INSERT INTO t FROM INFILE '{secret}' FORMAT LineAsString",
    ):
        answer = engine.fetch("", "--data-binary", "@-", data=statement.encode()).decode()
        assert answer.startswith("Code: 497. DB::Exception: "), statement
        assert answer.count("\n") == 1
        assert SECRET not in answer
    assert list(folder.iterdir()) == [secret]
    assert outside.asked == []
