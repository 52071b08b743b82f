"""Reading just enough of a statement, whatever hides in its strings and comments."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonemeter.engine.sql import parse


@pytest.mark.parametrize(
    ("text", "rewritten", "data"),
    [
        ("INSERT INTO t VALUES", "INSERT INTO t", ""),
        ("insert into `my db`.`t(x` (a, `b)`) values (1)", "INSERT INTO `my db`.`t(x` (a, `b)`)", "(1)"),
        ("INSERT INTO TABLE db . t (*) FORMAT CSV\n\n1", "INSERT INTO db . t (*)", "\n1"),
        ("INSERT INTO values (format) VALUES (1)", "INSERT INTO values (format)", "(1)"),
        ("INSERT -- VALUES\nINTO t /* FORMAT x */ FORMAT TSV \t\n\t1", "INSERT INTO t", "\t1"),
        ("INSERT INTO t", "INSERT INTO t", ""),
    ],
)
def test_an_insert_is_split_from_its_data(text: str, rewritten: str, data: str) -> None:
    insert = parse(text).insert
    assert insert is not None
    assert insert.from_file("F", "X").startswith(rewritten)
    assert text[insert.data_start :] == data
    assert insert.inline is bool(data.strip())


def test_the_settings_of_an_insert_move_behind_its_file() -> None:
    insert = parse("INSERT INTO t (a) SETTINGS x = 'VALUES', y = 2 VALUES (1)").insert
    assert insert is not None
    sql = " ".join(insert.from_file("F", "Values").split())
    assert (
        sql
        == "INSERT INTO t (a) FROM INFILE 'F' COMPRESSION 'none' SETTINGS x = 'VALUES', y = 2 FORMAT Values"
    )


@pytest.mark.parametrize(
    "text",
    [
        "INSERT INTO t SELECT 'VALUES'",
        "INSERT INTO t (a) WITH 1 AS x SELECT x",
        "INSERT INTO t (SELECT 1)",
        "INSERT INTO t (a) (SELECT 1)",
        "INSERT INTO FUNCTION file('x') VALUES (1)",
        "INSERT INTO t FROM INFILE 'x' FORMAT CSV",
        "SELECT 'INSERT INTO t VALUES'",
        "INSERT",
        "INSERT INTO",
    ],
)
def test_statements_without_data_are_not_taken_for_inserts_of_data(text: str) -> None:
    assert parse(text).insert is None


@pytest.mark.parametrize(
    ("text", "without", "output_format"),
    [
        ("SELECT 1 FORMAT JSON", "SELECT 1 ", "JSON"),
        ("SELECT 1 format CSV;", "SELECT 1 ;", "CSV"),
        ("SELECT 1 FORMAT CSV SETTINGS a = 1", "SELECT 1 SETTINGS a = 1", "CSV"),
        ("SELECT 1 INTO OUTFILE 'x' FORMAT CSV", "SELECT 1 ", "CSV"),
        ("SELECT 1 AS format", "SELECT 1 AS format", ""),
        ("SELECT a AS format FROM t", "SELECT a AS format FROM t", ""),
        ("SELECT format('{}', a) FROM t", "SELECT format('{}', a) FROM t", ""),
        ("SELECT ' FORMAT JSON' -- FORMAT JSON", "SELECT ' FORMAT JSON' -- FORMAT JSON", ""),
    ],
)
def test_the_output_format_is_taken_off_the_statement(text: str, without: str, output_format: str) -> None:
    statement = parse(text)
    assert (statement.text, statement.format) == (without, output_format)


@given(text=st.text(alphabet="INSERTOVALUESFROM'\"`()[]{};,.-/*#$\\\n 01aé", max_size=200))
def test_no_text_breaks_the_reader(text: str) -> None:
    statement = parse(text)
    assert statement.head == text or statement.insert is not None
