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
from functools import partial

import pytest
from kafka import KafkaConsumer, TopicPartition

from metering.times import HOUR_MS
from metering.topics import EVENTS
from producers import events
from producers.client import EventProducer
from producers.client_settings import ClientSettings
from producers.clock import wall_clock_ms
from producers.delivery import Delivery, Place
from producers.errors import (
    DeliveryError,
    ProducerError,
    QueueFullError,
    RefusedError,
    UnavailableError,
)
from producers.kafka_transport import KafkaTransport
from producers.settings import ProducerSettings
from tests.conftest import PARTITIONS, RunningKafka
from tests.waiting import WITHIN_S, blocking_until


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


def place_of(delivery: Delivery) -> Place:
    place = delivery.result()
    assert place is not None
    return place


def test_a_delivery_names_the_place_where_the_event_is_stored(
    producer: EventProducer, settings: ProducerSettings
) -> None:
    event = tap("code-1")
    place = place_of(producer.publish(event))
    assert stored(settings.kafka)[place.partition][place.offset] == (b"wxapp1", events.to_json(event))


def test_offsets_follow_the_order_of_publishing(producer: EventProducer) -> None:
    deliveries = [producer.publish(tap(f"code-{number}")) for number in range(500)]
    places = [place_of(delivery) for delivery in deliveries]
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


def test_a_clock_tick_reaches_every_partition(producer: EventProducer, settings: ProducerSettings) -> None:
    delivery = producer.publish(events.clock_ticked(time=datetime.now(UTC)))
    assert delivery.places() == tuple(Place(partition, 0) for partition in range(PARTITIONS))
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


def test_a_patient_producer_waits_for_room_and_loses_nothing(settings: ProducerSettings) -> None:
    small = settings.model_copy(update={"producer_buffer_bytes": 131_072})
    with EventProducer(small, patient=True) as producer:
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


def test_a_broker_that_is_away_is_one_sentence() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{bound.getsockname()[1]}"
        producer = EventProducer(ProducerSettings(kafka=address, producer_block_s=0.3))
        with pytest.raises(UnavailableError) as unavailable:
            producer.connect()
    producer.close()
    assert str(unavailable.value) == (
        f"Kafka does not answer at {address} (Connection refused); start it, "
        f"or set PHONEMETER_KAFKA to where it is."
    )


