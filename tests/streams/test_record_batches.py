"""What the extension relies on in Faust and aiokafka, whose versions are pinned for that reason."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.consumer.fetcher import FetchResult, PartitionRecords
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import ConsumerRecord, TopicPartition
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from yarl import URL

from metering import topics as names
from metering.partition import Record
from streams import record_batches
from streams.app import create_app
from streams.record_batches import FETCH_WAIT_MS, Consumer, ConsumerThread, RecordBatch
from streams.settings import WorkerSettings
from tests.conftest import RunningKafka
from tests.waiting import until

EVENTS = TopicPartition(names.EVENTS, 2)
OTHERS = TopicPartition("another-topic", 2)
PUBLISHED = [(b"wx-a", b"one"), (b"wx-b", b"two"), (b"wx-a", b"three")]


def fetched(tp: TopicPartition, first_offset: int = 0) -> FetchResult:
    """A fetched batch of records, as the broker sends them and aiokafka's fetcher keeps it."""
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, 0, 1_000_000)
    for number, (key, value) in enumerate(PUBLISHED):
        builder.append(number, 1_000 + number, key, value, [])
    unpacked = PartitionRecords(
        tp,
        MemoryRecords(bytes(builder.build())),
        [],
        first_offset,
        None,
        None,
        check_crcs=True,
        isolation_level=0,
    )
    assignment = SimpleNamespace(
        active=True,
        state_value=lambda _tp: SimpleNamespace(
            paused=False, position=unpacked.next_fetch_offset, consumed_to=lambda _offset: None
        ),
    )
    return FetchResult(tp, assignment=assignment, partition_records=unpacked, backoff=0)


class Fetcher:
    """The part of aiokafka's fetcher that Faust asks."""

    _closed = False

    def __init__(self, *results: tuple[TopicPartition, object]) -> None:
        self._records = dict(results)
        self._subscriptions = self

    def fetch_context(self) -> AbstractContextManager[None]:
        return nullcontext()

    async def fetched_records(
        self,
        _partitions: set[TP],
        timeout: float | None,  # noqa: ASYNC109 - the signature is aiokafka's
        max_records: int | None,
    ) -> Mapping[TopicPartition, list[Any]]:
        del timeout
        return {
            tp: result.getall(max_records)
            for tp, result in self._records.items()
            if isinstance(result, FetchResult)
        }


async def fetch(*results: tuple[TopicPartition, object], most: int | None = None) -> Mapping[Any, list[Any]]:
    """What a consumer thread gives of these results."""
    thread = object.__new__(ConsumerThread)
    thread.consumer = cast("Any", SimpleNamespace(flow_active=True))
    consumer: Any = SimpleNamespace(_fetcher=Fetcher(*results), _closed=False)
    return await thread._fetch_records(consumer, set(), 0.0, most)


def consumer() -> Consumer:
    """A consumer that was not connected to anything."""
    consumer = object.__new__(Consumer)
    consumer._acked = defaultdict(list)
    consumer._acked_index = defaultdict(set)
    return consumer


async def test_fetched_events_are_unpacked_to_records_of_ours() -> None:
    records = await fetch((EVENTS, fetched(EVENTS)))
    assert records[EVENTS] == [
        Record(number, 1_000 + number, key, value) for number, (key, value) in enumerate(PUBLISHED)
    ]


async def test_a_fetch_that_is_taken_in_pieces_and_begins_in_the_middle_leaves_nothing_out() -> None:
    result = fetched(EVENTS, first_offset=1)
    first = await fetch((EVENTS, result), most=1)
    rest = await fetch((EVENTS, result))
    assert [record.offset for record in [*first[EVENTS], *rest[EVENTS]]] == [1, 2]


