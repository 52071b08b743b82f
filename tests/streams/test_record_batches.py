"""The behaviour of Faust and aiokafka that the extension relies on; their versions are pinned for it."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.consumer.fetcher import READ_COMMITTED
from aiokafka.structs import TopicPartition
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from yarl import URL

from metering import topics as names
from metering.records import Record
from streams import record_batches
from streams.app import create_app
from streams.fetch_buffer import RecordBatch
from streams.record_batches import FETCH_WAIT_MS, Consumer, ConsumerThread, RecordBatchApp
from streams.settings import WorkerSettings
from tests.conftest import RunningKafka
from tests.waiting import WITHIN_S, until

EVENTS = TopicPartition(names.EVENTS, 2)
OTHERS = TopicPartition("another-topic", 2)


def batches(tp: TopicPartition) -> list[RecordBatch]:
    """The consumer thread's result of a fetch of three records."""
    records = [Record(offset, 1_000 + offset, b"wx-a", b"one") for offset in range(3)]
    return [RecordBatch(records, 0, 4, 9)] if tp == EVENTS else []


def consumer() -> Consumer:
    """A consumer that was not connected to anything."""
    consumer = object.__new__(Consumer)
    consumer.app = RecordBatchApp("tests")
    consumer._acked = defaultdict(list)
    consumer._acked_index = defaultdict(set)
    return consumer


async def test_a_poll_of_a_partition_is_one_message_at_the_last_offset_of_the_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def polled(*_: object) -> Mapping[TP, list[Any]]:
        return {cast("TP", EVENTS): batches(EVENTS), cast("TP", OTHERS): ["left", "as", "it is"]}

    monkeypatch.setattr(driver.Consumer, "_getmany", polled)
    messages = await consumer()._getmany(set(), 0.0)
    (message,) = messages[cast("TP", EVENTS)]
    assert isinstance(message.value, RecordBatch)
    assert [record.offset for record in message.value] == [0, 1, 2]
    assert (message.topic, message.partition, message.offset, message.timestamp) == (*EVENTS, 3, 1_002)
    assert messages[cast("TP", OTHERS)] == ["left", "as", "it is"]


async def test_a_batch_without_a_record_is_a_message_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    async def polled(*_: object) -> Mapping[TP, list[Any]]:
        return {cast("TP", EVENTS): [RecordBatch([], 7, 9)]}

    monkeypatch.setattr(driver.Consumer, "_getmany", polled)
    (message,) = (await consumer()._getmany(set(), 0.0))[cast("TP", EVENTS)]
    assert (message.offset, message.value.begin, message.value.end) == (8, 7, 9)


async def test_an_empty_poll_gives_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    async def polled(*_: object) -> Mapping[TP, list[Any]]:
        return {cast("TP", EVENTS): []}

    monkeypatch.setattr(driver.Consumer, "_getmany", polled)
    assert await consumer()._getmany(set(), 0.0) == {EVENTS: []}


