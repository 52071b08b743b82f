"""The outbox's publisher with the real broker and the real stack: order, kills, a Kafka that is away."""

import asyncio
import contextlib
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from kafka import KafkaConsumer, TopicPartition
from prometheus_client import CollectorRegistry

from dashboards.console.facts import ConsoleFact
from dashboards.console.members import Actor
from dashboards.console.payments import PaymentNotice
from metering.catalogue import DEFAULT
from metering.topics import EVENTS
from phonemeter.business import outbox_publisher
from phonemeter.business.database import BusinessDatabase
from phonemeter.business.fact_desk import BusinessFacts
from phonemeter.business.orders import BusinessOrders
from phonemeter.business.outbox import Outbox
from phonemeter.business.outbox_publisher import OutboxPublisher
from phonemeter.business.owners import OwnerStore
from phonemeter.stack.stack import Stack
from producers.client import EventProducer
from producers.clock import wall_clock_ms
from producers.errors import DeliveryError
from producers.settings import ProducerSettings
from sinks.connection import connect, rows
from tests.conftest import RunningKafka
from tests.ports import free_port
from tests.waiting import blocking_until

APPS = ("wx8ff4154a2448e576", "wxfb1f3d218d111092")
FACTS = 5

pytestmark = pytest.mark.stack


@pytest.fixture
def database(tmp_path: Path) -> Iterator[BusinessDatabase]:
    with BusinessDatabase(f"sqlite:///{tmp_path}/business.sqlite") as opened:
        OwnerStore(opened).add("a", APPS)
        yield opened


def actor_of(database: BusinessDatabase, owner: str = "a") -> Actor:
    return Actor(
        "li@a.example", next(one.owner_id for one in OwnerStore(database).every_owner() if one.name == owner)
    )


def record(database: BusinessDatabase, appid: str, reserve: int) -> None:
    data = {"capability": "quick", "reserve_calls": reserve}
    fact = ConsoleFact("account.routing_set", appid, data)
    BusinessFacts(database).record(actor_of(database), [fact], "routing_set", appid)


def stored(kafka: str) -> list[dict[str, Any]]:
    """The events of the topic, those of an app in their order."""
    consumer = KafkaConsumer(bootstrap_servers=kafka, enable_auto_commit=False)
    try:
        partitions = [TopicPartition(EVENTS, one) for one in consumer.partitions_for_topic(EVENTS)]
        consumer.assign(partitions)
        consumer.seek_to_beginning()
        ends = consumer.end_offsets(partitions)
        found = []
        while any(consumer.position(each) < ends[each] for each in partitions):
            for records in consumer.poll(timeout_ms=1_000).values():
                found += [msgspec.json.decode(record.value) for record in records]
    finally:
        consumer.close()
    return found


def reserves(events: list[dict[str, Any]], appid: str) -> list[int]:
    return [event["data"]["reserve_calls"] for event in events if event["subject"] == appid]


async def publish_once(
    database: BusinessDatabase, kafka: str, registry: CollectorRegistry
) -> OutboxPublisher:
    settings = ProducerSettings(kafka=kafka)
    publisher = OutboxPublisher(Outbox(database), settings, registry)
    producer = EventProducer(settings)
    try:
        await publisher.publish_waiting(producer)
    finally:
        await asyncio.to_thread(producer.close)
    return publisher


async def test_facts_of_each_app_are_published_in_their_order_and_once(
    database: BusinessDatabase, topics: RunningKafka
) -> None:
    for reserve in range(FACTS):
        for appid in APPS:
            record(database, appid, reserve)
    registry = CollectorRegistry()
    publisher = await publish_once(database, topics.bootstrap, registry)
    events = stored(topics.bootstrap)
    assert [reserves(events, appid) for appid in APPS] == [list(range(FACTS))] * 2
    assert publisher.troubles() == []
    assert registry.get_sample_value("phonemeter_console_outbox_waiting") == 0
    published = registry.get_sample_value(
        "phonemeter_console_outbox_attempts_total", {"outcome": "published"}
    )
    assert published == 2 * FACTS
    await publish_once(database, topics.bootstrap, CollectorRegistry())
    assert len(stored(topics.bootstrap)) == 2 * FACTS