def test_a_topic_that_is_missing_is_named(kafka: RunningKafka, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("producers.connection.EVENTS", "phone-events-elsewhere")
    producer = EventProducer(ProducerSettings(kafka=kafka.bootstrap, producer_block_s=3.0))
    with pytest.raises(UnavailableError, match="has no topic phone-events-elsewhere"):
        producer.connect()
    producer.close()


class HeldConnection:
    """A network that does not answer until the test lets it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked = threading.Event()
        self.answers = threading.Event()
        connect = KafkaTransport.connect

        def held(transport: KafkaTransport) -> None:
            self.asked.set()
            assert self.answers.wait(WITHIN_S)
            connect(transport)

        monkeypatch.setattr(KafkaTransport, "connect", held)


def test_publishing_waits_for_no_connection(
    settings: ProducerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = HeldConnection(monkeypatch)
    producer = EventProducer(settings)
    deliveries = [producer.publish(tap(f"code-{number}")) for number in range(100)]
    assert network.asked.wait(WITHIN_S)
    assert not any(delivery.done for delivery in deliveries)
    assert producer.counts == (100, 0, 0, 0)
    network.answers.set()
    assert [place_of(delivery).offset for delivery in deliveries] == list(range(100))
    producer.close()
    assert producer.counts == (0, 100, 0, 0)


@pytest.mark.parametrize("limit", ["events", "bytes"])
def test_a_full_queue_is_an_answer_at_once_and_loses_nothing_that_it_took(
    settings: ProducerSettings, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    network = HeldConnection(monkeypatch)
    events = 50 if limit == "events" else 1_000
    small = ClientSettings(kafka=settings.kafka, producer_buffer_bytes=131_072, client_queue_events=events)
    producer = EventProducer(small)
    taken: list[Delivery] = []
    with pytest.raises(QueueFullError, match="there is room for no more"):
        taken.extend(producer.publish(tap(f"code-{number}")) for number in range(1_000))
    assert len(taken) == producer.counts.waiting == (50 if limit == "events" else 55)
    assert producer.counts.turned_away == 1
    network.answers.set()
    producer.close()
    assert [place_of(delivery).offset for delivery in taken] == list(range(len(taken)))


def test_an_event_that_waited_too_long_is_given_up_with_the_reason(caplog: pytest.LogCaptureFixture) -> None:
    producer = EventProducer(ProducerSettings(kafka="127.0.0.1:1", producer_delivery_timeout_s=1))
    with caplog.at_level(logging.WARNING, "producers"):
        delivery = producer.publish(tap("code-1"))
        with pytest.raises(UnavailableError, match=r"in time \(Kafka does not answer"):
            delivery.result()
        with pytest.raises(DeliveryError, match=r"1 event\(s\) were not delivered"):
            producer.close()
    assert "Events wait meanwhile; 1 do." in caplog.text
    assert "1 event(s) were not delivered in time" in caplog.text


def test_a_callback_that_fails_is_logged_and_harms_nothing(
    producer: EventProducer, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_failure: DeliveryError | None) -> None:
        raise ValueError("The user's own mistake.")

    with caplog.at_level(logging.ERROR):
        assert producer.publish(tap("code-1"), fail).result()
    assert producer.publish(tap("code-2")).result()
    assert "The user's own mistake." in caplog.text


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


def is_confirmed(producer: EventProducer, event: events.CloudEvent) -> bool:
    """Publish an event with a producer that may be too impatient for a busy machine."""
    try:
        producer.publish(event).result()
    except DeliveryError:
        return False
    return True


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
    blocking_until(partial(is_confirmed, producer, tap("code-0")))
    with paused(topics):
        delivery = producer.publish(tap("code-1"), outcomes.append)
        with pytest.raises(UnavailableError, match="did not confirm the event in time"):
            delivery.result()
        with pytest.raises(DeliveryError, match=r"1 event\(s\) were not delivered, the first because"):
            producer.flush()
        with pytest.raises(QueueFullError, match="and 131,072 bytes"):
            fill(producer)
        with pytest.raises(DeliveryError):
            producer.close(timeout_s=0)
    assert len(outcomes) == 1


def test_a_client_library_that_is_stuck_is_replaced_when_an_outcome_is_overdue(
    settings: ProducerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("producers.kafka_transport.GRACE_S", 0.2)
    outcomes: list[DeliveryError | None] = []
    never = threading.Event()
    with EventProducer(settings.model_copy(update={"producer_delivery_timeout_s": 3.0})) as producer:
        producer.publish(tap("code-0")).result()
        transport = producer._sending._transport
        assert isinstance(transport, KafkaTransport)
        stuck = transport._producer
        assert stuck is not None
        monkeypatch.setattr(stuck._sender, "run_once", lambda: never.wait(0.01))
        lost = [producer.publish(tap(f"code-{number}"), outcomes.append) for number in (1, 2)]
        with pytest.raises(UnavailableError, match="did not confirm the event in time"):
            lost[-1].result(WITHIN_S)
        delivered = producer.publish(tap("code-3"), outcomes.append)
        assert place_of(delivered).partition >= 0
        assert transport._producer is not stuck
        with pytest.raises(DeliveryError, match=r"2 event\(s\) were not delivered"):
            producer.flush()
    assert [type(outcome) for outcome in outcomes] == [UnavailableError, UnavailableError, type(None)]


def test_an_event_that_failed_and_was_published_again_is_no_failure(
    settings: ProducerSettings, topics: RunningKafka
) -> None:
    impatient = settings.model_copy(update={"producer_block_s": 0.5, "producer_delivery_timeout_s": 1.0})
    producer = EventProducer(impatient)
    blocking_until(partial(is_confirmed, producer, tap("code-0")))
    with paused(topics):
        lost = [producer.publish(tap(f"code-{number}")) for number in (1, 2)]
        for delivery in lost:
            with pytest.raises(UnavailableError):
                delivery.result()
    blocking_until(partial(is_confirmed, producer, tap("code-1")))
    with pytest.raises(DeliveryError, match=r"1 event\(s\) were not delivered"):
        producer.flush()
    blocking_until(partial(is_confirmed, producer, tap("code-2")))
    producer.close()


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
