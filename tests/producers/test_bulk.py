"""The bulk producer against the real broker: outcomes, order, partitions, bounds, brokers that are away."""

import asyncio
import os
import signal
import socket
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from random import Random

import pytest
from kafka.admin import ConfigResource, ConfigResourceType

from metering.topics import EVENTS
from phonemeter.stack.kafka.topics import admin
from producers import events
from producers.batch import Batch
from producers.bulk import BulkProducer
from producers.bulk_async import AsyncBulkProducer
from producers.emission import Emission, Refusal, Totals
from producers.errors import DeliveryError, UnavailableError
from producers.partitioning import partition_of
from producers.settings import ProducerSettings
from tests.conftest import PARTITIONS, RunningKafka
from tests.producers.test_client import paused, stored
from tests.waiting import blocking_until

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"


@pytest.fixture
def settings(topics: RunningKafka) -> ProducerSettings:
    return ProducerSettings(kafka=topics.bootstrap)


@pytest.fixture
def producer(settings: ProducerSettings) -> Iterator[BulkProducer]:
    with BulkProducer(settings) as producer:
        yield producer


def tap(code: object, appid: str = "wxapp1") -> bytes:
    return events.to_json(
        events.authorization_succeeded(
            appid=appid, code=str(code), capability="quick", time=datetime.now(UTC)
        )
    )


def appids(count: int) -> list[str]:
    chance = Random(7)  # noqa: S311 - no secret
    return ["".join(chance.choices(LETTERS, k=chance.randint(1, 64))) for _ in range(count)]


def test_a_key_gets_the_partition_that_every_other_client_gives_it(
    producer: BulkProducer, settings: ProducerSettings
) -> None:
    apps = appids(3_000)
    batch = producer.publish([tap(number, appid) for number, appid in enumerate(apps)])
    producer.finish()
    assert batch.delivered == len(apps)
    found = {key: partition for partition, records in stored(settings.kafka).items() for key, _ in records}
    assert found == {appid.encode(): partition_of(appid.encode(), PARTITIONS) for appid in apps}


def test_every_app_keeps_its_order_over_many_batches(
    producer: BulkProducer, settings: ProducerSettings
) -> None:
    published: dict[bytes, list[bytes]] = defaultdict(list)
    for first in range(0, 3_000, 100):
        values = [tap(number, f"wxapp{number % 7}") for number in range(first, first + 100)]
        for number, value in enumerate(values, first):
            published[b"wxapp%d" % (number % 7)].append(value)
        producer.publish(values)
    producer.finish()
    found: dict[bytes, list[bytes]] = defaultdict(list)
    for records in stored(settings.kafka).values():
        for key, value in records:
            found[key].append(value)
    assert found == published


def test_outcomes_are_counted_by_event_and_told_once_by_batch(
    producer: BulkProducer, settings: ProducerSettings
) -> None:
    settled: list[Batch] = []
    tick = events.to_json(events.clock_ticked(time=datetime.now(UTC)))
    mixed = producer.publish([tap(1), b"{", tick, tap(2), b'{"type":"phone.number.sold"}'], settled.append)
    refused = producer.publish([b"{"], settled.append)
    assert settled == [refused]
    producer.finish()
    assert settled == [refused, mixed]
    assert [(place, rejection.reason) for place, rejection in mixed.refusals] == [
        (1, "not_json"),
        (4, "unknown_type"),
    ]
    assert (mixed.accepted, mixed.delivered, mixed.failed) == (3, 3, 0)
    found = stored(settings.kafka)
    assert all(records.count((b"clock", tick)) == 1 for records in found.values())
    assert len(found) == PARTITIONS
    assert sum(len(records) for records in found.values()) == 2 + PARTITIONS


def test_a_full_buffer_is_said_at_once_and_can_be_waited_for(settings: ProducerSettings) -> None:
    small = settings.model_copy(update={"producer_buffer_bytes": 131_072})
    with BulkProducer(small) as producer:
        first = producer.publish([tap(number) for number in range(400)])
        assert not producer.has_room
        with pytest.raises(UnavailableError, match="the buffer of 131072 bytes is full"):
            producer.publish([tap(400)])
        producer.wait_for_room()
        producer.publish([tap(400)])
    assert first.delivered == 400
    assert sum(len(records) for records in stored(settings.kafka).values()) == 401


def test_a_broker_that_is_away_is_one_sentence() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{bound.getsockname()[1]}"
        with pytest.raises(UnavailableError) as unavailable:
            BulkProducer(ProducerSettings(kafka=address, producer_block_s=0.2)).connect()
    assert str(unavailable.value) == (
        f"Kafka does not answer at {address} (Connection refused); start it, "
        f"or set PHONEMETER_KAFKA to where it is."
    )


def test_what_is_no_broker_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(UnavailableError) as unavailable:
            BulkProducer(ProducerSettings(kafka=address, producer_block_s=0.3)).connect()
    assert str(unavailable.value).startswith(
        f"What listens at {address} did not answer as Kafka within 0.3 s ("
    )


