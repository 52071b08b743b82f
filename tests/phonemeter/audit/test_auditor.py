"""The audit on a real broker and a real engine, with every kind of difference planted."""

from collections.abc import Iterator

import msgspec
import pytest
from kafka import TopicPartition

from metering.ledger import Entry
from metering.topics import EVENTS, LEDGER
from phonemeter.audit.auditor import audit
from phonemeter.audit.report import AuditReport, Place, PlaceReport
from phonemeter.errors import OperationError
from phonemeter.kafka_admin import admin
from phonemeter.settings import Settings
from sinks.connection import connect
from tests.metering.building import APP, at, purchased, succeeded
from tests.phonemeter.audit.parts import World, audit_settings

KEY = APP.encode()


settings = audit_settings


@pytest.fixture(autouse=True)
def _nothing_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have ids forgotten at once, so that what comes again with a later time counts again."""
    monkeypatch.setattr("metering.remembered_ids.CHUNK_IDS", 1)
    monkeypatch.setenv("PHONEMETER_REMEMBERED_IDS_MAX", "0")


@pytest.fixture
def world(settings: Settings) -> Iterator[World]:
    """A pack, six calls of which two are the trial's, an event that came back after days, two rejections."""
    with World(settings) as world:
        values = [
            purchased(at(1), "p1", calls=5, price=150_000),
            *(succeeded(at(2, hours=hour), event_id=f"tap-{hour}") for hour in range(6)),
            b"{not json",
            succeeded(at(9), event_id="tap-5"),
            b'{"type": "no.such.type"}',
        ]
        world.happens((KEY, value) for value in values)
        yield world


def wrong(report: AuditReport) -> dict[str, dict[str, int]]:
    return {place: found.kinds for place, found in report.places.items() if found.kinds}


def only(report: AuditReport, place: Place) -> PlaceReport:
    """The one place that differs."""
    assert list(wrong(report)) == [place]
    return report.places[place]


def test_a_ledger_that_is_what_the_rules_say_is_clean(world: World, settings: Settings) -> None:
    world.all_is_right()
    report = audit(settings)
    assert wrong(report) == {}
    assert report.clean
    partition = report.partitions[0]
    assert (partition.audited_to, partition.in_flight, partition.not_stored) == (10, 0, 0)
    assert (partition.records, partition.dead_letters) == (10, 2)
    # The fifth and last call of the pack was taken by the event that came back.
    assert (report.figures.events, report.figures.calls, report.figures.micro_yuan) == (8, 7, 150_000)
    assert report.places["ClickHouse"].items == report.places["phone-ledger"].items == len(world.entries)
    assert report.places["phone-dead-letters"].items == 2


def test_an_event_that_came_back_with_a_new_time_is_named(world: World, settings: Settings) -> None:
    world.all_is_right()
    (one,) = audit(settings).repeated
    assert (one.appid, one.event_id, one.times) == (APP, "tap-5", 2)
    assert (one.partition, one.first_offset, one.last_offset) == (0, 6, 8)


def test_a_call_that_a_late_pack_took_over_is_not_named_as_counted_twice(
    world: World, settings: Settings
) -> None:
    """It has three lines of one event in two records, of which one counts a call that is not covered."""
    world.happens(
        [(KEY, succeeded(at(20), event_id="early")), (KEY, purchased(at(21), "p2", paid_at=at(19)))]
    )
    taken = [entry for entry in world.entries if entry.event_id == "early"]
    assert [(entry.kind, entry.calls, entry.reason) for entry in taken] == [
        ("uncovered", 1, "exhausted"),
        ("uncovered", -1, "taken_over"),
        ("charge", 1, "taken_over"),
    ]
    world.all_is_right()
    report = audit(settings)
    assert [one.event_id for one in report.repeated] == ["tap-5"]
    assert report.clean


