"""The ledger in the real engine: its schema, one INSERT as one part, and where a partition stands."""

import re
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from clickhouse_driver.errors import Error

from metering.ledger import COLUMNS, Entry, encode_records
from sinks import migrations
from sinks.columns import joined
from sinks.errors import SinkError, StoreError
from sinks.lines import BEFORE_ALL, Lines, Position, concatenated, decode
from sinks.migrations import Migration, known, migrate
from sinks.store import TABLE_COLUMNS, Store
from tests.sinks.parts import HOST, EngineProcess, count_of, lines

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]) -> Iterator[EngineProcess]:
    with EngineProcess(tmp_path_factory.mktemp("engine"), free_port(), free_port()) as engine:
        yield engine


@pytest.fixture
def database(engine: EngineProcess) -> EngineProcess:
    """The engine without any database of ours."""
    engine.query("DROP DATABASE IF EXISTS phonemeter SYNC", "default")
    return engine


@pytest.fixture
def store(database: EngineProcess) -> Iterator[Store]:
    migrate(database.url)
    store = Store(database.url)
    yield store
    store.close()


def insert(store: Store, partition: int, entries: list[Entry], after: Position | None = None) -> Lines:
    pieces = [decode(value, partition) for value in encode_records(partition, entries)]
    store.insert(partition, concatenated(pieces), after or store.position(partition))
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


def test_each_migration_says_why_at_its_head() -> None:
    for migration in known():
        assert re.match(r"-- \w.{20,}", migration.sql), migration.name


def test_the_table_has_the_source_partition_and_every_field_with_its_meaning(
    store: Store, database: EngineProcess
) -> None:
    del store
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


def test_a_partition_stands_at_its_own_highest_line(store: Store) -> None:
    assert store.position(0) == BEFORE_ALL
    insert(store, 0, [Entry(0, 0, "charge", 0, 0, "wx1")])
    assert store.position(0) == Position(0, 0)
    last = insert(store, 0, lines(500, seed=1, first=1)).last
    assert store.position(0) == last
    assert store.position(1) == BEFORE_ALL


def test_the_newest_arrival_is_known_without_any_insert(store: Store) -> None:
    assert store.newest_recorded_at_ms() is None
    insert(store, 0, [Entry(n, 0, "charge", 0, 1_000 + n, "wx1") for n in range(3)])
    assert store.newest_recorded_at_ms() == 1_002


def test_the_position_is_read_from_a_projection_and_not_from_the_lines(
    store: Store, database: EngineProcess
) -> None:
    insert(store, 2, lines(500, seed=1))
    plan = database.query(
        "EXPLAIN SELECT count(), max((source_offset, line)) FROM ledger WHERE source_partition = 2"
    )
    assert "ReadFromMergeTree (positions)" in str(plan)


def test_one_insert_is_one_part_however_large(store: Store, database: EngineProcess) -> None:
    count = 1_100_000
    (value,) = encode_records(0, [Entry(0, 0, "charge", 0, 0, "wx1", calls=1)])
    columns = [joined([column] * count) for column in decode(value, 0).columns]
    columns[0] = array("q", range(count))
    store.insert(0, columns, BEFORE_ALL)
    parts = database.query(
        "SELECT rows, level FROM system.parts WHERE database = 'phonemeter' AND table = 'ledger' AND active"
    )
    assert parts == [(count, 0)]


def test_of_two_inserts_for_the_same_place_the_engine_takes_the_first(
    store: Store, database: EngineProcess
) -> None:
    entries = lines(100, seed=1)
    insert(store, 0, entries[:60], BEFORE_ALL)
    other = Store(database.url)
    insert(other, 0, entries, BEFORE_ALL)
    assert count_of(database) == 60
    insert(other, 0, entries[60:])
    other.close()
    assert count_of(database) == 100


def test_lines_that_the_engine_lost_can_be_stored_again(store: Store, database: EngineProcess) -> None:
    entries = lines(100, seed=1)
    insert(store, 0, entries, BEFORE_ALL)
    database.query("TRUNCATE TABLE ledger")
    insert(store, 0, entries, BEFORE_ALL)
    assert count_of(database) == 100


def test_tokens_that_outlived_their_lines_can_be_forgotten(store: Store, database: EngineProcess) -> None:
    entries = lines(100, seed=1)
    insert(store, 0, entries[:50], BEFORE_ALL)
    store.forget_tokens()
    insert(store, 0, entries[50:], BEFORE_ALL)
    assert count_of(database) == 100


def test_an_engine_that_is_away_is_a_store_error(free_port: Callable[[], int]) -> None:
    store = Store(f"clickhouse://default@{HOST}:{free_port()}/phonemeter")
    with pytest.raises(StoreError, match="refused"):
        store.position(0)


def test_the_migrations_that_are_shipped_are_numbered_without_a_gap() -> None:
    assert [migration.version for migration in known()] == list(range(1, len(known()) + 1))
    assert all((Path(migrations.__file__).parent / f"{m.version:04d}_{m.name}.sql").exists() for m in known())