async def test_a_kafka_that_is_away_is_told_and_loses_nothing(
    database: BusinessDatabase, topics: RunningKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_publisher, "LATE_MS", 0)
    for reserve in range(2):
        record(database, APPS[0], reserve)
    registry = CollectorRegistry()
    away = f"127.0.0.1:{free_port()}"
    settings = ProducerSettings(kafka=away, producer_delivery_timeout_s=1)
    publisher = OutboxPublisher(Outbox(database), settings, registry)
    producer = EventProducer(settings)
    try:
        await publisher.publish_waiting(producer)
        (trouble,) = publisher.troubles()
        assert "2 fact(s) of the console wait for Kafka since" in trouble
        assert away in trouble
        assert registry.get_sample_value("phonemeter_console_outbox_waiting") == 2
        # The app waits for its pause, and its second fact behind the first.
        await publisher.publish_waiting(producer)
    finally:
        # Its thread would go on looking for Kafka beside the tests that come next.
        with contextlib.suppress(DeliveryError):
            producer.close(timeout_s=0)
    failed = registry.get_sample_value("phonemeter_console_outbox_attempts_total", {"outcome": "failed"})
    assert failed == 1
    assert Outbox(database).backlog().count == 2
    later = await publish_once(database, topics.bootstrap, CollectorRegistry())
    assert later.troubles() == []
    assert reserves(stored(topics.bootstrap), APPS[0]) == [0, 1]


def test_a_publisher_killed_between_publishing_and_noting_publishes_the_same_event_again(
    database: BusinessDatabase, topics: RunningKafka, tmp_path: Path
) -> None:
    record(database, APPS[0], 7)
    url = f"sqlite:///{tmp_path}/business.sqlite"
    command = [sys.executable, "-m", "tests.phonemeter.business.run_publisher", url, topics.bootstrap]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"published\n"
        process.kill()
    assert Outbox(database).backlog().count == 1
    asyncio.run(publish_once(database, topics.bootstrap, CollectorRegistry()))
    assert Outbox(database).backlog().count == 0
    first, second = stored(topics.bootstrap)
    assert first == second


def test_a_paid_order_becomes_a_pack_in_the_balance_and_its_refund_the_ledgers_word(stack: Stack) -> None:
    appid, owner = f"wx{secrets.token_hex(4)}", f"owner {secrets.token_hex(4)}"

    def ledger(query: str) -> list[tuple[Any, ...]]:
        with connect(stack.settings.clickhouse) as client:
            return rows(client, query, {"appid": appid})

    with BusinessDatabase(stack.settings.business_url) as database:
        OwnerStore(database).add(owner, [appid])
        actor, orders = actor_of(database, owner), BusinessOrders(database)

        def state(order_id: str) -> str:
            found = orders.find(actor.owner_id, order_id)
            assert found is not None
            return found.order.state

        order = orders.create(actor, appid, DEFAULT[0], "once")
        notice = PaymentNotice(order.order_id, f"t-{appid}", order.price_micro_yuan, wall_clock_ms())
        assert orders.take_notice("test", notice, "test") == "accepted"
        assert orders.take_notice("test", notice, "test") == "repeated"
        blocking_until(lambda: state(order.order_id) == "active", what="the console has published the pack")
        packs = "SELECT pack_id, calls, remaining, price_micro_yuan FROM packs WHERE appid = %(appid)s"
        blocking_until(lambda: bool(ledger(packs)), what="the pack is in the ledger")
        assert ledger(packs) == [(order.order_id, 250, 250, 7_500_000)]
        orders.ask_refund(actor, order.order_id, None)
        blocking_until(lambda: state(order.order_id) == "refunded", what="the ledger has decided")
        assert ledger("SELECT status FROM packs WHERE appid = %(appid)s") == [("refunded",)]
        found = orders.find(actor.owner_id, order.order_id)
        assert found is not None
        assert [one.what for one in found.steps][:4] == ["created", "paid", "active", "refund_asked"]
