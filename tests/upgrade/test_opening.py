"""Data that 0.1 wrote are opened by today's code, and mean the same."""

from pathlib import Path

from sqlalchemy import select

from metering import dead_letters
from metering.ledger import Entry, decode_rows
from metering.partition import meter
from metering.partition_state import PartitionState, WorkingState
from metering.records import RecordRange
from metering.topics import (
    ALERTS,
    DEAD_LETTERS,
    DELIVERIES,
    EVENTS,
    LEDGER,
    NOTIFIER_GROUP,
    SINK_GROUP,
    STATE,
)
from phonemeter.business.database import BusinessDatabase
from phonemeter.business.tables import API_KEYS, OWNER_APPS, OWNERS
from producers.openid_store import OpenidStore
from sinks.entry_columns import decode
from sinks.kafka_consumer import decode_metadata
from sinks.migrations import known
from sinks.notifier import records as delivery_records
from sinks.notifier.alert_routing import decode_alert
from sinks.notifier.deliveries import Deliveries
from sinks.position import Position
from streams.state_log import StateLayout, StateReader, StateRecord
from tests.upgrade.what_0_1_wrote import KAFKA, OPENID_KEY, database, records


def stored_state() -> tuple[PartitionState, StateLayout]:
    reader = StateReader(0)
    reader.add(StateRecord(one.key or b"", one.value) for one in records(STATE))
    return reader.newest()


def published_entries() -> list[Entry]:
    return [Entry(*row) for one in records(LEDGER) for row in decode_rows(one.value or b"").rows]


def test_its_ledger_is_read_and_metering_its_events_gives_it_again() -> None:
    state, layout = stored_state()
    assert layout.terms is not None
    log = records(EVENTS)
    ranged = RecordRange(log, 0, log[-1].offset + 1)
    metered = meter(WorkingState(0, partitions=1), ranged, layout.terms.rules)
    entries = published_entries()
    assert len(entries) > 40
    assert list(metered.entries)[: len(entries)] == entries
    assert sum(len(decode(one.value, 0)) for one in records(LEDGER)) == len(entries)
    assert [dead_letters.decode(one.value or b"") for one in records(DEAD_LETTERS)] == list(
        metered.dead_letters
    )
    assert state.next_offset <= log[-1].offset + 1


def test_its_state_is_opened_and_is_that_of_its_events() -> None:
    state, layout = stored_state()
    assert layout.terms is not None
    log = records(EVENTS)
    ranged = RecordRange(log[: state.next_offset], 0, state.next_offset)
    metered = meter(WorkingState(0, partitions=1), ranged, layout.terms.rules).state
    assert dict(state.accounts) == dict(metered.accounts)
    assert layout.mark.offset == state.next_offset - 1


def test_its_alerts_were_delivered_and_are_known_to_be() -> None:
    alerts = [decode_alert(one.value)[0].id for one in records(ALERTS)]
    assert alerts
    deliveries = Deliveries(keep_finished=True)
    for one in records(DELIVERIES):
        deliveries.apply(delivery_records.decode(one.value or b""))
    for alert in alerts:
        delivery = deliveries.delivery_of((alert, "owner"))
        assert delivery is not None
        assert delivery.state == "delivered"


def test_its_commits_name_a_position_and_the_mark_of_the_log() -> None:
    ((_, _, stored),) = KAFKA["commits"][SINK_GROUP]
    ((_, _, asked),) = KAFKA["commits"][NOTIFIER_GROUP]
    newest = published_entries()[-1]
    assert decode_metadata("stored", stored).position == Position(newest.offset, newest.line)
    assert decode_metadata("stored", stored).mark.offset == records(LEDGER)[-1].offset
    assert decode_metadata("asked", asked).mark.offset == records(ALERTS)[-1].offset


def test_its_migrations_of_clickhouse_are_unchanged() -> None:
    applied = KAFKA["clickhouse_migrations"]
    assert [[one.version, one.name, one.checksum] for one in known()[: len(applied)]] == applied


def test_its_business_database_is_migrated_and_has_its_rows(tmp_path: Path) -> None:
    path = database("business", tmp_path / "business.sqlite")
    with BusinessDatabase(f"sqlite:///{path}") as opened, opened.begin() as connection:
        assert connection.execute(select(API_KEYS.c.name, API_KEYS.c.apps)).all() == [("till", [])]
        assert connection.execute(select(OWNERS.c.name)).scalars().all() == ["东城"]
        assert connection.execute(select(OWNER_APPS.c.appid)).scalars().all() == ["wx0123456789abcdef"]


def test_its_openids_are_read(tmp_path: Path) -> None:
    path = database("openids", tmp_path / "openids.sqlite")
    path.chmod(0o600)
    with OpenidStore(path, OPENID_KEY, bytes_max=10**8) as store:
        kept = list(store.kept("wx0123456789abcdef", 0, 3_000_000_000_000))
    assert [one.openid for one in kept] == ["oABCDEF-123_456"]
