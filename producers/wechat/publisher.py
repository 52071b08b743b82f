"""Events handed to Kafka from an event loop: they are published, or an error is raised."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from producers.client import EventProducer
from producers.events import CloudEvent
from producers.settings import ProducerSettings

Publish = Callable[[Sequence[CloudEvent]], Awaitable[None]]
"""Publishes events of one app in their order, and returns once Kafka has confirmed all of them.

Raises:
    RefusedError: one is no event; those before it were published.
    DeliveryError: Kafka did not confirm all of them. They may be stored all the same.
"""


class FactPublisher:
    """A publisher on threads of its own, so that a Kafka that is away does not hold up the event loop."""

    def __init__(self, settings: ProducerSettings, threads: int = 4) -> None:
        self._producer = EventProducer(settings)
        self._threads = ThreadPoolExecutor(threads, "phonemeter-wechat-publish")

    async def connect(self) -> None:
        """Connect to Kafka.

        Raises:
            UnavailableError: no broker answers, or it has no `phone-events`.
        """
        await asyncio.get_running_loop().run_in_executor(self._threads, self._producer.connect)

    async def publish(self, events: Sequence[CloudEvent]) -> None:
        """Publish events as `Publish` says."""
        await asyncio.get_running_loop().run_in_executor(self._threads, partial(self._publish, events))

    def close(self) -> None:
        """Wait for what is under way, and disconnect. Blocking."""
        self._threads.shutdown(cancel_futures=True)
        self._producer.close(timeout_s=0)

    def _publish(self, events: Sequence[CloudEvent]) -> None:
        deliveries = []
        try:
            for event in events:
                deliveries.append(self._producer.publish(event))  # noqa: PERF401 - those before a refused one count
        finally:
            for delivery in deliveries:
                delivery.result()