def test_repeated_publications_are_no_difference_however_old(
    world: World, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("phonemeter.audit.published_items.PublishedItems.trim", _trimmed_to_nothing)
    world.publish(world.entries[:6])
    world.publish(world.entries[4:])
    world.publish(world.entries)
    world.publish_letters([*world.letters, *world.letters])
    world.store(world.entries)
    world.commit()
    report = audit(settings)
    assert wrong(report) == {}
    assert report.places["phone-ledger"].repeated == len(world.entries) + 2
    assert report.places["phone-dead-letters"].repeated == 2


def _trimmed_to_nothing(published: object) -> None:
    vars(published)["_window_items"] = 0
    window = vars(published)["_window"]
    while window:
        vars(published)["_dropped"], _ = window.popitem(last=False)


def test_a_line_missing_from_the_topic_is_named(world: World, settings: Settings) -> None:
    gone = next(entry for entry in world.entries if entry.event_id == "tap-3")
    world.publish([entry for entry in world.entries if entry is not gone])
    world.publish_letters(world.letters)
    world.store(world.entries)
    world.commit()
    found = only(audit(settings), "phone-ledger")
    assert found.kinds == {"missing": 1}
    (one,) = found.differences
    assert (one.offset, one.line, one.appid, one.pack_id) == (gone.offset, gone.line, APP, "p1")
    (cell,) = found.cells
    assert (cell.expected.calls, cell.found.calls) == (4, 3)
    assert (cell.expected.micro_yuan, cell.found.micro_yuan) == (120_000, 90_000)


def test_a_differing_repetition_and_an_unreadable_record_are_named(world: World, settings: Settings) -> None:
    world.all_is_right()
    world.publish([msgspec.structs.replace(world.entries[3], remaining=77)])
    world.publish_raw(LEDGER, b"not a ledger record")
    found = only(audit(settings), "phone-ledger")
    assert found.kinds == {"contradicted": 1, "unreadable": 1}
    assert found.drift.entries == 2


def test_lines_beyond_the_log_are_foreign_in_the_topic_and_in_clickhouse(
    world: World, settings: Settings
) -> None:
    world.all_is_right()
    stray = msgspec.structs.replace(world.entries[3], offset=10_000)
    world.publish([stray])
    world.store([stray])
    assert wrong(audit(settings)) == {"phone-ledger": {"foreign": 1}, "ClickHouse": {"foreign": 1}}


def test_a_missing_dead_letter_is_named(world: World, settings: Settings) -> None:
    world.publish(world.entries)
    world.publish_letters(world.letters[:1])
    world.store(world.entries)
    world.commit()
    found = only(audit(settings), "phone-dead-letters")
    assert found.kinds == {"missing": 1}
    assert (found.differences[0].offset, found.differences[0].what) == (9, "dead letter, unknown_type")


@pytest.mark.parametrize("what", ["missing", "doubled", "altered", "foreign"])
def test_what_clickhouse_has_otherwise_is_named(world: World, settings: Settings, what: str) -> None:
    victim = next(entry for entry in world.entries if entry.event_id == "tap-4")
    changed: dict[str, list[Entry]] = {
        "missing": [entry for entry in world.entries if entry is not victim],
        "doubled": [*world.entries],
        "altered": [
            msgspec.structs.replace(entry, amount_micro_yuan=99) if entry is victim else entry
            for entry in world.entries
        ],
        "foreign": [*world.entries],
    }
    world.publish(world.entries)
    world.publish_letters(world.letters)
    world.store(changed[what])
    if what == "doubled":
        world.store([victim])
    if what == "foreign":
        world.store([msgspec.structs.replace(victim, line=1)])
    world.commit()
    found = only(audit(settings), "ClickHouse")
    assert found.kinds == {what: 1}
    (one,) = found.differences
    assert (one.offset, one.appid, one.date, one.pack_id) == (victim.offset, APP, "2023-08-28", "p1")
    (cell,) = found.cells
    calls = {"missing": 3, "doubled": 5, "altered": 4, "foreign": 5}
    assert (cell.expected.calls, cell.found.calls) == (4, calls[what])


def test_lines_of_a_partition_that_there_is_not_are_foreign(world: World, settings: Settings) -> None:
    world.all_is_right()
    with connect(settings.clickhouse) as client:
        client.execute(
            "INSERT INTO ledger (source_partition, source_offset, line, kind) VALUES (77, 0, 0, 'charge')"
        )
    found = only(audit(settings), "ClickHouse")
    assert found.kinds == {"foreign": 1}
    assert found.differences[0].partition == 77


def test_what_is_in_flight_is_no_difference(world: World, settings: Settings) -> None:
    """The worker has published more than it has committed, the sink has stored more than it has committed."""
    world.publish(world.entries[:9])
    world.publish_letters(world.letters[:1])
    world.store(world.entries[:5])
    world.commit(metered=7, stored=world.entries[3])
    report = audit(settings)
    assert wrong(report) == {}
    partition = report.partitions[0]
    assert (partition.audited_to, partition.in_flight) == (7, 3)
    audited = [entry for entry in world.entries if entry.offset < 7]
    assert partition.not_stored == len(audited) - 4


def test_a_log_that_nobody_has_begun_with_is_in_flight(world: World, settings: Settings) -> None:
    report = audit(settings)
    assert report.clean
    assert (report.partitions[0].audited_to, report.partitions[0].in_flight) == (0, len(world.records))


def test_a_log_whose_beginning_was_deleted_is_refused(world: World, settings: Settings) -> None:
    world.all_is_right()
    with admin(settings.kafka_access) as client:
        client.delete_records({TopicPartition(EVENTS, 0): 3})
    with pytest.raises(OperationError, match="what came before was deleted"):
        audit(settings)
