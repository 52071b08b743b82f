"""The repair on a real broker and a real engine, without a sink but its own."""

from collections.abc import Iterator

import pytest
from kafka import TopicPartition

from metering.topics import LEDGER
from phonemeter.audit.auditor import audit
from phonemeter.audit.repair import BLOCK, allow_inserts, repair
from phonemeter.errors import OperationError
from phonemeter.kafka_admin import admin
from phonemeter.settings import Settings
from sinks.connection import connect, database_of, rows
from sinks.errors import SinkError
from sinks.migrations import OLDER_TABLES, migrate
from tests.metering.building import APP, at, purchased, succeeded
from tests.phonemeter.audit.parts import World, audit_settings

settings = audit_settings


@pytest.fixture
def world(settings: Settings) -> Iterator[World]:
    """Forty calls of a pack, published, stored and committed."""
    with World(settings) as world:
        values = [purchased(at(1), "p1", calls=40, price=1_200_000)]
        values += [succeeded(at(2, hours=hour), event_id=f"tap-{hour}") for hour in range(40)]
        world.happens((APP.encode(), value) for value in values)
        world.all_is_right()
        yield world


def change(settings: Settings, statement: str) -> None:
    with connect(settings.clickhouse) as client:
        client.execute(f"{statement} SETTINGS mutations_sync = 2")


def is_as_before(settings: Settings) -> bool:
    """True if nothing is left of a repair, and INSERTs are accepted."""
    with connect(settings.clickhouse) as client:
        ((shown,),) = rows(client, "SHOW CREATE TABLE ledger")
        databases = {name for (name,) in rows(client, "SHOW DATABASES")}
    return BLOCK not in shown and f"{database_of(settings.clickhouse)}_repair" not in databases


def test_what_was_deleted_doubled_altered_and_made_up_is_put_right(world: World, settings: Settings) -> None:
    change(settings, "ALTER TABLE ledger DELETE WHERE event_id = 'tap-3'")
    change(settings, "ALTER TABLE ledger UPDATE amount_micro_yuan = 1 WHERE event_id = 'tap-5'")
    world.store([entry for entry in world.entries if entry.event_id == "tap-7"])
    assert audit(settings).places["ClickHouse"].kinds == {"missing": 1, "altered": 1, "doubled": 1}
    repaired = repair(settings)
    assert (repaired.lines, repaired.end_restored) == (len(world.entries), False)
    assert audit(settings).clean
    assert is_as_before(settings)


@pytest.mark.usefixtures("world")
def test_the_end_that_was_lost_is_put_back_by_a_sink(settings: Settings) -> None:
    change(settings, "ALTER TABLE ledger DELETE WHERE source_offset >= 30")
    assert audit(settings).places["ClickHouse"].kinds["missing"] >= 11
    assert repair(settings).end_restored
    assert audit(settings).clean
    assert is_as_before(settings)


@pytest.mark.usefixtures("world")
def test_an_empty_table_is_filled_again(settings: Settings) -> None:
    change(settings, "ALTER TABLE ledger DELETE WHERE 1")
    assert repair(settings).lines == 0
    assert audit(settings).clean


@pytest.mark.usefixtures("world")
def test_a_made_up_end_goes_away(settings: Settings) -> None:
    with connect(settings.clickhouse) as client:
        client.execute(
            "INSERT INTO ledger (source_partition, source_offset, kind) VALUES (0, 1000000, 'charge')"
        )
    assert audit(settings).places["ClickHouse"].kinds == {"foreign": 1}
    assert repair(settings).end_restored
    assert audit(settings).clean


def test_a_topic_that_cannot_be_stored_leaves_everything_as_it_was(world: World, settings: Settings) -> None:
    world.publish_raw(LEDGER, b"not a ledger record")
    change(settings, "ALTER TABLE ledger DELETE WHERE event_id = 'tap-3'")
    with pytest.raises(OperationError, match=r"record 1 cannot be stored: .* Nothing was changed"):
        repair(settings)
    assert audit(settings).places["ClickHouse"].kinds == {"missing": 1}
    assert is_as_before(settings)


@pytest.mark.usefixtures("world")
def test_what_a_killed_repair_left_in_the_way_can_be_taken_away(settings: Settings) -> None:
    change(settings, f"ALTER TABLE ledger ADD CONSTRAINT {BLOCK} CHECK 0")
    assert not is_as_before(settings)
    allow_inserts(settings.clickhouse)
    assert is_as_before(settings)
    assert audit(settings).clean


def test_a_ledger_topic_that_was_emptied_and_written_anew_is_audited_and_repaired(
    world: World, settings: Settings
) -> None:
    empty_topic(settings, end=1)
    world.publish(world.entries)
    change(settings, "ALTER TABLE ledger DELETE WHERE event_id = 'tap-3'")
    report = audit(settings)
    assert report.places["ClickHouse"].kinds == {"missing": 1}
    assert not report.places["phone-ledger"].kinds
    assert repair(settings).lines == len(world.entries)
    assert audit(settings).clean


def test_a_ledger_topic_that_lost_its_beginning_is_told_and_not_repaired_from(
    world: World, settings: Settings
) -> None:
    world.publish(world.entries[30:])
    empty_topic(settings, end=1)
    assert audit(settings).places["phone-ledger"].kinds == {"missing": 30}
    with pytest.raises(OperationError, match="ClickHouse has 30 lines from before that"):
        repair(settings)
    assert not audit(settings).places["ClickHouse"].kinds


def empty_topic(settings: Settings, end: int) -> None:
    """Delete the first records of the ledger topic."""
    with admin(settings.kafka_access) as client:
        client.delete_records({TopicPartition(LEDGER, 0): end})


def test_a_table_of_an_older_version_is_refused_by_the_sink_and_put_into_todays_form(
    world: World, settings: Settings
) -> None:
    older = (
        "CREATE TABLE older ENGINE = MergeTree ORDER BY (appid, time) AS "
        "SELECT * EXCEPT recorded_after_ms, recorded_at FROM ledger"
    )
    with connect(settings.clickhouse) as client:
        for statement in (
            older,
            "EXCHANGE TABLES ledger AND older",
            "TRUNCATE TABLE schema_migrations",
            "DROP TABLE delivery_states",
        ):
            client.execute(statement)
        (checksum,) = OLDER_TABLES
        client.execute(
            "INSERT INTO schema_migrations (version, name, checksum) VALUES", [(1, "ledger", checksum)]
        )
    with pytest.raises(SinkError, match="run `phonemeter audit --repair` once"):
        migrate(settings.clickhouse)
    assert repair(settings).lines == len(world.entries)
    assert migrate(settings.clickhouse) == 0
    with connect(settings.clickhouse) as client:
        ((shown,),) = rows(client, "SHOW CREATE TABLE ledger")
        assert rows(client, "SELECT count() FROM delivery_states") == [(0,)]
    assert "recorded_after_ms" in shown
    assert audit(settings).clean
    world.all_is_right()