@pytest.mark.parametrize(("limit", "most"), [("RECORDS_MAX", 2), ("BYTES_MAX", 8)])
async def test_no_more_is_fetched_while_too_much_is_in_memory(
    limit: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def polled(*_: object) -> Mapping[TP, list[Any]]:
        return {cast("TP", EVENTS): batches(EVENTS)}

    monkeypatch.setattr(driver.Consumer, "_getmany", polled)
    monkeypatch.setattr(record_batches, limit, most)
    polling = consumer()
    messages = dict(await polling._getmany(set(), 60.0))
    for _ in range(3):
        assert await polling._getmany(set(), 0.01) == {}
    again = asyncio.create_task(polling._getmany(set(), 60.0))
    done, _ = await asyncio.wait([again], timeout=0.2)
    assert not done
    messages.clear()
    assert (await asyncio.wait_for(again, WITHIN_S))[cast("TP", EVENTS)]


async def test_references_of_the_fetching_thread_do_not_keep_a_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = []

    async def polled(*_: object) -> Mapping[TP, list[Any]]:
        kept.append({cast("TP", EVENTS): batches(EVENTS)})
        return kept[-1]

    monkeypatch.setattr(driver.Consumer, "_getmany", polled)
    monkeypatch.setattr(record_batches, "BYTES_MAX", 8)
    polling = consumer()
    for _ in range(3):
        assert (await polling._getmany(set(), 60.0))[cast("TP", EVENTS)]
    assert len(kept) == 3


async def test_a_batch_in_a_reference_cycle_is_collected_when_room_is_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def polled(*_: object) -> Mapping[TP, list[Any]]:
        return {cast("TP", EVENTS): batches(EVENTS)}

    monkeypatch.setattr(driver.Consumer, "_getmany", polled)
    monkeypatch.setattr(record_batches, "BYTES_MAX", 8)
    polling = consumer()
    (message,) = (await polling._getmany(set(), 60.0))[cast("TP", EVENTS)]
    message.value.kept_by = message.value
    del message
    assert (await polling._getmany(set(), 0.01))[cast("TP", EVENTS)]


async def test_the_fetching_thread_seeks_so_that_no_response_is_dropped_while_it_is_unpacked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def handed_over(_thread: ConsumerThread, work: object, *arguments: object) -> None:
        asked.append((work, *arguments))

    asked: list[tuple[object, ...]] = []
    monkeypatch.setattr(ConsumerThread, "call_thread", handed_over)
    seeking, thread = consumer(), object.__new__(ConsumerThread)
    thread._consumer = cast("Any", SimpleNamespace(seek="seek"))
    seeking._thread = thread
    await seeking._seek(cast("TP", EVENTS), 7)
    assert asked == [("seek", EVENTS, 7)]


async def test_the_group_accepts_a_commit_of_its_member_but_not_of_a_zombie_or_for_anothers_partition(
    topics: RunningKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def handed_over(
        _thread: ConsumerThread, work: Callable[..., Awaitable[None]], *arguments: object
    ) -> None:
        await work(*arguments)

    monkeypatch.setattr(ConsumerThread, "call_thread", handed_over)
    tp = TP(names.EVENTS, 0)
    async with AIOKafkaConsumer(
        names.EVENTS, bootstrap_servers=topics.bootstrap, group_id="asking", enable_auto_commit=False
    ) as member:
        await until(lambda: bool(member.assignment()))
        thread = object.__new__(ConsumerThread)
        thread._consumer = member
        assert await thread.commit_if_known({tp: 5})
        assert await member.committed(TopicPartition(*tp)) == 5
        assert not await thread.commit_if_known({TP(names.EVENTS, 99): 5})
        member._coordinator.generation -= 1
        assert not await thread.commit_if_known({tp: 6})
        assert await member.committed(TopicPartition(*tp)) == 5


async def test_only_committed_records_are_read_and_an_empty_response_is_not_delayed_for_long(
    topics: RunningKafka,
) -> None:
    thread = object.__new__(ConsumerThread)
    thread.app = create_app(WorkerSettings(kafka=topics.bootstrap))
    thread.consumer = cast("Any", SimpleNamespace(in_transaction=False))
    transport = SimpleNamespace(url=[URL(f"kafka://{topics.bootstrap}")], default_port=9092)
    async with thread._create_worker_consumer(cast("driver.Transport", transport)) as fetching:
        assert fetching._fetcher._fetch_max_wait_ms == FETCH_WAIT_MS
        assert fetching._fetcher._isolation_level == READ_COMMITTED


async def test_the_newest_acked_batch_is_committed_once_and_what_lies_between_is_no_gap() -> None:
    tp, books = cast("TP", EVENTS), consumer()
    assert books._new_offset(tp) is None
    books._acked[tp] += [99, 250]
    await books._add_gap(tp, 100, 250)
    assert books._new_offset(tp) == 251
    assert books._new_offset(tp) is None
