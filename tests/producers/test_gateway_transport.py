"""The client through a gateway that is served in this process, disabled, and with wrong settings."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import msgspec
import pytest

from producers import events
from producers.async_client import AsyncEventProducer
from producers.client import EventProducer
from producers.client_settings import ClientSettings
from producers.delivery import Delivery
from producers.errors import (
    DeliveryError,
    GatewayRefusedError,
    ProducerError,
    QueueFullError,
    UnavailableError,
)
from tests.producers.gateway.parts import APP, Door, opened
from tests.waiting import WITHIN_S, until


def settings_of(door: Door, **more: object) -> ClientSettings:
    given = {
        "client_transport": "gateway",
        "client_gateway_url": f"http://127.0.0.1:{door.port}",
        "client_gateway_key": door.text,
        "producer_delivery_timeout_s": WITHIN_S,
    }
    return ClientSettings.model_validate(given | more)


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    async with opened(apps=(APP,)) as door:
        yield door


def tap(code: str, appid: str = APP) -> events.CloudEvent:
    return events.authorization_succeeded(appid=appid, code=code, capability="quick", time=datetime.now(UTC))


async def outcome(delivery: Delivery) -> DeliveryError | None:
    try:
        assert await delivery is None
    except DeliveryError as error:
        return error
    return None


async def test_every_event_reaches_the_gateway_in_order_and_few_requests(door: Door) -> None:
    sent = [tap(f"code-{number}") for number in range(1_200)]
    async with AsyncEventProducer(settings_of(door)) as producer:
        deliveries = [producer.publish(event) for event in sent]
    assert [await outcome(delivery) for delivery in deliveries] == [None] * 1_200
    assert [msgspec.json.decode(value) for value in door.publisher.values] == sent
    assert door.publisher.calls <= 10


async def test_what_the_gateway_refuses_fails_and_the_others_are_delivered(door: Door) -> None:
    async with AsyncEventProducer(settings_of(door)) as producer:
        wrong = producer.publish(tap("code-1", "wxanother"))
        right = producer.publish(tap("code-2"))
        refused = await outcome(wrong)
        assert isinstance(refused, GatewayRefusedError)
        assert "is not for the app wxanother" in str(refused)
        assert await outcome(right) is None
        with pytest.raises(DeliveryError, match=r"1 event\(s\) were not delivered"):
            await producer.flush()


async def test_what_is_not_taken_is_sent_again_until_it_is(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    door.publisher.trouble = "Kafka does not answer."
    producer = AsyncEventProducer(settings_of(door))
    with caplog.at_level(logging.INFO, "producers"):
        delivery = producer.publish(tap("code-1"))
        await until(lambda: door.publisher.calls > 1)
        assert not delivery.done
        door.publisher.trouble = ""
        assert await outcome(delivery) is None
        await producer.close()
    assert len(door.publisher.values) == 1
    assert caplog.text.count("Events wait meanwhile") == 1
    assert caplog.text.count("Events are sent again") == 1


async def test_an_unconfirmed_event_is_sent_again_by_the_same_id(door: Door) -> None:
    door.publisher.silent = True
    producer = AsyncEventProducer(settings_of(door))
    event = tap("code-1")
    delivery = producer.publish(event)
    await until(lambda: door.publisher.calls > 0)
    door.publisher.silent = False
    assert await outcome(delivery) is None
    assert [msgspec.json.decode(value) for value in door.publisher.values] == [event]
    await producer.close()


async def test_a_key_that_is_not_taken_is_said_with_its_variable_and_never_shown(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = door.text[:-4] + "0000"
    producer = AsyncEventProducer(settings_of(door, client_gateway_key=wrong))
    with caplog.at_level(logging.DEBUG), pytest.raises(UnavailableError) as refused:
        await producer.connect()
    assert "does not take the key of PHONEMETER_CLIENT_GATEWAY_KEY" in str(refused.value)
    assert wrong not in caplog.text + str(refused.value) + repr(settings_of(door, client_gateway_key=wrong))
    await producer.close()


async def test_a_gateway_that_is_away_holds_up_nobody_and_gets_all_when_it_is_back() -> None:
    async with opened(apps=(APP,)) as door:
        settings = settings_of(door, client_queue_events=5)
    producer = AsyncEventProducer(settings)
    waiting = [producer.publish(tap(f"code-{number}")) for number in range(5)]
    with pytest.raises(QueueFullError):
        producer.publish(tap("code-5"))
    with pytest.raises(UnavailableError, match="does not answer"):
        await producer.connect()
    assert not any(delivery.done for delivery in waiting)
    with pytest.raises(UnavailableError, match="Not every event has its outcome"):
        await producer.close(timeout_s=0.01)
    assert [type(await outcome(delivery)) for delivery in waiting] == [UnavailableError] * 5


async def test_a_callback_is_called_in_the_loop(door: Door) -> None:
    told: list[tuple[DeliveryError | None, bool]] = []
    here = threading.get_ident()
    async with AsyncEventProducer(settings_of(door)) as producer:
        producer.publish(tap("code-1"), lambda failure: told.append((failure, threading.get_ident() == here)))
        await until(lambda: told != [])
    assert told == [(None, True)]


async def test_a_task_that_is_cancelled_while_it_awaits_loses_no_event(door: Door) -> None:
    door.publisher.held = asyncio.Event()
    producer = AsyncEventProducer(settings_of(door))
    delivery = producer.publish(tap("code-1"))
    task = asyncio.ensure_future(outcome(delivery))
    await until(door.publisher.called.is_set)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    door.publisher.held.set()
    assert await outcome(delivery) is None
    await producer.close()


def test_without_a_key_it_says_where_to_get_one() -> None:
    with pytest.raises(ProducerError, match="phonemeter keys issue"):
        EventProducer(ClientSettings(client_transport="gateway"))


def test_a_variable_that_can_not_be_understood_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHONEMETER_CLIENT_TRANSPORT", "pigeon")
    with pytest.raises(ProducerError, match=r"_CLIENT_TRANSPORT can't be understood: .* 'disabled'"):
        EventProducer()


def test_disabled_it_checks_events_and_drops_them(caplog: pytest.LogCaptureFixture) -> None:
    with EventProducer(ClientSettings(client_transport="disabled")) as producer:
        assert producer.publish(tap("code-1")).result() is None
        with pytest.raises(ProducerError, match="code is ''"):
            tap("")
    assert producer.counts.delivered == 1
    assert "Metering is disabled" in caplog.text
