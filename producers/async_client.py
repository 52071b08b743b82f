"""The producer for programs on asyncio: the same interface, with what waits awaited."""

import asyncio
import contextlib
from functools import partial
from types import TracebackType
from typing import Final, Self

from producers.client import EventProducer
from producers.delivery import Delivery, OnSettled
from producers.errors import DeliveryError, UnavailableError
from producers.event_queue import QueueCounts
from producers.events import CloudEvent
from producers.settings import ProducerSettings

LEAVING_S: Final = 1.0
"""Limit of the moment between an outcome and its event being counted."""


class AsyncEventProducer:
    """A publisher of events for an event loop; one per process is enough.

    `publish` does not wait, so it is no coroutine; the `Delivery` that it returns can be awaited.

    Args:
        settings: default is those of the environment.
        producer: the producer that does the work, such as a `FakeEventProducer` in tests.
    """

    def __init__(
        self, settings: ProducerSettings | None = None, *, producer: EventProducer | None = None
    ) -> None:
        self._producer = producer or EventProducer(settings)

    async def connect(self) -> None:
        """Wait until it is connected; as `EventProducer.connect`."""
        await asyncio.to_thread(self._producer.connect)

    def publish(
        self, event: CloudEvent | bytes, on_settled: OnSettled | None = None, *, openid: str = ""
    ) -> Delivery:
        """Check one event and queue it, as `EventProducer.publish`; `on_settled` is called in the loop."""
        told = None
        if on_settled is not None:
            told = partial(_tell, asyncio.get_running_loop(), on_settled)
        return self._producer.publish(event, told, openid=openid)

    async def flush(self, timeout_s: float | None = None) -> None:
        """Wait until the outcome of every event published so far is known; as `EventProducer.flush`."""
        limit_s = self._producer.outcome_within_s if timeout_s is None else timeout_s
        try:
            async with asyncio.timeout(limit_s):
                for delivery in self._producer.open_deliveries():
                    with contextlib.suppress(DeliveryError):
                        await delivery
        except TimeoutError:
            raise UnavailableError(f"Not every event has its outcome within {limit_s:g} s.") from None
        self._producer.flush(LEAVING_S)

    async def close(self, timeout_s: float | None = None) -> None:
        """Wait for the events on their way, at most `timeout_s`, and disconnect; what is left is given up.

        Raises:
            DeliveryError: as `flush`.
        """
        try:
            await self.flush(timeout_s)
        finally:
            with contextlib.suppress(DeliveryError):
                await asyncio.to_thread(self._producer.close, 0)

    @property
    def counts(self) -> QueueCounts:
        """The events since the producer was made, for metrics of your own."""
        return self._producer.counts

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            await self.close()
        else:
            with contextlib.suppress(DeliveryError):
                await self.close()


def _tell(loop: asyncio.AbstractEventLoop, on_settled: OnSettled, failure: DeliveryError | None) -> None:
    # A loop that is closed has nobody who listens.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(on_settled, failure)
