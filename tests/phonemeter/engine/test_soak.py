"""Failing, abandoned and good queries in random order on the same connections: the good ones are right."""

# ruff: noqa: S311, S608 - seeded on purpose; table names are the tests' own

import contextlib
import random

import pytest
from clickhouse_driver import Client, errors

from tests.phonemeter.engine.harness import EngineProcess

OPERATIONS = 100
LATE_FAILURES = (
    "SELECT number, throwIf(number = 140000) FROM numbers(200000)",
    "SELECT toString(number), intDiv(1, 140000 - number) FROM numbers(200000)",
    "SELECT nope",
    "SELEC 1",
)


@pytest.mark.parametrize("seed", range(2))
def test_good_queries_among_failing_and_abandoned_ones_are_right(
    engine: EngineProcess, table: str, seed: int
) -> None:
    chosen = random.Random(seed)
    inserted = 0
    with engine.client(compression="lz4" if seed else False) as client:
        client.execute(
            f"CREATE TABLE {table} (a UInt32, CONSTRAINT c CHECK a < 1000000) ENGINE = MergeTree ORDER BY a"
        )
        for turn in range(OPERATIONS):
            match chosen.randrange(8):
                case 0:
                    _fail(client, chosen.choice(LATE_FAILURES))
                case 1:
                    assert b"Code: " in engine.curl(
                        f"{chosen.choice(LATE_FAILURES)} FORMAT {chosen.choice(['JSON', 'TSV', 'Native'])}",
                        session_id=f"soak-{seed}",
                    )
                case 2:
                    assert engine.curl(f"SELECT {turn}", session_id=f"soak-{seed}") == b"%d\n" % turn
                case 3:
                    client.execute_with_progress(
                        "SELECT sleepEachRow(0.05) FROM numbers(1000) SETTINGS max_block_size = 1"
                    )
                    client.cancel()
                case 4:
                    with contextlib.suppress(errors.ServerException):
                        client.execute(f"INSERT INTO {table} VALUES", [(1,), (1_000_000,)])
                case 5:
                    rows = chosen.randrange(1, 3_000)
                    inserted += client.execute(f"INSERT INTO {table} VALUES", [(n,) for n in range(rows)])
                case 6:
                    assert client.execute(f"SELECT count() FROM {table}") == [(inserted,)]
                case _:
                    assert client.execute(f"SELECT {turn}, '{'x' * turn}'") == [(turn, "x" * turn)]
        assert client.execute(f"SELECT count() FROM {table}") == [(inserted,)]


def _fail(client: Client, query: str) -> None:
    with pytest.raises(errors.ServerException):
        client.execute(query)
