"""The ledger in the real engine: its schema, one part per INSERT, and the highest stored position."""

import re
import threading
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from clickhouse_driver import Client
from clickhouse_driver.errors import Error

from metering.ledger import COLUMNS, Entry, encode_records
from sinks import migrations
from sinks.entry_columns import EntryColumns, concatenate, decode
from sinks.errors import ClickHouseError, SinkError
from sinks.ledger_table import TABLE_COLUMNS, LedgerTable
from sinks.migrations import Migration, known, migrate
from sinks.native_columns import concatenate_columns
from sinks.position import BEFORE_ALL, Position
from tests.real_parts import starts_real_parts
from tests.sinks.parts import HOST, EngineProcess, count_of, lines
from tests.waiting import blocking_until


@pytest.fixture(scope="module")
@starts_real_parts
def engine(tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]) -> Iterator[EngineProcess]:
    with EngineProcess(tmp_path_factory.mktemp("engine"), free_port(), free_port()) as engine:
        yield engine


@pytest.fixture
def database(engine: EngineProcess) -> EngineProcess:
    """The engine without any database of ours."""
    engine.query("DROP DATABASE IF EXISTS phonemeter SYNC", "default")
    return engine


@pytest.fixture
def table(database: EngineProcess) -> Iterator[LedgerTable]:
    migrate(database.url)
    table = LedgerTable(database.url)
    yield table
    table.close()


def insert(
    table: LedgerTable, partition: int, entries: list[Entry], after: Position | None = None
) -> EntryColumns:
    pieces = [decode(value, partition) for value in encode_records(partition, entries)]
    table.insert(partition, concatenate(pieces), after or table.position(partition))
    return pieces[-1]


def test_migrating_twice_changes_nothing(database: EngineProcess) -> None:
    assert migrate(database.url) == len(known())
    before = database.query(
        "SELECT name, create_table_query FROM system.tables WHERE database = 'phonemeter'"
    )
    assert migrate(database.url) == 0
    assert before == database.query(
        "SELECT name, create_table_query FROM system.tables WHERE database = 'phonemeter'"
    )


def test_a_crash_between_a_statement_and_the_note_of_it_is_harmless(database: EngineProcess) -> None:
    migrate(database.url)
    database.query("TRUNCATE TABLE schema_migrations")
    assert migrate(database.url) == len(known())
    assert migrate(database.url) == 0


def test_a_table_that_somebody_dropped_is_made_again_as_later_steps_left_it(database: EngineProcess) -> None:
    columns = (
        "SELECT table, name, comment FROM system.columns WHERE database = currentDatabase() ORDER BY ALL"
    )
    migrate(database.url)
    before = database.query(columns)
    for table in ("ledger", "delivery_states"):
        database.query(f"DROP TABLE {table} SYNC")
    migrate(database.url)
    assert database.query(columns) == before


def test_a_database_of_a_newer_version_is_refused(database: EngineProcess) -> None:
    newer = Migration(len(known()) + 1, "more", "CREATE TABLE IF NOT EXISTS more (a Int8) ENGINE = Null")
    migrate(database.url, (*known(), newer))
    with pytest.raises(SinkError, match="start the newer phonemeter"):
        migrate(database.url)


def test_an_edited_migration_is_refused_but_its_comments_may_change(database: EngineProcess) -> None:
    (first, *rest) = known()
    migrate(database.url)
    assert migrate(database.url, (Migration(1, first.name, f"-- Said better.\n\n{first.sql}"), *rest)) == 0
    edited = Migration(1, first.name, first.sql.replace("ZSTD(1)", "ZSTD(3)"))
    with pytest.raises(SinkError, match="make the change in a new migration"):
        migrate(database.url, (edited, *rest))


def test_a_migration_that_fails_is_not_noted(database: EngineProcess) -> None:
    broken = Migration(
        len(known()) + 1, "broken", "CREATE TABLE IF NOT EXISTS broken (a Nonsense) ENGINE = Null"
    )
    with pytest.raises(Error, match="Nonsense"):
        migrate(database.url, (*known(), broken))
    assert migrate(database.url) == 0


def test_each_migration_gives_its_reason_at_its_head() -> None:
    for migration in known():
        assert re.match(r"-- \w.{20,}", migration.sql), migration.name


def test_the_table_has_the_source_partition_and_every_field_with_its_meaning(
    table: LedgerTable, database: EngineProcess
) -> None:
    del table
    found = database.query(
        "SELECT name, comment FROM system.columns WHERE database = 'phonemeter' AND table = 'ledger' "
        "ORDER BY position"
    )
    stored_otherwise = {"recorded_after_ms"}
    names = tuple(name for name, _ in found if name not in stored_otherwise)
    assert names == ("source_partition", *TABLE_COLUMNS)
    documented = re.findall(
        r"^\s+([a-z_, ]+): ", (Entry.__doc__ or "").partition("Attributes:")[2], re.MULTILINE
    )
    fields = {name for names in documented for name in names.split(", ")}
    assert fields == set(COLUMNS)
    assert not [name for name, comment in found if len(comment) < 10]
    assert (
        database.query("SELECT comment FROM system.tables WHERE database = 'phonemeter' AND comment = ''")
        == []
    )


def test_the_position_of_a_partition_is_its_own_highest_entry(table: LedgerTable) -> None:
    assert table.position(0) == BEFORE_ALL
    insert(table, 0, [Entry(0, 0, "charge", 0, 0, "wx1")])
    assert table.position(0) == Position(0, 0)
    last = insert(table, 0, lines(500, seed=1, first=1)).last
    assert table.position(0) == last
    assert table.position(1) == BEFORE_ALL


