"""The batches that the worker takes from aiokafka's buffer."""

import struct
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.consumer.fetcher import READ_COMMITTED, FetchResult, PartitionRecords
from aiokafka.record.default_records import DefaultRecordBatch, _DefaultRecordBatchBuilderPy
from aiokafka.structs import ConsumerRecord, TopicPartition

from metering import topics
from metering.content_modes import UNREADABLE_HEADERS
from metering.records import Record
from streams.fetch_buffer import EventsDamagedError, FetchBuffer, RecordBatch
from streams.lenient_records import RawRecords
from tests.header_names import Latin1

EVENTS = TopicPartition(topics.EVENTS, 2)
OTHERS = TopicPartition("another-topic", 2)
ABORTED, COMMITTED = 7, 8
"""Producers of transactions."""

_ATTRIBUTES, _CONTROL = 21, 0x20
_CRC = 17


def stored_batch(
    first: int,
    *values: bytes,
    producer: int | None = None,
    control: bool = False,
    headers: Sequence[tuple[str, bytes | None]] = (),
    compression: int = 0,
) -> bytes:
    """A record batch as a broker stores it; of a transaction if a producer is given."""
    ids = (-1, -1, -1) if producer is None else (producer, 0, 0)
    builder = _DefaultRecordBatchBuilderPy(2, compression, producer is not None, *ids, 1_000_000)
    for number, value in enumerate(values):
        builder.append(number, 1_000 + first + number, struct.pack(">hh", 0, 0), value, list(headers))
    batch = bytearray(builder.build())
    struct.pack_into(">q", batch, 0, first)
    if control:
        (attributes,) = struct.unpack_from(">h", batch, _ATTRIBUTES)
        struct.pack_into(">h", batch, _ATTRIBUTES, attributes | _CONTROL)
    return bytes(batch)


class Log:
    """A partition with one fetched response, and aiokafka's state for it."""

    active, paused = True, False

    def __init__(
        self, *batches: bytes, position: int = 0, tp: TopicPartition = EVENTS, check_crcs: bool = False
    ) -> None:
        self.position = position
        self.batches, self.tp, self.check_crcs = batches, tp, check_crcs
        self.fetches = FetchBuffer()
        self.fetch()

    def fetch(self) -> None:
        """Fetch from the batch with the position on."""
        ahead = [batch for batch in self.batches if DefaultRecordBatch(batch).next_offset > self.position]
        answer = PartitionRecords(
            self.tp,
            RawRecords(b"".join(ahead)),
            [(ABORTED, 0)],
            self.position,
            None,
            None,
            check_crcs=self.check_crcs,
            isolation_level=READ_COMMITTED,
        )
        self.fetches[self.tp] = FetchResult(self.tp, assignment=self, partition_records=answer, backoff=0)
        self.result: FetchResult = self.fetches[self.tp]

    def state_value(self, _tp: TopicPartition) -> "Log":
        return self

    def consumed_to(self, offset: int) -> None:
        self.position = offset

    def poll(self) -> list[Any]:
        """The batches of one poll; a response that is used up gives no more."""
        self.fetches.begin_poll()
        given: list[Any] = self.result.getall(500) if self.result.has_more() else []
        return given


def contents(batches: Sequence[RecordBatch]) -> list[tuple[int, int, list[int]]]:
    return [(batch.begin, batch.end, [record.offset for record in batch]) for batch in batches]


def test_records_come_in_the_order_of_the_log_with_the_bytes_of_their_values() -> None:
    log = Log(stored_batch(0, b"one", b"three"))
    (batch,) = log.poll()
    key = struct.pack(">hh", 0, 0)
    assert batch == [Record(0, 1_000, key, b"one"), Record(1, 1_001, key, b"three")]
    assert (batch.begin, batch.end, batch.bytes) == (0, 2, 8)
    assert (log.position, log.poll()) == (2, [])


def test_headers_come_with_their_record() -> None:
    headers = [("ce_type", b"pack.refunded"), ("empty", None)]
    (batch,) = Log(stored_batch(0, b"one", headers=headers)).poll()
    assert [record.headers for record in batch] == [headers]


