"""The bulk producer against the real broker: outcomes, order, partitions, bounds, brokers that are away."""

import asyncio
import os
import signal
import socket
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError
from kafka.admin import ConfigResource, ConfigResourceType

from kafka_access.access import KafkaAccess
from metering.personal_identifiers import find_identifier
from metering.placement import partition_of
from metering.topics import EVENTS
from phonemeter.kafka_admin import admin
from producers import bulk, events
from producers.bulk import BulkProducer
from producers.bulk_async import AsyncBulkProducer
from producers.emission import Emission, Refusal, Totals
from producers.errors import DeliveryError, UnavailableError
from producers.event_batch import EventBatch
from producers.librdkafka import connect
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
    drawn = ("".join(chance.choices(LETTERS, k=chance.randint(1, 64))) for _ in range(2 * count))
    # Among so many are some that nobody can tell from an openid or a phone number.
    return list(islice((appid for appid in drawn if find_identifier(appid) is None), count))


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
    settled: list[EventBatch] = []
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
    with admin(KafkaAccess(topics.bootstrap)) as client:
        assert "phone-events-elsewhere" not in client.list_topics()


@contextmanager
def limited(kafka: RunningKafka, max_message_bytes: str) -> Iterator[None]:
    """A topic of small batches. A broker that restarts remembers this even of topics made anew."""
    name = "max.message.bytes"
    asked = ConfigResource(ConfigResourceType.TOPIC, EVENTS, [name])
    with admin(KafkaAccess(kafka.bootstrap)) as client:
        for value in (max_message_bytes, "1048588"):
            client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, EVENTS, {name: value})])
            told = f"'{value}'"
            blocking_until(
                lambda told=told: told in str(client.describe_configs([asked], config_filter="all"))  # type: ignore[misc] # a default binds the loop's value
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
    settings: ProducerSettings, topics: RunningKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    hasty = {"producer_delivery_timeout_s": 1.0, "producer_buffer_bytes": 131_072}
    impatient = settings.model_copy(update={**hasty, "producer_block_s": 0.1})
    # It has the usual time to connect: a busy machine needs more than a tenth of a second.
    monkeypatch.setattr(bulk, "connect", lambda _, told: connect(settings.model_copy(update=hasty), told))
    async with AsyncBulkProducer(impatient) as producer:
        with paused(topics):
            open_one = asyncio.create_task(producer.publish([tap(number) for number in range(400)]))
            await asyncio.sleep(0)
            with pytest.raises(UnavailableError, match="is full"):
                await producer.publish([tap(400)])
            batch = await open_one
    assert batch.failed == 400


class Standing:
    """A client whose threads wait for a clock that stepped back: only what is purged has an outcome."""

    def __init__(self) -> None:
        self._taken: list[tuple[Any, Any]] = []
        self._purged = False

    def produce_batch(self, _topic: str, messages: list[dict[str, bytes]], on_delivery: Any) -> int:  # noqa: ANN401
        self._taken += [
            (on_delivery, SimpleNamespace(value=partial(bytes, one["value"]))) for one in messages
        ]
        return len(messages)

    def poll(self, _timeout: float) -> int:
        taken, self._taken = (self._taken, []) if self._purged else ([], self._taken)
        for told, message in taken:
            told(KafkaError(KafkaError._PURGE_QUEUE), message)
        return len(taken)

    def purge(self) -> None:
        self._purged = True


def test_a_client_that_stands_still_is_left_for_another_and_its_events_are_not_confirmed(
    settings: ProducerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    clients = [(Standing(), PARTITIONS, ""), connect(settings, lambda _error: None)]
    monkeypatch.setattr(bulk, "connect", lambda *_: clients.pop(0))
    producer = BulkProducer(settings)
    producer.outcome_timeout_s = 0.2
    lost = producer.publish([tap(1)])
    while not lost.settled:
        producer.serve(0.01)
    assert "did not confirm the event in time" in str(lost.failure)
    producer.outcome_timeout_s = 60.0
    again = producer.publish([tap(2)])
    producer.finish(timeout_s=60)
    assert (again.delivered, again.failed) == (1, 0)
