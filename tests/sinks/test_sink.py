"""The sink's loop with a log and a table in memory that fail, lose entries or are replaced."""

import pytest

from metering.health_checks import HealthLimits
from metering.ledger import encode_records
from metering.log_identity import Mark, fingerprint
from sinks.batches import Limits
from sinks.errors import SinkError
from sinks.kafka_consumer import LibraryError
from sinks.ledger_source import ResumePoint
from sinks.owned_partition import SEEKS_BACK_MAX
from sinks.position import BEFORE_ALL, Position
from tests.sinks.parts import lines
from tests.sinks.world import ASSIGNED, ENTRIES, IDS, REVOKED, World, records


def test_what_is_stored_is_committed_with_its_position() -> None:
    world = World(records())
    world.turns(2)
    assert world.shelf.stored == IDS
    mark = Mark("first", 3, fingerprint(None, records()[3], None), 0)
    assert world.log.committed == ResumePoint(4, Position(ENTRIES[-1].offset, ENTRIES[-1].line), mark)
    assert world.metric("rows_inserted_total") == 40


def test_what_is_held_is_not_committed_before_it_is_stored() -> None:
    slow = Limits(rows=1_000, bytes=10**9, total_bytes=10**9, age_s=3_600.0)
    world = World(records(), slow)
    world.log.events = [ASSIGNED]
    world.sink.turn()
    assert (world.shelf.stored, world.log.committed) == ([], None)
    world.turns(1)
    assert world.shelf.stored == IDS
    assert world.log.committed is not None


@pytest.mark.parametrize("failure", ["away", "refused", "reply lost"])
def test_a_failure_is_tried_again_and_nothing_is_stored_twice(failure: str) -> None:
    world = World(records())
    world.sink.turn()
    world.log.records |= records(lines(5, seed=2, first=1_000), first=4)
    world.shelf.failures = [failure, failure]
    world.turns(2)
    assert world.shelf.stored == IDS + [entry.event_id for entry in lines(5, seed=2, first=1_000)]
    assert (world.metric("insert_errors_total") or 0) >= 1
    assert world.metric("clickhouse_up") == 1
    assert world.log.idled > 0


def test_a_partition_that_is_revoked_is_dropped_and_left_to_its_next_owner() -> None:
    slow = Limits(rows=1_000, bytes=10**9, total_bytes=10**9, age_s=3_600.0)
    world = World(records(), slow)
    world.sink.turn()
    world.log.events = [REVOKED]
    world.log.deliver = [[]]
    world.turns(1)
    assert (world.shelf.stored, world.log.committed) == ([], None)


def test_records_that_the_consumer_skipped_are_read_again() -> None:
    world = World(records(), deliver=[[0], [2, 3]])
    world.turns(4)
    assert world.shelf.stored == IDS
    assert world.metric("stopped") is None


def test_a_gap_that_the_broker_itself_has_is_passed_over_and_committed() -> None:
    log = records()
    log[5] = log.pop(3)
    world = World(log, end=9)
    world.turns(3)
    assert world.shelf.stored == IDS
    assert world.log.committed is not None
    assert world.log.committed.offset == 9
    assert world.metric("seeks_back_total") == 0


def test_records_that_are_left_out_are_never_taken_for_a_gap_and_end_the_sink_in_the_end() -> None:
    world = World(records(), deliver=[[0, 1], *[[3]] * 100])
    with pytest.raises(SinkError, match="jumped from record 2 to 3, 11 times in a row"):
        world.turns(100)
    assert world.shelf.stored == IDS[:20]
    assert world.log.committed is not None
    assert world.log.committed.offset == 2
    assert world.metric("seeks_back_total") == SEEKS_BACK_MAX + 1


def test_records_that_are_skipped_at_the_end_of_the_log_are_noticed_without_a_later_one() -> None:
    world = World(records())
    world.turns(2)
    world.log.records |= records(lines(5, seed=2, first=1_000), first=4)
    world.log.at = 5
    world.turns(1_200)
    assert len(world.shelf.stored) == 45
    assert world.metric("seeks_back_total") == 1


def test_a_stopped_partition_stays_stopped_and_is_reported_after_clickhouse_lost_entries() -> None:
    slow = Limits(rows=1_000, bytes=10**9, total_bytes=10**9, age_s=0.3)
    world = World(records(), slow)
    world.turns(60)
    assert world.sink._stopped == []
    (good,) = encode_records(0, lines(5, seed=2, first=1_000))
    world.log.records |= {4: good, 5: b"poison"}
    world.sink.turn()
    assert world.log.stopped
    world.shelf.lose()
    world.turns(300)
    assert world.log.stopped
    assert world.metric_of("stopped") == 1
    assert world.sink._stopped == [0]
    assert world.shelf.stored == IDS + [entry.event_id for entry in lines(5, seed=2, first=1_000)]


