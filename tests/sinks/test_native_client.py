"""Packed columns as the engine reads them."""

from array import array
from collections.abc import Callable, Iterator

import pytest
from clickhouse_driver import Client
from clickhouse_driver.errors import TypeMismatchError

from sinks.native_client import NativeClient, packed_as
from sinks.native_columns import Column, LowCardinalityColumn, StringColumn
from tests.real_parts import starts_real_parts
from tests.sinks.parts import HOST, EngineProcess

COLUMNS: dict[str, tuple[str, list[Column]]] = {
    "texts": ("String", [StringColumn.of(["", "a", "门店三", "x" * 300]), StringColumn.of(["id"] * 4)]),
    "words": (
        "LowCardinality(String)",
        [LowCardinalityColumn.of(["", "a", "门店三", "a"]), LowCardinalityColumn.of(["quick"] * 4)],
    ),
    "line": ("UInt32", [array("I", (0, 1, 2**32 - 1, 7)), array("I", (0,) * 4)]),
    "offset": ("UInt64", [array("q", (0, 1, 2**63 - 1, 7)), array("q", (0,) * 4)]),
    "calls": ("Int64", [array("q", (-(2**63), -1, 2**63 - 1, 0)), array("q", (0,) * 4)]),
    "time": ("DateTime64(3, 'UTC')", [array("q", (0, 1, 1_700_000_000_123, -1)), array("q", (0,) * 4)]),
}


@pytest.fixture(scope="module")
@starts_real_parts
def engine(tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]) -> Iterator[EngineProcess]:
    with EngineProcess(tmp_path_factory.mktemp("engine"), free_port(), free_port()) as engine:
        yield engine


@pytest.mark.parametrize("compression", [False, "lz4"])
def test_what_is_sent_packed_is_what_the_engine_has(engine: EngineProcess, compression: bool | str) -> None:  # noqa: FBT001 - as the driver has it
    with NativeClient(HOST, engine.port, "default", compression=compression) as client:
        client.execute("DROP TABLE IF EXISTS packed SYNC")
        definitions = ", ".join(f"{name} {type_}" for name, (type_, _) in COLUMNS.items())
        client.execute(f"CREATE TABLE packed ({definitions}) ENGINE = MergeTree ORDER BY tuple()")
        sent = [[values[number] for _, values in COLUMNS.values()] for number in range(2)]
        for columns in sent:
            assert (
                client.execute(f"INSERT INTO packed ({', '.join(COLUMNS)}) VALUES", columns, columnar=True)
                == 4
            )
        wanted = sorted(row for columns in sent for row in zip(*columns, strict=True))
        shown = [f"toUnixTimestamp64Milli({name})" if name == "time" else name for name in COLUMNS]
        assert sorted(client.execute(f"SELECT {', '.join(shown)} FROM packed")) == wanted  # noqa: S608 - our own names


def test_many_different_words_arrive_as_they_were(engine: EngineProcess) -> None:
    values = [f"pack-{number}" for number in range(70_000)] + ["pack-1"]
    with NativeClient(HOST, engine.port, "default") as client:
        for different in (256, 257, 65_536, 65_537, 70_001):
            client.execute("CREATE OR REPLACE TABLE words (w LowCardinality(String)) ENGINE = Memory")
            client.execute(
                "INSERT INTO words (w) VALUES", [LowCardinalityColumn.of(values[:different])], columnar=True
            )
            assert client.execute("SELECT groupArray(w) FROM words") == [(values[:different],)]


def test_rows_can_be_inserted_as_with_the_drivers_own_client(engine: EngineProcess) -> None:
    with NativeClient(HOST, engine.port, "default") as client:
        client.execute("CREATE OR REPLACE TABLE plain (a Int8, b String) ENGINE = Memory")
        client.execute("INSERT INTO plain (a, b) VALUES", [(1, "x"), (2, "y")])
        assert sorted(client.execute("SELECT a, b FROM plain")) == [(1, "x"), (2, "y")]


def test_a_column_of_another_type_is_refused_by_name_and_nothing_is_stored(engine: EngineProcess) -> None:
    with NativeClient(HOST, engine.port, "default") as client:
        client.execute("CREATE OR REPLACE TABLE other (a Int8) ENGINE = Memory")
        with pytest.raises(TypeMismatchError, match="column a of the table is Int8"):
            client.execute("INSERT INTO other (a) VALUES", [array("q", (1,))], columnar=True)
    with Client(HOST, engine.port, "default") as client:
        assert client.execute("SELECT count() FROM other") == [(0,)]


def test_texts_are_not_sent_for_words() -> None:
    with pytest.raises(TypeMismatchError, match="column kind"):
        packed_as("kind", "LowCardinality(String)", StringColumn.of(["charge"]))
