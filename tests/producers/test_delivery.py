"""Deliveries that are awaited: from the event loop, cancelled, and with a loop that is gone."""

import asyncio
import threading

import pytest

from producers.delivery import Delivery, Place
from producers.errors import DeliveryError, UnavailableError
from tests.waiting import WITHIN_S


def settled_by_a_thread(delivery: Delivery, outcome: tuple[Place, ...] | DeliveryError) -> threading.Thread:
    thread = threading.Thread(target=delivery.settle, args=(outcome,))
    thread.start()
    return thread


async def test_a_coroutine_awaits_what_a_thread_settles() -> None:
    delivery = Delivery(WITHIN_S)
    waiting = asyncio.ensure_future(awaited(delivery))
    await asyncio.sleep(0)
    assert not waiting.done()
    settled_by_a_thread(delivery, (Place(3, 17),))
    assert await waiting == Place(3, 17)
    assert await delivery == delivery.result() == Place(3, 17)


async def awaited(delivery: Delivery) -> Place | None:
    return await delivery


async def test_a_failure_is_raised_to_each_who_awaits() -> None:
    delivery = Delivery(WITHIN_S)
    waiting = [asyncio.ensure_future(awaited(delivery)) for _ in range(3)]
    await asyncio.sleep(0)
    settled_by_a_thread(delivery, DeliveryError("Kafka did not take the event."))
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(answer) for answer in answers] == [DeliveryError] * 3


async def test_cancelling_who_awaits_cancels_nothing_else() -> None:
    delivery = Delivery(WITHIN_S)
    waiting = [asyncio.ensure_future(awaited(delivery)) for _ in range(2)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting[0]
    assert not delivery.done
    settled_by_a_thread(delivery, (Place(0, 0),))
    assert await waiting[1] == Place(0, 0)


def test_a_loop_that_has_ended_is_not_told() -> None:
    delivery = Delivery(WITHIN_S)

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(awaited(delivery), 0.01)

    asyncio.run(give_up())
    delivery.settle(())
    assert delivery.done
    assert delivery.result() is None


def test_who_does_not_wait_until_the_outcome_is_told_what_to_do() -> None:
    with pytest.raises(UnavailableError, match="publish the same event again, its id keeps it one call"):
        Delivery(WITHIN_S).result(0)
