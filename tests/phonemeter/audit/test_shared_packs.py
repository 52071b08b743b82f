"""Packs that are in two apps at once are named, and those that moved are not (rule 16)."""

from collections.abc import Iterator

import msgspec
import pytest

from metering.ledger import Entry, encode_records
from metering.partition import meter
from metering.partition_state import PartitionState
from phonemeter.audit.auditor import audit
from phonemeter.audit.shared_packs import SharedPack, shared_packs
from phonemeter.settings import Settings
from sinks.entry_columns import concatenate, decode
from sinks.ledger_table import LedgerTable
from tests.metering.building import (
    NO_TRIAL,
    assigned,
    at,
    cancelled,
    migrated,
    play,
    purchased,
    records,
    refunded,
    succeeded,
)
from tests.phonemeter.audit.parts import World, audit_settings

settings = audit_settings

A, B = "wx-a", "wx-b"


def shared(*values: bytes) -> list[tuple[str, str, int, int]]:
    """The packs that are shared after facts of two apps: the pack, both apps in a word, and the times."""
    entries = sorted(play(*values).entries, key=lambda entry: (entry.appid, entry.offset, entry.line))
    found = shared_packs(entry for entry in entries if entry.kind in {"purchase", "refund"})
    return [(each.pack_id, " ".join(each.appids), each.from_ms, each.until_ms) for each in found]


def test_a_pack_that_was_assigned_again_without_a_cancellation_is_in_both_until_it_expires() -> None:
    first = assigned(at(1), "p", app=A, days=90, paid_at=at(0))
    assert shared(first, assigned(at(5), "p", app=B, days=90)) == [("p", "wx-a wx-b", at(5), at(91))]
    assert shared(first, assigned(at(91), "p", app=B, days=90)) == []


@pytest.mark.parametrize(("day", "found"), [(5, []), (6, [("p", "wx-a wx-b", at(5), at(6))])])
def test_a_cancellation_ends_the_stay_in_the_first_app_at_its_own_time(
    day: int, found: list[tuple[str, str, int, int]]
) -> None:
    first = assigned(at(1), "p", app=A)
    assert shared(first, assigned(at(5), "p", app=B), cancelled(at(day), "p", app=A)) == found


def test_a_refused_cancellation_ends_nothing() -> None:
    facts = (assigned(at(1), "p", app=A), succeeded(at(2), app=A), cancelled(at(3), "p", app=A))
    assert len(shared(*facts, assigned(at(5), "p", app=B))) == 1
    gone = cancelled(at(3), "p", app=A, by="platform")
    assert shared(*facts, gone, assigned(at(5), "p", app=B)) == []


def test_a_pack_that_is_used_up_when_the_platform_takes_it_back_has_left_its_app() -> None:
    facts = (assigned(at(1), "p", app=A, calls=1), succeeded(at(2), app=A))
    gone = cancelled(at(3), "p", app=A, by="platform")
    assert shared(*facts, gone, assigned(at(5), "p", app=B)) == []


def test_a_pack_is_in_its_app_before_it_starts() -> None:
    facts = (purchased(at(1), "p", app=A, starts_at=at(50)), assigned(at(5), "p", app=B, starts_at=at(5)))
    assert [found[2] for found in shared(*facts)] == [at(5)]


def test_what_a_settlement_makes_of_a_refund_holds() -> None:
    entries = play(
        assigned(at(1), "p", app=A), refunded(at(2), "p", app=A), assigned(at(3), "p", app=B)
    ).entries
    refund = next(entry for entry in entries if entry.kind == "refund")
    taken_again = msgspec.structs.replace(refund, offset=9, calls=-refund.calls, reason="settled")
    assert shared_packs(entries) == []
    assert len(shared_packs([*entries, taken_again])) == 1
    part = msgspec.structs.replace(taken_again, calls=1 - refund.calls)
    assert shared_packs([*entries, part]) == []
    bought = next(entry for entry in entries if entry.kind == "purchase")
    not_bought = msgspec.structs.replace(bought, offset=10, calls=-bought.calls, reason="settled")
    assert shared_packs([*entries, taken_again, not_bought]) == []


def test_a_pack_that_moved_with_its_app_to_another_appid_is_in_one_app_at_a_time() -> None:
    facts = [purchased(at(1), "p", app=A), migrated(at(20), B, app=A)]
    moved = purchased(at(20), "p", app=B, paid_at=at(1), used_before=3)
    assert shared(*facts, moved) == []
    assert shared(facts[0], moved) == [("p", "wx-a wx-b", at(1), at(91))]


def test_every_two_of_three_apps_are_named() -> None:
    facts = [assigned(at(day), "p", app=app) for day, app in ((1, A), (2, B), (3, "wx-c"))]
    assert [found[1] for found in shared(*facts)] == ["wx-a wx-b", "wx-a wx-c", "wx-b wx-c"]


@pytest.fixture
def world(settings: Settings) -> Iterator[World]:
    with World(settings) as world:
        values = [
            *(assigned(at(1), pack_id, app=A) for pack_id in ("stays", "moves", "alone")),
            cancelled(at(2), "moves", app=A),
            assigned(at(1), "here-too", app=A),
            assigned(at(4), "here-too", app=B),
        ]
        world.happens((A.encode() if b'"wx-a"' in value else B.encode(), value) for value in values)
        yield world


def test_the_audit_names_shared_packs_in_whatever_partitions_their_apps_are(
    world: World, settings: Settings
) -> None:
    world.all_is_right()
    report = audit(settings)
    expected = SharedPack("here-too", (A, B), at(4), at(91))
    assert (report.clean, report.shared_packs) == (True, [expected])
    elsewhere = [assigned(at(5), pack_id, app="wx-far") for pack_id in ("stays", "moves")]
    _store(settings, 3, meter(PartitionState(3), records(elsewhere), NO_TRIAL).entries)
    assert audit(settings).shared_packs == [
        expected,
        SharedPack("stays", (A, "wx-far"), at(5), at(91)),
    ]


def _store(settings: Settings, partition: int, entries: list[Entry]) -> None:
    table = LedgerTable(settings.clickhouse)
    for value in encode_records(partition, entries):
        table.insert(partition, concatenate([decode(value, partition)]), table.position(partition))
    table.close()
