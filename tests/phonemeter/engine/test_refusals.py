"""The list in the engine's README of what it does not do, compared with the engine's answers."""

from collections.abc import Callable
from pathlib import Path

import pytest

import phonemeter.engine
from phonemeter.engine import frames
from phonemeter.engine.wire_values import text, varint
from tests.phonemeter.engine.harness import EngineProcess
from tests.phonemeter.engine.raw import HELLO, NOTHING, ask, column, data, query, talk

Answer = Callable[[EngineProcess], bytes]
README = Path(phonemeter.engine.__file__).with_name("README.md").read_text()
SECTION = README.partition("## What it does not do\n")[2].partition("\n[A test]")[0]
BULLETS = [" ".join(bullet.split()) for bullet in SECTION.split("\n- ")[1:]]
OLD_SETTINGS = text("max_threads") + varint(1)
OWN_SETTING = text("custom_x") + varint(2) + text("'x'")


def http(sql: str) -> Answer:
    return lambda engine: engine.curl(sql, data=b"\n")


def native(sql: str, stage: int = 2) -> Answer:
    return lambda engine: ask(engine, query(sql, stage=stage) + NOTHING)


def sent(*packets: bytes) -> Answer:
    return lambda engine: talk(engine, b"".join(packets))


def insert(type_name: str) -> Answer:
    def answer(engine: EngineProcess) -> bytes:
        table = "refused_" + type_name.partition("(")[0]
        engine.curl(f"CREATE TABLE IF NOT EXISTS {table} (c {type_name}) ENGINE = Memory")
        return ask(engine, query(f"INSERT INTO {table} VALUES") + NOTHING)

    return answer


ZSTD = bytes(16) + frames.HEADER.pack(frames.METHOD_ZSTD, 100, 50) + bytes(200)
REFUSED: list[tuple[str, int, Answer]] = [
    ("users", 497, http("CREATE USER x")),
    ("roles", 497, http("CREATE ROLE x")),
    ("grants", 497, http("GRANT SELECT ON *.* TO x")),
    ("quotas", 497, http("CREATE QUOTA x")),
    ("row policies", 497, http("CREATE ROW POLICY x ON t USING 1")),
    ("settings profiles", 497, http("CREATE SETTINGS PROFILE x")),
    ("`SYSTEM` statements that concern the process", 497, http("SYSTEM SHUTDOWN")),
    ("`BACKUP`", 48, http("BACKUP TABLE t TO File('x')")),
    ("`RESTORE`", 48, http("RESTORE TABLE t FROM File('x')")),
    ("transactions", 48, http("BEGIN TRANSACTION")),
    ("several statements at once", 62, http("SELECT 1; SELECT 2")),
    ("`file()`", 497, http("SELECT * FROM file('/etc/passwd')")),
    ("`url()`", 497, http("SELECT * FROM url('http://127.0.0.1/', LineAsString)")),
    ("`executable()`", 497, http("SELECT * FROM executable('x', TSV, 'a String')")),
    ("`INTO OUTFILE` over HTTP", 497, http("SELECT 1 INTO OUTFILE 'never'")),
    ("`FROM INFILE`", 497, http("INSERT INTO t FROM INFILE '/etc/passwd' FORMAT TSV")),
    ("`INSERT INTO FUNCTION`", 497, http("INSERT INTO FUNCTION null('a String') SELECT 'x'")),
    ("server-side parameters", 456, native("SELECT {x:Int8}")),
    ("settings of the client's own", 115, sent(HELLO, query("SELECT 1", settings=OWN_SETTING), NOTHING)),
    ("distributed reads", 101, native("SELECT 1", stage=1)),
    (
        "external tables",
        48,
        sent(HELLO, query("SELECT * FROM x"), data(column("a", "Int8", b""), rows=0), NOTHING),
    ),
    ("`WITH TOTALS`", 48, native("SELECT 1 AS a, count() GROUP BY a WITH TOTALS")),
    ("Variant", 48, insert("Variant(Int8, String)")),
    ("Dynamic", 48, insert("Dynamic")),
    ("JSON", 48, insert("JSON")),
    ("AggregateFunction", 48, insert("AggregateFunction(sum, Int8)")),
    (
        "`INSERT ... SELECT ... FROM input()`",
        48,
        http("INSERT INTO t SELECT a FROM input('a Int8') FORMAT TSV"),
    ),
    ("ZSTD", 271, sent(HELLO, query("SELECT 1", compressed=True), varint(2), text(""), ZSTD)),
    ("web pages", 497, lambda engine: engine.curl("SELECT 1", "-H", "Origin: http://page.example")),
    (
        "results in FORMAT Native of Variant, Dynamic, JSON, QBit and AggregateFunction",
        48,
        lambda engine: engine.curl(
            "SELECT CAST('{}', 'JSON') FORMAT Native", client_protocol_version="54460"
        ),
    ),
    ("multipart forms", 48, lambda engine: engine.fetch("?query=SELECT+1", "-F", "file=x")),
    (
        "clients older than revision 54058",
        48,
        sent(HELLO.replace(varint(54_468), varint(54_057))),
    ),
    (
        "settings from those older than 54429",
        48,
        sent(HELLO.replace(varint(54_468), varint(54_428)), query("", settings=OLD_SETTINGS)),
    ),
]


@pytest.mark.parametrize(("phrase", "code", "answer"), REFUSED, ids=[phrase for phrase, _, _ in REFUSED])
def test_what_the_list_says_is_refused_is_refused_with_its_code(
    engine: EngineProcess, phrase: str, code: int, answer: Answer
) -> None:
    assert any(phrase in bullet and f"({code})" in bullet for bullet in BULLETS)
    said = answer(engine)
    packet = varint(2) + code.to_bytes(4, "little") + text("DB::Exception")
    assert said.startswith(b"Code: %d. DB::Exception: " % code) or packet in said
    assert engine.curl("SELECT 1") == b"1\n"


def test_every_line_of_the_list_is_tried() -> None:
    assert BULLETS
    assert [bullet for bullet in BULLETS if not any(phrase in bullet for phrase, _, _ in REFUSED)] == []