def test_a_topic_that_is_missing_is_named_and_not_created(
    topics: RunningKafka, settings: ProducerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("producers.librdkafka.EVENTS", "phone-events-elsewhere")
    with pytest.raises(UnavailableError, match="has no topic phone-events-elsewhere"):
        BulkProducer(settings).connect()
    with admin(topics.bootstrap) as client:
        assert "phone-events-elsewhere" not in client.list_topics()


@contextmanager
def limited(kafka: RunningKafka, max_message_bytes: str) -> Iterator[None]:
    """A topic of small batches. A broker that restarts remembers this even of topics made anew."""
    name = "max.message.bytes"
    asked = ConfigResource(ConfigResourceType.TOPIC, EVENTS, [name])
    with admin(kafka.bootstrap) as client:
        for value in (max_message_bytes, "1048588"):
            client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, EVENTS, {name: value})])
            told = f"'{value}'"
            blocking_until(
                lambda told=told: told in str(client.describe_configs([asked], config_filter="all")),  # type: ignore[misc] # a default binds the loop's value
                within_s=10,
            )
            if value == max_message_bytes:
                yield


def test_batches_that_the_topic_does_not_take_say_which_setting_does(
    topics: RunningKafka, settings: ProducerSettings
) -> None:
    with limited(topics, "200"), BulkProducer(settings) as producer:
        batch = producer.publish([tap(1)])
        producer.finish()
        assert batch.failed == 1
        assert "raise max.message.bytes of phone-events to 262144 or more" in str(producer.failure)


def test_a_broker_that_stops_confirming_fails_each_event_and_tells_the_first(
    settings: ProducerSettings, topics: RunningKafka
) -> None:
    impatient = settings.model_copy(update={"producer_delivery_timeout_s": 1.0})
    with BulkProducer(impatient) as producer:
        with paused(topics):
            batch = producer.publish([b"{", tap(1), tap(2)])
            producer.finish()
        assert (batch.settled, batch.delivered, batch.failed) == (True, 0, 2)
        assert batch.first_failed() == 1
        assert "did not confirm the event in time" in str(batch.failure)
        assert producer.failure is batch.failure


def test_what_has_not_left_can_be_given_up_at_once(settings: ProducerSettings, topics: RunningKafka) -> None:
    with BulkProducer(settings) as producer:
        with paused(topics):
            batch = producer.publish([tap(number) for number in range(100)])
            producer.finish(timeout_s=0)
        assert (batch.settled, batch.failed) == (True, 100)
        assert isinstance(batch.failure, DeliveryError)


def test_a_broker_killed_and_started_again_has_every_event_once_and_in_order(
    settings: ProducerSettings, topics: RunningKafka
) -> None:
    tolerant = settings.model_copy(update={"producer_delivery_timeout_s": 120.0})
    values = [tap(number) for number in range(20_000)]
    with BulkProducer(tolerant) as producer:
        emission = Emission(producer, unexpected)
        for first in range(0, 20_000, 200):
            if first == 10_000:
                pid = topics.supervised.pid
                assert pid is not None
                os.kill(pid, signal.SIGKILL)
            emission.offer_all(first + 1, values[first : first + 200])
        emission.finish()
    assert emission.stopped_because == ""
    assert emission.totals == Totals(accepted=20_000, refused=0, delivered=20_000, failed=0)
    (records,) = stored(settings.kafka).values()
    assert [value for _, value in records] == values


def unexpected(refusal: Refusal) -> None:
    raise AssertionError(refusal)


async def test_publishing_is_awaited_by_many_at_a_time_and_bounded(settings: ProducerSettings) -> None:
    small = settings.model_copy(update={"producer_buffer_bytes": 131_072})
    async with AsyncBulkProducer(small) as producer:
        batches = await asyncio.gather(
            *(producer.publish([tap(f"{caller}.{number}") for number in range(10)]) for caller in range(100)),
            producer.publish([b"{"]),
        )
    assert all(batch.settled and batch.failure is None for batch in batches)
    assert sum(batch.delivered for batch in batches) == 1_000
    assert batches[-1].refusals[0][1].reason == "not_json"
    found = await asyncio.to_thread(stored, settings.kafka)
    assert sum(len(records) for records in found.values()) == 1_000


async def test_a_gateway_is_told_when_kafka_does_not_confirm(
    settings: ProducerSettings, topics: RunningKafka
) -> None:
    impatient = settings.model_copy(
        update={"producer_delivery_timeout_s": 1.0, "producer_block_s": 0.1, "producer_buffer_bytes": 131_072}
    )
    async with AsyncBulkProducer(impatient) as producer:
        with paused(topics):
            open_one = asyncio.create_task(producer.publish([tap(number) for number in range(400)]))
            await asyncio.sleep(0)
            with pytest.raises(UnavailableError, match="is full"):
                await producer.publish([tap(400)])
            batch = await open_one
    assert batch.failed == 400