def test_records_deleted_before_they_were_stored_stop_the_partition_with_a_remedy_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World(records())
    world.log.committed = ResumePoint(1, BEFORE_ALL)
    world.shelf.at = Position(ENTRIES[9].offset, ENTRIES[9].line)
    world.log.beginning = 3
    world.turns(4)
    assert world.shelf.stored == []
    assert world.log.stopped
    assert "records 1 to 2 were deleted before they were stored; stop worker and sink, and" in caplog.text
    assert world.metric_of("stopped") == 1


def test_another_log_is_refused_when_it_is_delivered() -> None:
    world = World(records())
    world.turns(2)
    world.log.records = records(lines(40, seed=2, first=1_000), cut=5)
    world.log.at = 0
    world.turns(2)
    assert world.shelf.stored == IDS
    assert world.log.stopped


def test_another_log_is_refused_though_its_later_records_would_fit() -> None:
    """Later records would follow the newest stored entry; the first ones, read twice, differ."""
    world = World(records())
    world.turns(2)
    single = [entry for entry in lines(80, seed=2, first=1_000) if entry.line == 0]
    world.log.records = records(single, cut=5)
    world.log.at = 0
    world.turns(2)
    assert world.shelf.stored == IDS
    assert world.log.stopped


def test_another_log_is_refused_by_a_database_that_lost_its_last_entries() -> None:
    world = World(records([entry for entry in lines(80, seed=2, first=1_000) if entry.line == 0]))
    world.log.committed = ResumePoint(4, Position(ENTRIES[-1].offset, ENTRIES[-1].line))
    world.shelf.at = Position(ENTRIES[9].offset, ENTRIES[9].line)
    world.turns(2)
    assert world.shelf.stored == []
    assert world.log.stopped


def test_a_partition_without_leader_is_reported_and_begins_as_soon_as_it_has_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World(records(), errors=[LibraryError("nobody leads it")] * 3)
    world.turns(200)
    assert world.shelf.stored == IDS
    assert world.metric("kafka_errors_total") == 3
    assert "Partition 0 of phone-ledger cannot begin (LibraryError: nobody leads it); trying" in caplog.text


def test_a_partition_that_loses_its_leader_is_reported_and_holds_up_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sinks.owned_partitions.WATCH_S", 0.05)
    at_once = HealthLimits(stood_s=-1.0)
    world = World(records())
    world.turns(20)
    assert world.shelf.stored == IDS
    world.log.without_leader = {0}
    world.turns(20)
    sentence = "Partition 0 of phone-ledger could not be read for 0 s: no broker leads it."
    assert [one.sentence for one in world.metrics.problems(at_once)] == [sentence]
    world.shelf.lose()
    world.turns(20)
    # The loss is noticed all the same: the partition waits to begin.
    assert world.metric("assigned_partitions") == 0
    world.log.without_leader = set()
    world.turns(200)
    assert world.shelf.stored == IDS
    assert not list(world.metrics.problems(at_once))


