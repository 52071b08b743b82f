"""Every reader of the log where others write transactions: committed, aborted and open ones. Real parts."""

from collections.abc import Iterator

import pytest

from metering.topics import EVENTS
from phonemeter.audit.auditor import audit
from phonemeter.audit.event_history import find_history
from phonemeter.errors import OperationError
from phonemeter.event_log import whole_log
from phonemeter.replay.dry_run import dry_run
from phonemeter.replay.rebuild import check_ledger
from phonemeter.settings import Settings
from phonemeter.topic_reader import OffsetSpan, open_reader
from tests.metering.building import APP, at, purchased, succeeded
from tests.phonemeter.audit.parts import World, audit_settings
from tests.transactions import TIMEOUT_S, begun, transaction

KEY = APP.encode()

settings = audit_settings


def tap(number: int) -> bytes:
    return succeeded(at(2, hours=number), event_id=f"tap-{number}")


@pytest.fixture
def world(settings: Settings) -> Iterator[World]:
    """A pack and three taps, of which one was committed; one that was aborted, and one that is open."""
    with World(settings) as world:
        world.happens([(KEY, purchased(at(1), "p1", calls=5, price=150_000)), (KEY, tap(0))])
        transaction(settings.kafka, EVENTS, [tap(1)], "commit", key=KEY)
        transaction(settings.kafka, EVENTS, [tap(2)], "abort", key=KEY)
        with open_reader(settings.kafka_access) as reader:
            world.records += [one for batch in reader.batches(EVENTS, 0, OffsetSpan(2, 6)) for one in batch]
        world.happens([(KEY, tap(3))])
        held = begun(settings.kafka, EVENTS, [tap(4)], key=KEY)
        world.all_is_right()
        yield world
        held.abort_transaction(TIMEOUT_S)


def test_the_audit_holds_the_ledger_against_what_was_committed(world: World, settings: Settings) -> None:
    report = audit(settings)
    assert report.clean
    assert [record.offset for record in world.records] == [0, 1, 2, 6]
    partition = report.partitions[0]
    assert (partition.records, partition.audited_to, partition.in_flight) == (4, 7, 0)
    assert (report.figures.events, report.figures.calls) == (4, 3)


def test_an_event_is_explained_whatever_was_aborted_before_it(world: World, settings: Settings) -> None:
    assert world.state.next_offset == 7
    (one,) = find_history(settings, "tap-3", None).occurrences
    assert (one.explanation.offset, one.explanation.decision) == (6, "charge")
    assert one.explanation.before is not None
    assert one.explanation.before.calls_left == 5
    for aborted in ("tap-2", "tap-4"):
        with pytest.raises(OperationError, match=f"No event {aborted} is in"):
            find_history(settings, aborted, None)


def test_a_replay_rates_what_was_committed(world: World, settings: Settings) -> None:
    with open_reader(settings.kafka_access) as reader:
        log = whole_log(reader)
        found = dry_run(reader, (settings.rules(), settings.rules()), [], now_ms=0)
    assert log[0] == OffsetSpan(0, 7)
    assert found.records == 4
    assert (found.apps[APP][0].trial, found.apps[APP][0].charged) == (2, 1)
    assert check_ledger(settings.kafka_access, settings.rules(), log) == len(world.entries)