def test_the_newest_arrival_is_known_without_any_insert(table: LedgerTable) -> None:
    assert table.newest_recorded_at_ms() is None
    insert(table, 0, [Entry(n, 0, "charge", 0, 1_000 + n, "wx1") for n in range(3)])
    assert table.newest_recorded_at_ms() == 1_002


def test_the_position_is_read_from_a_projection_and_not_from_the_lines(
    table: LedgerTable, database: EngineProcess
) -> None:
    insert(table, 2, lines(500, seed=1))
    plan = database.query(
        "EXPLAIN SELECT count(), max((source_offset, line)) FROM ledger WHERE source_partition = 2"
    )
    assert "ReadFromMergeTree (positions)" in str(plan)


def test_one_insert_is_one_part_however_large(table: LedgerTable, database: EngineProcess) -> None:
    count = 1_100_000
    (value,) = encode_records(0, [Entry(0, 0, "charge", 0, 0, "wx1", calls=1)])
    thousands = [concatenate_columns([column] * 1_000) for column in decode(value, 0).columns]
    columns = [concatenate_columns([column] * (count // 1_000)) for column in thousands]
    columns[0] = array("q", range(count))
    table.insert(0, columns, BEFORE_ALL)
    parts = database.query(
        "SELECT rows, level FROM system.parts WHERE database = 'phonemeter' AND table = 'ledger' AND active"
    )
    assert parts == [(count, 0)]


def test_of_two_inserts_for_the_same_place_the_engine_takes_the_first(
    table: LedgerTable, database: EngineProcess
) -> None:
    entries = lines(100, seed=1)
    insert(table, 0, entries[:60], BEFORE_ALL)
    other = LedgerTable(database.url)
    insert(other, 0, entries, BEFORE_ALL)
    assert count_of(database) == 60
    insert(other, 0, entries[60:])
    other.close()
    assert count_of(database) == 100


def test_each_line_of_a_record_is_a_place_of_its_own_for_the_engine(
    table: LedgerTable, database: EngineProcess
) -> None:
    entries = [Entry(7, line, "charge", 0, 0, "wx1") for line in range(3)]
    for entry in entries:
        insert(table, 0, [entry])
    assert count_of(database) == 3


def test_an_insert_that_someone_left_under_way_is_waited_for(
    table: LedgerTable, database: EngineProcess
) -> None:
    """The INSERT takes the three seconds that `sleep` has; a position read meanwhile would be wrong later."""
    rows = "SELECT 3, 41, 2, 'charge' FROM numbers(1) WHERE sleep(3) = 0"
    statement = f"INSERT INTO ledger (source_partition, source_offset, line, kind) {rows}"

    def insert_slowly() -> None:
        with Client(HOST, database.port, "phonemeter") as client:
            client.execute(statement, settings={"insert_deduplication_token": "sink:3:after 41.1"})

    inserting = threading.Thread(target=insert_slowly)
    inserting.start()
    under_way = "SELECT count() FROM system.processes WHERE query_kind = 'Insert'"
    blocking_until(lambda: database.query(under_way) == [(1,)])
    assert table.position(3) == BEFORE_ALL
    table.mark_unsettled(4)
    assert table.position(4) == BEFORE_ALL
    assert database.query(under_way) == [(1,)]
    table.mark_unsettled(3)
    assert table.position(3) == Position(41, 2)
    inserting.join()


def test_the_wait_for_an_insert_that_does_not_end_is_limited(
    database: EngineProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate(database.url)
    monkeypatch.setattr("sinks.ledger_table._UNDER_WAY", "SELECT 1 + 0 * {partition:d}")
    waited: list[float] = []
    table = LedgerTable(database.url, waited.append)
    table.mark_unsettled(0)
    with pytest.raises(ClickHouseError, match="still under way after 10 s"):
        table.position(0)
    assert sum(waited) == pytest.approx(10)
    monkeypatch.undo()
    assert table.position(0) == BEFORE_ALL
    table.close()


def test_lines_that_the_engine_lost_can_be_stored_again(table: LedgerTable, database: EngineProcess) -> None:
    entries = lines(100, seed=1)
    insert(table, 0, entries, BEFORE_ALL)
    database.query("TRUNCATE TABLE ledger")
    insert(table, 0, entries, BEFORE_ALL)
    assert count_of(database) == 100


def test_tokens_that_outlived_their_lines_can_be_forgotten(
    table: LedgerTable, database: EngineProcess
) -> None:
    entries = lines(100, seed=1)
    insert(table, 0, entries[:50], BEFORE_ALL)
    table.forget_tokens()
    insert(table, 0, entries[50:], BEFORE_ALL)
    assert count_of(database) == 100


def test_an_engine_that_is_away_is_a_clickhouse_error(free_port: Callable[[], int]) -> None:
    table = LedgerTable(f"clickhouse://default@{HOST}:{free_port()}/phonemeter")
    with pytest.raises(ClickHouseError, match="refused"):
        table.position(0)


def test_the_migrations_that_are_shipped_are_numbered_without_a_gap() -> None:
    assert [migration.version for migration in known()] == list(range(1, len(known()) + 1))
    assert all((Path(migrations.__file__).parent / f"{m.version:04d}_{m.name}.sql").exists() for m in known())