async def test_other_topics_and_errors_are_left_as_they_are() -> None:
    records = await fetch((OTHERS, fetched(OTHERS)), (EVENTS, OSError("not a result")))
    assert all(isinstance(record, ConsumerRecord) for record in records[OTHERS])
    assert EVENTS not in records


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_poll_of_a_partition_is_one_message_at_the_last_offset(
    at_once: bool,  # noqa: FBT001 - pytest names it
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def polled(*_: object) -> Mapping[TP, list[Any]]:
        if at_once:
            return await fetch((EVENTS, fetched(EVENTS)), (OTHERS, fetched(OTHERS)))
        return {tp: fetched(tp).getall() for tp in (EVENTS, OTHERS)}

    monkeypatch.setattr(driver.Consumer, "_getmany", polled)
    messages = await consumer()._getmany(set(), 0.0)
    (message,) = messages[cast("TP", EVENTS)]
    assert isinstance(message.value, RecordBatch)
    assert [record.offset for record in message.value] == [0, 1, 2]
    assert (message.topic, message.partition, message.offset, message.timestamp) == (*EVENTS, 2, 1_002)
    assert len(messages[cast("TP", OTHERS)]) == len(PUBLISHED)


async def test_a_poll_that_gave_nothing_gives_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    async def polled(*_: object) -> Mapping[TP, list[Any]]:
        return {cast("TP", EVENTS): []}

    monkeypatch.setattr(driver.Consumer, "_getmany", polled)
    assert await consumer()._getmany(set(), 0.0) == {EVENTS: []}


async def test_no_more_is_fetched_while_too_much_is_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    async def polled(*_: object) -> Mapping[TP, list[Any]]:
        return {cast("TP", EVENTS): fetched(EVENTS).getall()}

    monkeypatch.setattr(driver.Consumer, "_getmany", polled)
    monkeypatch.setattr(record_batches, "RECORDS_MAX", len(PUBLISHED) - 1)
    polling = consumer()
    messages = dict(await polling._getmany(set(), 60.0))
    again = asyncio.create_task(polling._getmany(set(), 60.0))
    done, _ = await asyncio.wait([again], timeout=0.2)
    assert not done
    messages.clear()
    assert (await asyncio.wait_for(again, 10.0))[cast("TP", EVENTS)]


async def test_what_stays_in_memory_does_not_stop_fetching_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    async def polled(*_: object) -> Mapping[TP, list[Any]]:
        return {cast("TP", EVENTS): fetched(EVENTS).getall()}

    monkeypatch.setattr(driver.Consumer, "_getmany", polled)
    monkeypatch.setattr(record_batches, "RECORDS_MAX", len(PUBLISHED) - 1)
    polling = consumer()
    kept = [await polling._getmany(set(), 0.01) for _ in range(3)]
    assert all(messages[cast("TP", EVENTS)] for messages in kept)


async def test_the_thread_that_fetches_seeks_so_that_nothing_goes_while_it_is_unpacked(
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


async def test_the_group_takes_a_commit_of_its_member_but_not_of_one_of_the_past_or_of_anothers_partition(
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
        await until(lambda: bool(member.assignment()), 30)
        thread = object.__new__(ConsumerThread)
        thread._consumer = member
        assert await thread.commit_if_known({tp: 5})
        assert await member.committed(TopicPartition(*tp)) == 5
        assert not await thread.commit_if_known({TP(names.EVENTS, 99): 5})
        member._coordinator.generation -= 1
        assert not await thread.commit_if_known({tp: 6})
        assert await member.committed(TopicPartition(*tp)) == 5


async def test_a_broker_may_not_wait_long_with_an_empty_answer_whatever_faust_asks_for(
    topics: RunningKafka,
) -> None:
    thread = object.__new__(ConsumerThread)
    thread.app = create_app(WorkerSettings(kafka=topics.bootstrap))
    thread.consumer = cast("Any", SimpleNamespace(in_transaction=False))
    transport = SimpleNamespace(url=[URL(f"kafka://{topics.bootstrap}")], default_port=9092)
    async with thread._create_worker_consumer(cast("driver.Transport", transport)) as fetching:
        assert fetching._fetcher._fetch_max_wait_ms == FETCH_WAIT_MS


async def test_the_newest_acked_batch_is_committed_once_and_what_lies_between_is_no_gap() -> None:
    tp, books = cast("TP", EVENTS), consumer()
    assert books._new_offset(tp) is None
    books._acked[tp] += [99, 250]
    await books._add_gap(tp, 100, 250)
    assert books._new_offset(tp) == 251
    assert books._new_offset(tp) is None
