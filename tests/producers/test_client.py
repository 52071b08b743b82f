"""The producer against the real broker: outcomes, order, partitions, and a broker that is away."""

import gc
import logging
import os
import signal
import socket
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from kafka import KafkaConsumer, TopicPartition
from kafka.partitioner.default import murmur2

from metering.times import HOUR_MS
from metering.topics import EVENTS
from producers import events
from producers.client import EventProducer, Place
from producers.clock import wall_clock_ms
from producers.errors import DeliveryError, ProducerError, RefusedError, UnavailableError
from producers.partitioning import partition_of
from producers.settings import ProducerSettings
from tests.conftest import PARTITIONS, RunningKafka
from tests.waiting import blocking_until

BOUND_S = 8.0


@pytest.fixture
def settings(topics: RunningKafka) -> ProducerSettings:
    return ProducerSettings(kafka=topics.bootstrap)


@pytest.fixture
def producer(settings: ProducerSettings) -> Iterator[EventProducer]:
    with EventProducer(settings) as producer:
        yield producer


def stored(kafka: str) -> dict[int, list[tuple[bytes, bytes]]]:
    """Everything in `phone-events`: per partition, in order, keys and values."""
    consumer = KafkaConsumer(bootstrap_servers=kafka, enable_auto_commit=False)
    try:
        partitions = [TopicPartition(EVENTS, number) for number in range(PARTITIONS)]
        consumer.assign(partitions)
        consumer.seek_to_beginning()
        ends = consumer.end_offsets(partitions)
        found: dict[int, list[tuple[bytes, bytes]]] = defaultdict(list)
        while any(consumer.position(each) < ends[each] for each in partitions):
            for records in consumer.poll(timeout_ms=1_000).values():
                for record in records:
                    found[record.partition].append((record.key, record.value))
    finally:
        consumer.close()
    return found


def tap(code: str, appid: str = "wxapp1") -> events.CloudEvent:
    return events.authorization_succeeded(appid=appid, code=code, capability="quick", time=datetime.now(UTC))


def test_a_delivery_names_the_place_where_the_event_is_stored(
    producer: EventProducer, settings: ProducerSettings
) -> None:
    event = tap("code-1")
    place = producer.publish(event).result()
    assert stored(settings.kafka)[place.partition][place.offset] == (b"wxapp1", events.to_json(event))


def test_offsets_follow_the_order_of_publishing(producer: EventProducer) -> None:
    deliveries = [producer.publish(tap(f"code-{number}")) for number in range(500)]
    places = [delivery.result() for delivery in deliveries]
    assert len({place.partition for place in places}) == 1
    assert [place.offset for place in places] == list(range(500))


def test_every_app_keeps_its_partition_and_its_order(
    producer: EventProducer, settings: ProducerSettings
) -> None:
    published: dict[bytes, list[bytes]] = defaultdict(list)
    for number in range(600):
        event = tap(f"code-{number}", f"wxapp{number % 7}")
        published[event["subject"].encode()].append(events.to_json(event))
        producer.publish(event)
    producer.flush()
    found: dict[bytes, list[bytes]] = defaultdict(list)
    places: dict[bytes, set[int]] = defaultdict(set)
    for partition, records in stored(settings.kafka).items():
        for key, value in records:
            found[key].append(value)
            places[key].add(partition)
    assert found == published
    assert all(len(partitions) == 1 for partitions in places.values())


@pytest.mark.parametrize("key", [b"wxfb1f3d218d111092", b"clock", "小程序".encode()])
def test_partitions_are_the_default_of_every_kafka_client(key: bytes) -> None:
    assert partition_of(key, 12) == (murmur2(key) & 0x7FFFFFFF) % 12


def test_a_clock_tick_reaches_every_partition(producer: EventProducer, settings: ProducerSettings) -> None:
    delivery = producer.publish(events.clock_ticked(time=datetime.now(UTC)))
    assert delivery.places() == [Place(partition, 0) for partition in range(PARTITIONS)]
    assert {
        partition: len(records) for partition, records in stored(settings.kafka).items()
    } == dict.fromkeys(range(PARTITIONS), 1)


