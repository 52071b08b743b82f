"""`BulkProducer` for programs on asyncio, such as an HTTP gateway: publishing is awaited, and bounded."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from producers.batch import Batch
from producers.bulk import BulkProducer
from producers.settings import ProducerSettings

SERVE_S: Final = 0.002
"""How often outcomes are let in while some are awaited: little beside `producer_linger_ms`."""


class AsyncBulkProducer:
    """Publishes batches of events from one event loop, as many at a time as there is memory for.

    As a context manager it connects, and waits for all deliveries at the end.
    """

    def __init__(self, settings: ProducerSettings | None = None) -> None:
        self._settings = settings or ProducerSettings()
        self._producer = BulkProducer(self._settings)
        self._awaited = asyncio.Event()
        self._served = asyncio.Event()
        self._serving: asyncio.Task[None] | None = None

    async def publish(self, values: Sequence[bytes]) -> Batch:
        """Check events, given as JSON bytes, send those that may be sent, and wait for their outcomes.

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
        settled: asyncio.Future[Batch] = asyncio.get_running_loop().create_future()

        def tell(batch: Batch) -> None:
            if not settled.done():
                settled.set_result(batch)

        self._producer.publish(values, tell)
        self._awaited.set()
        return await settled

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._producer.connect)
        self._serving = asyncio.create_task(self._serve())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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
