"""Publishing from the event loop: each request waits for Kafka, and none waits for a Kafka that is away.

Nothing is kept for later: what was not confirmed was not accepted. While no broker answers, events are
refused before they are handed over, so that a client may send them elsewhere or again without a guess.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Final

from confluent_kafka import KafkaError

from producers.bulk import BulkProducer
from producers.errors import UnavailableError
from producers.event_batch import CheckedEvent, EventBatch
from producers.settings import ProducerSettings

log = logging.getLogger(__name__)

SERVE_S: Final = 0.001
"""Interval of processing outcomes while some are awaited: short beside `LINGER_MS_MAX`."""

IDLE_S: Final = 0.1
"""The same while none is awaited: then only the news that the brokers are gone may come."""

LINGER_MS_MAX: Final = 5
"""Limit of the time that an event waits for others: a client waits for it."""

STALLED_S: Final = 5.0
"""Time without any outcome after which Kafka counts as away, whatever its connections say."""

RECONNECT_WITHIN_S: Final = 1.0
"""Time for which an event waits for a connection that was just lost, and may be back at once."""

CONNECT_WITHIN_S: Final = 3.0
PAUSE_S: Final = 0.5


class _WatchedProducer(BulkProducer):
    """A producer that tells when the last broker is gone, and when it can't go on."""

    def __init__(self, settings: ProducerSettings, on_lost: Callable[[], None]) -> None:
        super().__init__(settings)
        self._on_lost = on_lost

    def _on_error(self, error: KafkaError) -> None:
        super()._on_error(error)
        if error.fatal() or error.code() == KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 - its public name
            self._on_lost()


class RequestPublisher:
    """A publisher for one event loop, connected again and again by `run`.

    Attributes:
        trouble: why no events are taken now; empty if they are.
        has_connected: True once Kafka has answered for the first time.
    """

    def __init__(self, settings: ProducerSettings, answer_s: float) -> None:
        linger_ms = min(settings.producer_linger_ms, LINGER_MS_MAX)
        self._settings = settings.model_copy(
            update={"producer_linger_ms": linger_ms, "producer_block_s": CONNECT_WITHIN_S}
        )
        self._answer_s = answer_s
        self._producer = _WatchedProducer(self._settings, self._lose)
        self._connected = asyncio.Event()
        self._awake = asyncio.Event()
        self._lost = False
        self._progress_s = time.monotonic()
        self.trouble = "The gateway is connecting to Kafka."
        self.has_connected = False

    @property
    def cluster(self) -> str:
        """Id of the Kafka cluster; empty if unknown."""
        return self._producer.cluster

    async def run(self) -> None:
        """Keep the connection to Kafka and process outcomes, until cancelled."""
        while True:
            await self._connect()
            await self._serve()

    async def publish(self, events: Sequence[CheckedEvent]) -> EventBatch:
        """Send events, and wait for their outcomes.

        Returns:
            The batch; one that is not settled after `answer_s` has events that may still be stored.

        Raises:
            UnavailableError: Kafka is away, or the buffer is full; nothing was sent.
        """
        await self._until_connected()
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[None] = loop.create_future()

        def answer() -> None:
            if not answered.done():
                answered.set_result(None)

        def settle(batch: EventBatch) -> None:
            if batch.delivered:
                self._recover()
            answer()

        if self._producer.idle:
            self._progress_s = time.monotonic()
        batch = self._producer.publish_checked(events, settle)
        self._awake.set()
        late = loop.call_later(self._answer_s, answer)
        try:
            await answered
        finally:
            late.cancel()
        return batch

    async def close(self, within_s: float) -> None:
        """Wait for what is under way, and disconnect; `run` must have ended."""
        await asyncio.to_thread(self._producer.finish, within_s)
        self._producer.close()

    async def _until_connected(self) -> None:
        if not self._connected.is_set() and not self.trouble:
            try:
                async with asyncio.timeout(RECONNECT_WITHIN_S):
                    await self._connected.wait()
            except TimeoutError:
                pass
        if self.trouble or not self._connected.is_set():
            raise UnavailableError(self.trouble or f"Kafka at {self._settings.kafka} does not answer.")

    async def _connect(self) -> None:
        while True:
            self._producer = _WatchedProducer(self._settings, self._lose)
            try:
                await asyncio.to_thread(self._producer.connect)
            except UnavailableError as error:
                if str(error) != self.trouble:
                    log.warning("%s Trying again.", error)
                self.trouble, self.has_connected = str(error), True
                await asyncio.sleep(PAUSE_S)
            else:
                break
        if self.trouble:
            log.info("Connected to Kafka at %s.", self._settings.kafka)
        self.has_connected = True
        self._recover()
        self._connected.set()

    async def _serve(self) -> None:
        """Process outcomes until the connection is lost and no outcome is open."""
        while not (self._lost and self._producer.idle):
            self._producer.serve()
            if not self._producer.idle:
                if time.monotonic() - self._progress_s > STALLED_S:
                    self._lose()
                if self._lost and not self.trouble:
                    self.trouble = f"Kafka at {self._settings.kafka} confirms nothing at the moment."
                    log.warning("%s", self.trouble)
                await asyncio.sleep(SERVE_S)
                continue
            self._awake.clear()
            try:
                async with asyncio.timeout(IDLE_S):
                    await self._awake.wait()
            except TimeoutError:
                pass

    def _lose(self) -> None:
        self._lost = True
        self._connected.clear()

    def _recover(self) -> None:
        self._lost = False
        self._progress_s = time.monotonic()
        self.trouble = ""
        self._connected.set()
