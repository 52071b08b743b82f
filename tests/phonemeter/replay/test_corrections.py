"""The exact places of corrected events, without a broker."""

import io
from collections.abc import Sequence

import pytest

from metering.records import Record
from metering.times import MINUTE_MS, SECOND_MS
from phonemeter.errors import UserError
from phonemeter.replay.corrections import CorrectedEvent, CorrectedPartition, by_partition, read_corrections
from producers.jsonl import read_lines
from tests.streams.building import APPS, START_MS, purchase, tap, tick


def correction(line: int, minute: int, appid: str = APPS[0]) -> CorrectedEvent:
    return CorrectedEvent(line, appid, f"new-{line}", START_MS + minute * MINUTE_MS, b"correction %d" % line)


def values(corrected: CorrectedPartition, log: Sequence[Record]) -> list[bytes]:
    fed = [record for one in log for record in corrected.feed([one])] + corrected.end(START_MS)
    assert [record.offset for record in fed] == list(range(len(fed)))
    return [record.value or b"" for record in fed]


def test_a_new_event_stands_before_the_first_later_one_of_its_app() -> None:
    log = [tap(0), tap(1, APPS[1]), tap(2), tap(3)]
    # Minute 1.5: the tap at minute 2 is later; that of another app at minute 1 would not matter.
    one = CorrectedEvent(1, APPS[0], "new", START_MS + 90 * SECOND_MS, b"new")
    corrected = CorrectedPartition([one], {})
    assert values(corrected, log) == [log[0].value, log[1].value, b"new", log[2].value, log[3].value]
    assert (corrected.inserted, corrected.lines) == (1, {2: 1})


def test_other_apps_do_not_matter_but_clock_ticks_do() -> None:
    log = [tap(0), tap(9, APPS[1]), tick(2, START_MS + 8 * MINUTE_MS), tap(10)]
    assert values(CorrectedPartition([correction(1, 5)], {}), log) == [
        log[0].value,
        log[1].value,
        b"correction 1",
        log[2].value,
        log[3].value,
    ]


def test_what_is_later_than_all_stands_at_the_end_in_the_order_of_time() -> None:
    log = [tap(0)]
    late = [correction(1, 30), correction(2, 20, APPS[1]), correction(3, 30)]
    assert values(CorrectedPartition(late, {}), log) == [
        log[0].value,
        b"correction 2",
        b"correction 1",
        b"correction 3",
    ]


def test_an_event_of_the_same_millisecond_stays_before_the_correction() -> None:
    log = [tap(0), tap(1)]
    assert values(CorrectedPartition([correction(1, 0)], {}), log) == [
        log[0].value,
        b"correction 1",
        log[1].value,
    ]


def test_a_record_that_is_no_event_is_passed_by() -> None:
    log = [tap(0), Record(1, START_MS, APPS[0].encode(), b"{"), tap(6)]
    assert values(CorrectedPartition([correction(1, 3)], {}), log) == [
        log[0].value,
        b"{",
        b"correction 1",
        log[2].value,
    ]


def test_a_replacement_keeps_its_place_and_its_kafka_time() -> None:
    log = [tap(0), purchase(1), tap(2)]
    one = correction(1, 500)
    corrected = CorrectedPartition([one], {1: one})
    fed = corrected.feed(log)
    assert [record.value for record in fed] == [log[0].value, one.value, log[2].value]
    assert fed[1].recorded_at_ms == log[1].recorded_at_ms
    assert corrected.end(0) == []
    assert (corrected.inserted, corrected.lines) == (0, {1: 1})


def test_corrections_are_shared_out_like_their_events() -> None:
    placed = by_partition([correction(1, 0), correction(2, 0), correction(3, 0, APPS[1])], 4)
    assert sorted(one.line for many in placed.values() for one in many) == [1, 2, 3]
    assert [1, 2] in [[one.line for one in many if one.appid == APPS[0]] for many in placed.values()]


def test_a_file_of_events_is_read() -> None:
    text = b"\n".join([purchase(1).value or b"", b"", tap(2).value or b""])
    read = read_corrections(read_lines(io.BytesIO(text).read1), 2 * START_MS)
    assert [(one.line, one.event_id) for one in read] == [(1, "purchase-1"), (3, "tap-2")]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"{}", "Line 1 is no event: The event has no `type`"),
        (b"x" * 70_000, "Line 1 is too long"),
        (tick(0, START_MS).value, "Line 1 is a clock tick"),
        (b"\n".join([tap(1).value or b""] * 2), "Lines 1 and 2 are the same event 'tap-1'"),
    ],
)
def test_what_could_not_stand_in_the_log_is_a_sentence(text: bytes, told: str) -> None:
    with pytest.raises(UserError, match=told):
        read_corrections(read_lines(io.BytesIO(text).read1), 2 * START_MS)
