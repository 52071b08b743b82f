"""The worker's view of the log, on a real broker."""

import asyncio
from collections.abc import Mapping
from concurrent.futures import Future

import pytest
from aiokafka.errors import KafkaError, RequestTimedOutError
from confluent_kafka import Producer
from kafka import KafkaProducer, TopicPartition
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay

from kafka_access.access import KafkaAccess
from metering import topics as names
from metering.log_identity import NO_OFFSET, FoundRecord, PartitionView, fingerprint
from phonemeter.kafka_admin import admin
from phonemeter.stack.kafka.topics import ensure_topics
from phonemeter.topic_reader import offset_spans
from streams import log_view
from streams.log_view import LogViewer
from tests.conftest import PARTITIONS, RunningKafka
from tests.ports import free_port
from tests.streams.building import tap
from tests.waiting import WITHIN_S, blocking_until


def publish(kafka: str, first: int, last: int) -> dict[int, int]:
    """Publish taps to partition 0; returns the fingerprints of their records."""
    producer = KafkaProducer(bootstrap_servers=kafka, acks="all")
    prints = {}
    for number in range(first, last):
        record = tap(number)
        sent = producer.send(names.EVENTS, key=record.key, value=record.value, partition=0).get(WITHIN_S)
        prints[sent.offset] = fingerprint(record.key, record.value, sent.timestamp)
    producer.close()
    return prints


async def view_of(viewer: LogViewer, offset: int) -> PartitionView:
    """The view of partition 0."""
    return (await views_of(viewer, {0: offset}))[0]


async def views_of(viewer: LogViewer, offsets: Mapping[int, int]) -> dict[int, PartitionView]:
    """The views of partitions, once each has a leader in the new topic."""
    async for attempt in AsyncRetrying(
        retry=retry_if_exception_type(KafkaError), stop=stop_after_delay(WITHIN_S)
    ):
        with attempt:
            views = await viewer.look(offsets)
    return views


async def test_a_view_has_ends_topic_id_and_record_each_time(topics: RunningKafka) -> None:
    prints = publish(topics.bootstrap, 0, 5)
    viewer = LogViewer(KafkaAccess(topics.bootstrap))
    for offset in (4, 2):
        view = await view_of(viewer, offset)
        assert (view.begin, view.end, view.found) == (0, 5, FoundRecord(prints[offset], 0))
        assert view.topic_id
    empty, short = (await views_of(viewer, {1: NO_OFFSET, 2: 7})).values()
    assert empty == short == PartitionView(view.topic_id, 0, 0)


async def test_many_looks_at_once_are_all_answered(topics: RunningKafka) -> None:
    viewer = LogViewer(KafkaAccess(topics.bootstrap))
    view = await view_of(viewer, NO_OFFSET)
    views = await asyncio.gather(*(viewer.look({0: NO_OFFSET}) for _ in range(50)))
    assert views == [{0: view}] * 50


async def test_a_topic_that_was_created_again_has_another_id(topics: RunningKafka) -> None:
    viewer = LogViewer(KafkaAccess(topics.bootstrap))
    before = (await view_of(viewer, NO_OFFSET)).topic_id
    with admin(KafkaAccess(topics.bootstrap)) as client:
        client.delete_topics([names.EVENTS])
        blocking_until(lambda: names.EVENTS not in client.list_topics())
    ensure_topics(KafkaAccess(topics.bootstrap), PARTITIONS)
    assert (await view_of(viewer, NO_OFFSET)).topic_id not in {"", before}


async def test_a_deleted_record_is_not_asked_for(topics: RunningKafka) -> None:
    publish(topics.bootstrap, 0, 5)
    with admin(KafkaAccess(topics.bootstrap)) as client:
        client.delete_records({TopicPartition(names.EVENTS, 0): 3})
    view = await view_of(LogViewer(KafkaAccess(topics.bootstrap)), 1)
    assert (view.begin, view.end, view.found) == (3, 5, None)


async def test_a_control_record_is_no_record(topics: RunningKafka) -> None:
    client = Producer({"bootstrap.servers": topics.bootstrap, "transactional.id": "framework"})
    client.init_transactions(WITHIN_S)
    client.begin_transaction()
    client.produce(names.EVENTS, b"{}", partition=0)
    client.commit_transaction(WITHIN_S)
    # The coordinator answers before the control record is written.
    blocking_until(lambda: offset_spans(KafkaAccess(topics.bootstrap), names.EVENTS)[0].end == 2)
    view = await view_of(LogViewer(KafkaAccess(topics.bootstrap)), 1)
    assert (view.end, view.found) == (2, None)


async def test_a_broker_that_is_away_is_an_error_that_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_view, "DESCRIBED_S_MAX", 0.3)
    with pytest.raises(KafkaError) as raised:
        await LogViewer(KafkaAccess(f"127.0.0.1:{free_port()}")).look({0: 1})
    assert raised.value.retriable


async def test_brokers_that_do_not_describe_the_topic_in_time_are_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a busy machine the response can come after the client's time-out."""
    clients: list[object] = []

    def connect(*_asked: object) -> _Silent:
        clients.append(made := _Silent())
        return made

    monkeypatch.setattr("streams.log_view.DESCRIBED_S_MAX", 0.01)
    monkeypatch.setattr("streams.log_view.admin_client", connect)
    viewer = LogViewer(KafkaAccess("127.0.0.1:1"))
    for number in (1, 2):
        with pytest.raises(RequestTimedOutError, match="do not describe phone-events") as raised:
            await viewer.look({0: 0})
        assert raised.value.retriable
        # librdkafka's client would go on asking the broker that it asked before, even if that is dead.
        assert len(clients) == number


class _Silent:
    """An admin client whose brokers do not respond."""

    def describe_topics(self, *_asked: object, **_options: object) -> dict[str, Future[object]]:
        return {"phone-events": Future()}
