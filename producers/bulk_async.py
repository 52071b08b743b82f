"""`BulkProducer` for programs on asyncio, such as an HTTP gateway: publishing is awaited, and bounded."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, Self

from producers.bulk import BulkProducer
from producers.event_batch import EventBatch
from producers.settings import ProducerSettings

SERVE_S: Final = 0.002
"""Interval of processing outcomes while some are awaited: short beside `producer_linger_ms`."""


class AsyncBulkProducer:
    """A publisher of event batches for one event loop, as many at a time as its memory limit permits.

    As a context manager it connects, and waits for all deliveries at the end.
    """

    def __init__(self, settings: ProducerSettings | None = None) -> None:
        self._settings = settings or ProducerSettings()
        self._producer = BulkProducer(self._settings)
        self._awaited = asyncio.Event()
        self._served = asyncio.Event()
        self._serving: asyncio.Task[None] | None = None

    async def publish(self, values: Sequence[bytes]) -> EventBatch:
        """Check events, given as JSON bytes, send the valid ones, and wait for their outcomes.

        Returns:
            The batch, settled: its `refusals` were not sent, and its `failure` is None if Kafka confirmed all
            others. Cancelling does not take back what was sent.

        Raises:
            UnavailableError: there was no room for `producer_block_s`; nothing was sent.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.producer_block_s):
                while not self._producer.has_room:
                    await self._served.wait()
        settled: asyncio.Future[EventBatch] = asyncio.get_running_loop().create_future()

        def settle(batch: EventBatch) -> None:
            if not settled.done():
                settled.set_result(batch)

        self._producer.publish(values, settle)
        self._awaited.set()
        return await settled

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._producer.connect)
        self._serving = asyncio.create_task(self._serve())
        return self

    async def __aexit__(self, *_: object) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._producer.outcome_timeout_s):
                while not self._producer.idle:
                    await self._served.wait()
        if self._serving is not None:
            self._serving.cancel()
        self._producer.close()

    async def _serve(self) -> None:
        while True:
            await self._awaited.wait()
            self._producer.serve()
            if self._producer.idle:
                self._awaited.clear()
            served, self._served = self._served, asyncio.Event()
            served.set()
            await asyncio.sleep(SERVE_S)
