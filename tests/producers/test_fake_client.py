"""The fake producer, as users' tests have it."""

import asyncio
from datetime import UTC, datetime

import pytest

from producers.interface import (
    AsyncEventProducer,
    CloudEvent,
    DeliveryError,
    FakeEventProducer,
    QueueFullError,
    RefusedError,
    UnavailableError,
    authorization_succeeded,
)


def tap(code: str = "code-1") -> CloudEvent:
    return authorization_succeeded(
        appid="wxapp1", code=code, capability="quick", time=datetime.now(UTC), store="store-03"
    )


def test_it_keeps_the_events_and_settles_them_at_once() -> None:
    told: list[DeliveryError | None] = []
    with FakeEventProducer() as producer:
        producer.connect()
        delivery = producer.publish(tap(), told.append)
        assert delivery.done
        assert delivery.result() is None
    assert told == [None]
    assert [event["data"]["store"] for event in producer.events] == ["store-03"]
    assert producer.counts == (0, 1, 0, 0)


def test_it_checks_events_as_the_real_one_does() -> None:
    producer = FakeEventProducer()
    with pytest.raises(RefusedError, match="may not enter"):
        producer.publish(tap() | {"phoneNumber": "13800138000"})
    assert producer.events == []


def test_it_fails_and_is_full_as_a_test_asks_for() -> None:
    producer = FakeEventProducer()
    producer.failure = UnavailableError("Kafka is away.")
    with pytest.raises(UnavailableError, match="Kafka is away"):
        producer.publish(tap()).result()
    with pytest.raises(UnavailableError, match="Kafka is away"):
        producer.connect()
    with pytest.raises(DeliveryError, match=r"1 event\(s\) were not delivered"):
        producer.flush()
    producer.is_full = True
    with pytest.raises(QueueFullError):
        producer.publish(tap("code-2"))


async def test_it_works_under_the_asynchronous_one() -> None:
    fake = FakeEventProducer()
    async with AsyncEventProducer(producer=fake) as producer:
        assert await producer.publish(tap()) is None
        assert len(fake.events) == 1
        fake.failure = UnavailableError("Kafka is away.")
        told: asyncio.Future[DeliveryError | None] = asyncio.get_running_loop().create_future()
        with pytest.raises(UnavailableError):
            await producer.publish(tap("code-2"), told.set_result)
        assert await told is fake.failure
        with pytest.raises(DeliveryError):
            await producer.flush()
