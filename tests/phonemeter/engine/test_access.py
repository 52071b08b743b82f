"""chDB's own access control without the other guards: statements that it refuses and allows."""

# ruff: noqa: S608 - the statements are the tests' own

from pathlib import Path

import pytest

from phonemeter.engine.errors import from_engine
from tests.phonemeter.engine.guards import SECRET, Outside, unguarded
from tests.phonemeter.engine.harness import EngineProcess, running

DENIED = 497
NO_TABLE = 60
TABLE = "(a String) ENGINE ="


def refused(outside: Outside) -> dict[str, int]:
    """Statements, each with the code of its refusal."""
    secret, url, address = outside.secret, outside.url, f"127.0.0.1:{outside.port}"
    denied = [
        f"SELECT * FROM file('{secret}', 'LineAsString')",
        f"SELECT * FROM file // x\n('{secret}', 'LineAsString')",
        f"SELECT * FROM `fi\\x6ce`('{secret}', 'LineAsString')",
        f"SELECT * FROM \"\\x66ile\"('{secret}', LineAsString)",
        f"SELECT * FROM url('{url}', 'LineAsString')",
        f"SELECT * FROM url('file://{secret}', 'LineAsString')",
        f"SELECT * FROM s3('{url}/key/x.csv', NOSIGN, 'LineAsString', 'a String')",
        f"SELECT * FROM remote('{address}', 'system', 'one')",
        f"SELECT * FROM mysql('{address}', 'a', 'b', 'c', 'd')",
        f"SELECT * FROM postgresql('{address}', 'a', 'b', 'c', 'd')",
        f"SELECT * FROM redis('{address}', 'key', 'key String, value String')",
        f"SELECT * FROM mongodb('{address}', 'a', 'b', 'c', 'd', 'x String')",
        f"SELECT * FROM icebergLocal('{outside.folder}')",
        f"SELECT * FROM sqlite('{outside.folder}/x.db', 't')",
        f"SELECT * FROM filesystem('{outside.folder}')",
        f"CREATE VIEW v AS SELECT * FROM file('{secret}', 'LineAsString')",
        f"INSERT INTO FUNCTION file('{outside.folder}/new.csv', 'CSV', 'a Int8') VALUES (1)",
        f"CREATE TABLE f {TABLE} `Fi\\x6ce`(LineAsString, '{secret}')",
        f"CREATE TABLE f {TABLE} URL('{url}', LineAsString)",
        f"CREATE TABLE f {TABLE} SQLite('{outside.folder}/x.db', 't')",
        f"CREATE TABLE f {TABLE} Kafka('{address}', 't', 'g', 'LineAsString')",
        "CREATE DATABASE d ENGINE = Filesystem",
        f"CREATE DATABASE d ENGINE = SQLite('{outside.folder}/x.db')",
        f"CREATE DATABASE d ENGINE = MySQL('{address}', 'a', 'b', 'c')",
        f"BACKUP DATABASE default TO File('{outside.folder}/b')",
        "CREATE USER u",
        "CREATE NAMED COLLECTION n AS a = 1",
        "SYSTEM SHUTDOWN",
        "SYSTEM KILL",
        "SYSTEM START LISTEN HTTP",
    ]
    settings = {
        f"SELECT 1 AS a FORMAT Template SETTINGS format_template_row = '{secret}'": 452,
        f"SET input_format_record_errors_file_path = '{outside.folder}/errors.csv'": 452,
        f"SET output_format_schema = '{outside.folder}/schema'": 452,
        "SET allow_python_table_function = 1": 392,
    }
    named = {f"SELECT * FROM `{secret}`": NO_TABLE, f"SELECT * FROM default.`{secret}`": NO_TABLE}
    return dict.fromkeys(denied, DENIED) | settings | named


def test_the_engines_own_access_control_refuses_every_way_out_that_it_knows(
    data: Path, outside: Outside
) -> None:
    expected = refused(outside)
    answers = unguarded(data, list(expected), "--granted")
    assert {
        statement: from_engine(a).code for statement, a in zip(expected, answers, strict=True)
    } == expected
    assert SECRET not in "".join(answers)
    # chDB opens an SQLite file before it looks at the grant, which makes it; only the kernel prevents that.
    made = [file for file in outside.folder.iterdir() if file != outside.secret]
    assert [(file.name, file.stat().st_size) for file in made] == [("x.db", 0)]
    assert outside.asked == []


def test_what_is_not_granted_is_named_in_one_sentence(data: Path, outside: Outside) -> None:
    statements = [f"SELECT * FROM url('{outside.url}', CSV)", "SYSTEM SHUTDOWN"]
    said = [from_engine(answer).sentence for answer in unguarded(data, statements, "--granted")]
    rest = "is not granted here: statements reach the engine's own tables and nothing else."
    assert said == [f"READ ON URL {rest}", f"SYSTEM SHUTDOWN ON *.* {rest}"]


@pytest.mark.parametrize(
    "name", ["format_template_row", "output_format_schema", "input_format_record_errors_file_path"]
)
def test_a_client_cannot_set_what_names_a_file(engine: EngineProcess, name: str) -> None:
    assert engine.fetch(f"?query=SELECT+1&{name}=/etc/passwd").startswith(b"Code: 452.")
    assert engine.curl(f"SELECT 1 SETTINGS {name} = '/etc/passwd'").startswith(b"Code: 452.")


def test_tables_that_an_earlier_chdb_kept_in_database_default_are_still_there(data: Path) -> None:
    unguarded(
        data, ["CREATE TABLE kept (a Int8) ENGINE = MergeTree ORDER BY a", "INSERT INTO kept VALUES (7)"]
    )
    for _ in range(2):
        with running(data) as engine:
            assert engine.curl("SELECT a FROM kept") == b"7\n"


def test_database_default_is_an_ordinary_one(engine: EngineProcess, table: str) -> None:
    assert engine.curl("SELECT engine FROM system.databases WHERE name = 'default'") == b"Atomic\n"
    assert engine.curl(f"CREATE TABLE default.{table} (a Int8) ENGINE = MergeTree ORDER BY a") == b""
    assert engine.curl("SELECT * FROM `/etc/passwd`").startswith(b"Code: 60.")