def test_the_outcome_is_told_once_per_event_even_of_a_tick(producer: EventProducer) -> None:
    outcomes: list[DeliveryError | None] = []
    producer.publish(events.clock_ticked(time=datetime.now(UTC)), outcomes.append)
    producer.publish(tap("code-1"), outcomes.append)
    producer.flush()
    assert outcomes == [None, None]


def test_several_threads_share_one_producer(producer: EventProducer, settings: ProducerSettings) -> None:
    def publish(thread: int) -> None:
        for number in range(100):
            producer.publish(tap(f"{thread}-{number}", f"wxapp{thread}"))

    threads = [threading.Thread(target=publish, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    producer.flush()
    assert sum(len(records) for records in stored(settings.kafka).values()) == 400


def test_a_small_buffer_makes_publishing_wait_and_loses_nothing(settings: ProducerSettings) -> None:
    small = settings.model_copy(update={"producer_buffer_bytes": 131_072})
    with EventProducer(small) as producer:
        deliveries = [producer.publish(tap(f"code-{number}")) for number in range(1_000)]
    assert all(delivery.done for delivery in deliveries)
    assert sum(len(records) for records in stored(settings.kafka).values()) == 1_000


@pytest.mark.parametrize("compression", ["none", "lz4"])
def test_what_is_stored_is_what_was_published_however_it_travels(
    settings: ProducerSettings, compression: str
) -> None:
    with EventProducer(settings.model_copy(update={"producer_compression": compression})) as producer:
        values = [events.to_json(tap(f"code-{number}")) for number in range(50)]
        for value in values:
            producer.publish(value)
    (records,) = stored(settings.kafka).values()
    assert [value for _, value in records] == values


def test_a_closed_producer_says_so(settings: ProducerSettings) -> None:
    with EventProducer(settings) as producer:
        pass
    with pytest.raises(ProducerError, match="The producer is closed"):
        producer.publish(tap("code-1"))


def unreachable() -> EventProducer:
    """A producer that must not get as far as connecting."""
    return EventProducer(ProducerSettings(kafka="127.0.0.1:1", producer_block_s=0.1))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"{", "not_json"),
        (b'{"type":"phone.number.sold"}', "unknown_type"),
        (b'"' + b"a" * 70_000 + b'"', "too_large"),
        (b"\xff\xfe", "not_utf8"),
    ],
)
def test_a_bad_event_is_refused_before_anything_is_sent(value: bytes, reason: str) -> None:
    with pytest.raises(RefusedError) as refused:
        unreachable().publish(value)
    assert refused.value.rejection.reason == reason


def test_an_event_of_the_future_is_refused_by_the_clock_given() -> None:
    producer = EventProducer(
        ProducerSettings(kafka="127.0.0.1:1"), now_ms=lambda: wall_clock_ms() - 2 * HOUR_MS
    )
    with pytest.raises(RefusedError, match="is outside"):
        producer.publish(tap("code-1"))


def test_a_phone_number_in_any_field_is_refused_at_the_edge() -> None:
    event = tap("code-1")
    event["data"]["purePhoneNumber"] = "13800138000"
    with pytest.raises(RefusedError, match=r"data\.purePhoneNumber may not enter"):
        unreachable().publish(event)


def seconds_until_unavailable(producer: EventProducer) -> tuple[float, str]:
    began_ms = wall_clock_ms()
    with pytest.raises(UnavailableError) as unavailable:
        producer.publish(tap("code-1"))
    return (wall_clock_ms() - began_ms) / 1_000, str(unavailable.value)


def test_a_broker_that_is_away_is_one_sentence_within_bounded_time() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{bound.getsockname()[1]}"
        producer = EventProducer(ProducerSettings(kafka=address, producer_block_s=0.3))
        took_s, sentence = seconds_until_unavailable(producer)
        again_s, again = seconds_until_unavailable(producer)
    assert took_s < BOUND_S
    assert again_s < 0.3
    assert sentence == again
    assert sentence == (
        f"Kafka does not answer at {address} (Connection refused); start it, "
        f"or set PHONEMETER_KAFKA to where it is."
    )