@pytest.mark.parametrize("compression", [0, 1])
def test_a_header_whose_name_is_not_utf8_makes_the_headers_of_its_record_unreadable_and_stops_nothing(
    compression: int,
) -> None:
    odd = [("fine", b"1"), (Latin1("straße"), b"2")]
    log = Log(
        stored_batch(0, b"one", headers=odd, producer=ABORTED, compression=compression),
        stored_batch(1, b"\0\0\0\0\0\0", producer=ABORTED, control=True),
        stored_batch(2, b"two"),
        stored_batch(3, b"three", b"four", headers=odd, compression=compression),
        stored_batch(5, b"five", headers=[("fine", b"1")]),
    )
    batches: list[RecordBatch] = []
    while log.position < 6:
        batches += log.poll()
        if log.position < 6:
            log.fetch()
    assert contents(batches) == [(0, 3, [2]), (3, 6, [3, 4, 5])]
    assert [batch.bytes for batch in batches] == [3, 13]
    headers = [record.headers for batch in batches for record in batch]
    assert headers == [(), UNREADABLE_HEADERS, UNREADABLE_HEADERS, [("fine", b"1")]]


def test_aborted_records_and_control_records_are_left_out_and_belong_to_the_batch() -> None:
    log = Log(
        stored_batch(0, b"a", b"b", producer=ABORTED),
        stored_batch(2, b"\0\0\0\0\0\0", producer=ABORTED, control=True),
        stored_batch(3, b"c", producer=COMMITTED),
        stored_batch(4, b"\0\0\0\0\0\0", producer=COMMITTED, control=True),
    )
    assert contents(log.poll()) == [(0, 5, [3])]
    assert log.position == 5


def test_a_response_without_a_record_for_us_is_a_batch_that_moves_the_position() -> None:
    log = Log(stored_batch(7, b"\0\0\0\0\0\0", producer=COMMITTED, control=True), position=7)
    assert contents(log.poll()) == [(7, 8, [])]
    assert log.position == 8


def test_records_that_compaction_removed_belong_to_the_batch() -> None:
    assert contents(Log(stored_batch(5, b"a"), stored_batch(9, b"b"), position=3).poll()) == [(3, 10, [5, 9])]


@pytest.mark.parametrize(("limit", "most"), [("POLL_RECORDS_MAX", 1), ("POLL_BYTES_MAX", 1)])
def test_a_response_that_exceeds_a_poll_is_delivered_completely_in_several_polls(
    limit: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"streams.fetch_buffer.{limit}", most)
    monkeypatch.setattr("streams.fetch_buffer._CHUNK", 1)
    log = Log(stored_batch(0, b"a", b"b", b"c"), position=1)
    pieces = [contents(log.poll()) for _ in range(3)]
    assert pieces == [[(1, 2, [1])], [(2, 3, [2])], []]
    assert not log.result.has_more()


def test_the_limits_of_a_poll_hold_for_all_partitions_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.fetch_buffer.POLL_BYTES_MAX", 1)
    log, other = Log(stored_batch(0, b"a")), Log(stored_batch(0, b"b"))
    log.fetches[TopicPartition(topics.EVENTS, 3)] = other.result
    assert contents(log.poll()) == [(0, 1, [0])]
    assert other.result.getall(500) == []
    log.fetches.begin_poll()
    assert contents(other.result.getall(500)) == [(0, 1, [0])]


def test_a_response_for_an_outdated_position_is_dropped() -> None:
    log = Log(stored_batch(0, b"a"))
    log.position = 5
    assert log.poll() == []
    assert (log.position, log.result.has_more()) == (5, False)


def test_a_damaged_record_is_reported_after_everything_before_it_was_delivered() -> None:
    whole, damaged = stored_batch(0, b"a"), bytearray(stored_batch(1, b"b"))
    damaged[_CRC] ^= 1
    log = Log(whole, bytes(damaged), check_crcs=True)
    assert contents(log.poll()) == [(0, 1, [0])]
    with pytest.raises(EventsDamagedError, match="phone-events partition 2 is damaged at offset 1: "):
        Log(bytes(damaged), position=1, check_crcs=True).poll()


def test_other_topics_and_errors_are_left_as_they_are() -> None:
    (record,) = Log(stored_batch(0, b"a"), tp=OTHERS).poll()
    assert isinstance(record, ConsumerRecord)
    fetches = FetchBuffer()
    fetches[EVENTS] = error = OSError("not an answer")
    assert fetches[EVENTS] is error


def test_a_response_that_is_no_longer_used_is_freed_at_once() -> None:
    log = Log(stored_batch(0, b"a"))
    given = log.result.getall
    log.fetches.clear()
    log.result = SimpleNamespace()
    assert given(500) == []