def test_an_error_of_the_library_that_is_none_of_its_own_kind_is_survived(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sinks.sink.backoff_s", lambda _failures: 0.0)
    world = World(records())
    world.turns(2)
    world.log.errors = [LibraryError("kafka-python failed with KeyError")]
    world.log.records |= records(lines(5, seed=2, first=1_000), first=4)
    world.turns(1_200)
    assert len(world.shelf.stored) == 45
    assert "Kafka: LibraryError: kafka-python failed with KeyError; trying again in" in caplog.text


def test_a_bug_of_ours_ends_the_sink() -> None:
    world = World(records(), errors=[AssertionError("a bug")])
    with pytest.raises(AssertionError, match="a bug"):
        world.turns(2)


OTHERS = lines(60, seed=3)
"""Lines of another log, of which some have the places of those that are stored."""


def test_a_log_that_lost_its_end_is_read_again_and_goes_on_where_it_has_what_is_stored(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World(records())
    world.turns(2)
    del world.log.records[3]
    world.turns(1_200)
    assert "it ends at offset 3, but was read up to 4: its end was lost" in caplog.text
    assert world.metric("rewinds_total") == 1
    # As after `replay --confirm`: everything is published again, and more follows.
    world.log.records |= records(first=3) | records(lines(5, seed=2, first=1_000), first=7)
    world.turns(10)
    assert world.shelf.stored == IDS + [entry.event_id for entry in lines(5, seed=2, first=1_000)]
    assert not world.log.stopped


def test_a_log_that_lost_its_end_and_goes_on_without_it_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    world = World(records())
    world.turns(2)
    del world.log.records[3]
    world.turns(1_200)
    world.log.records |= records(lines(5, seed=2, first=1_000), first=3)
    world.turns(10)
    assert world.shelf.stored == IDS
    assert world.log.stopped
    assert "the topic was recreated, or lost its head or its end; stop worker and sink, and" in caplog.text


@pytest.mark.parametrize("id_", ["first", "second"], ids=["its end lost", "topic made anew"])
def test_a_log_that_was_filled_again_beyond_the_old_place_is_recognised_at_the_next_start_and_refused(
    caplog: pytest.LogCaptureFixture, id_: str
) -> None:
    world = World(records(), id=id_)
    (mark,) = (Mark("first", 3, fingerprint(None, b"what it had", None), 0),)
    world.log.committed = ResumePoint(4, Position(ENTRIES[-1].offset, ENTRIES[-1].line), mark)
    world.shelf.at = Position(ENTRIES[-1].offset, ENTRIES[-1].line)
    world.shelf.lines[world.shelf.at] = ("charge", 1, 2, "wx1", 1, 30_000)
    world.log.records = records(OTHERS)
    world.turns(4)
    assert "is not the log that was read before" in caplog.text
    assert f"it has another entry {world.shelf.at}" in caplog.text or "were expected again" in caplog.text
    assert world.shelf.stored == []
    assert world.metric_of("stopped") == 1


def test_a_topic_recreated_under_a_running_sink_goes_on_where_it_has_the_same_entries() -> None:
    world = World(records())
    world.turns(2)
    world.log.id = "second"
    world.log.records = records(cut=5) | records(lines(5, seed=2, first=1_000), first=8)
    world.turns(1_200)
    assert world.shelf.stored == IDS + [entry.event_id for entry in lines(5, seed=2, first=1_000)]
    assert world.metric("rewinds_total") == 1
    assert world.log.committed is not None
    assert world.log.committed.mark.topic_id == "second"


def test_a_topic_recreated_while_clickhouse_loses_its_entries_is_stored_again() -> None:
    world = World(records())
    world.turns(2)
    world.log.id = "second"
    world.shelf.lose()
    world.turns(1_200)
    assert world.shelf.stored == IDS
    assert world.metric_of("stopped") == 0


def test_a_log_whose_beginning_does_not_join_what_is_stored_is_refused() -> None:
    world = World(records(lines(40, seed=2, first=1_000)))
    world.shelf.at = Position(ENTRIES[-1].offset, ENTRIES[-1].line)
    world.turns(2)
    assert world.shelf.stored == []
    assert world.log.stopped


def test_a_database_that_lost_lines_is_filled_from_the_beginning() -> None:
    world = World(records())
    world.turns(2)
    world.shelf.lose()
    world.log.records |= records(lines(5, seed=2, first=1_000), first=4)
    world.turns(4)
    assert world.shelf.stored == IDS + [entry.event_id for entry in lines(5, seed=2, first=1_000)]
    assert world.metric("rewinds_total") == 1
    assert world.shelf.tokens_forgotten == 1


def test_a_database_that_lost_its_last_lines_is_filled_from_there() -> None:
    world = World(records())
    world.log.committed = ResumePoint(4, Position(ENTRIES[-1].offset, ENTRIES[-1].line))
    world.shelf.at = Position(ENTRIES[24].offset, ENTRIES[24].line)
    world.turns(2)
    assert world.shelf.stored == IDS[25:]
    assert world.metric("rewinds_total") == 1
    assert not world.log.stopped


def test_an_insert_that_the_engine_took_for_another_is_not_taken_for_done() -> None:
    world = World(records())
    world.shelf.swallows = True
    world.turns(2)
    assert world.shelf.stored == IDS
    assert world.shelf.tokens_forgotten == 1
    assert world.metric("insert_errors_total") == 1
    assert world.metric("rows_inserted_total") == 40


def test_what_a_predecessor_left_under_way_is_waited_for_before_a_partition_begins() -> None:
    world = World(records())
    world.shelf.under_way = ENTRIES[:15]
    world.turns(2)
    world.shelf.settle()
    assert world.shelf.stored == IDS


def test_a_database_that_lost_lines_is_filled_again_though_nothing_else_happens() -> None:
    world = World(records())
    world.turns(2)
    world.shelf.lose()
    world.turns(1_200)
    assert world.shelf.stored == IDS
    assert world.metric("rewinds_total") == 1


def test_an_empty_database_is_filled_whatever_was_committed() -> None:
    world = World(records())
    world.log.committed = ResumePoint(3, BEFORE_ALL)
    world.turns(2)
    assert world.shelf.stored == IDS


def test_a_sink_that_the_group_has_forgotten_stores_nothing() -> None:
    world = World(records())
    world.log.member = False
    world.turns(3)
    assert (world.shelf.stored, world.log.committed) == ([], None)
    world.log.member = True
    world.turns(2)
    assert world.shelf.stored == IDS


def test_lines_that_another_sink_stored_meanwhile_are_dropped() -> None:
    slow = Limits(rows=1_000, bytes=10**9, total_bytes=10**9, age_s=3_600.0)
    world = World(records(), slow)
    world.sink.turn()
    world.shelf.at = Position(ENTRIES[24].offset, ENTRIES[24].line)
    world.turns(1)
    assert world.shelf.stored == IDS[25:]
    assert world.metric("duplicate_rows_total") == 25


def test_stopping_does_not_wait_for_an_engine_that_is_away() -> None:
    world = World(records())
    world.sink.turn()
    world.log.records |= records(lines(5, seed=2, first=1_000), first=4)
    world.shelf.failures = ["away"] * 1_000
    world.turns(1)
    assert world.shelf.stored == IDS