def test_a_topic_that_is_missing_is_named(kafka: RunningKafka, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("producers.connection.EVENTS", "phone-events-elsewhere")
    producer = EventProducer(ProducerSettings(kafka=kafka.bootstrap, producer_block_s=0.5))
    _, sentence = seconds_until_unavailable(producer)
    assert "has no topic phone-events-elsewhere" in sentence


@contextmanager
def paused(kafka: RunningKafka) -> Iterator[None]:
    """The broker as a machine that hangs: connections stay open and nothing answers."""
    pid = kafka.supervised.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def fill(producer: EventProducer) -> None:
    for number in range(1_000):
        producer.publish(tap(f"more-{number}"))


def test_a_broker_that_stops_confirming_fails_each_event_and_then_the_flush(
    settings: ProducerSettings, topics: RunningKafka
) -> None:
    impatient = settings.model_copy(
        update={"producer_block_s": 0.5, "producer_delivery_timeout_s": 1.0, "producer_buffer_bytes": 131_072}
    )
    outcomes: list[DeliveryError | None] = []
    producer = EventProducer(impatient)
    producer.publish(tap("code-0")).result()
    with paused(topics):
        delivery = producer.publish(tap("code-1"), outcomes.append)
        with pytest.raises(UnavailableError, match="did not confirm the event in time"):
            delivery.result()
        with pytest.raises(DeliveryError, match=r"1 event\(s\) were not delivered, the first because"):
            producer.flush()
        with pytest.raises(UnavailableError, match="the buffer of 131072 bytes has been full"):
            fill(producer)
        with pytest.raises(DeliveryError):
            producer.close(timeout_s=0)
    assert len(outcomes) == 1


def test_a_client_library_that_is_stuck_is_replaced_when_an_outcome_is_overdue(
    settings: ProducerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("producers.client.GRACE_S", 0.2)
    outcomes: list[DeliveryError | None] = []
    never = threading.Event()
    with EventProducer(settings.model_copy(update={"producer_delivery_timeout_s": 3.0})) as producer:
        producer.publish(tap("code-0")).result()
        stuck = producer._producer
        assert stuck is not None
        monkeypatch.setattr(stuck._sender, "run_once", lambda: never.wait(0.01))
        lost = [producer.publish(tap(f"code-{number}"), outcomes.append) for number in (1, 2)]
        with pytest.raises(UnavailableError, match="did not confirm the event in time"):
            lost[-1].result()
        blocking_until(producer._is_stuck, 10)
        delivered = producer.publish(tap("code-3"), outcomes.append)
        assert delivered.result().partition >= 0
        assert producer._producer is not stuck
        with pytest.raises(DeliveryError, match=r"2 event\(s\) were not delivered"):
            producer.flush()
    assert [type(outcome) for outcome in outcomes] == [UnavailableError, UnavailableError, type(None)]


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_a_broker_killed_and_started_again_has_every_event_once_and_in_order(
    settings: ProducerSettings, topics: RunningKafka, caplog: pytest.LogCaptureFixture
) -> None:
    # kafka-python 3.0.12 leaves the sockets of failed attempts to connect to the garbage collector, and a
    # captured log record would keep them from it.
    caplog.set_level(logging.CRITICAL + 1, logger="kafka")
    values = [events.to_json(tap(f"code-{number}")) for number in range(3_000)]
    tolerant = settings.model_copy(update={"producer_delivery_timeout_s": 120.0})
    with EventProducer(tolerant, patient=True) as producer:
        for number, value in enumerate(values):
            if number == 1_000:
                pid = topics.supervised.pid
                assert pid is not None
                os.kill(pid, signal.SIGKILL)
            producer.publish(value)
    del producer
    gc.collect()
    (records,) = stored(settings.kafka).values()
    assert [value for _, value in records] == values
