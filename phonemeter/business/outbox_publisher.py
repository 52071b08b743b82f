"""The publisher of the outbox: a part of the console that brings facts to Kafka, and tells what waits."""

import asyncio
import contextlib
import logging
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from prometheus_client import CollectorRegistry

from dashboards.console.metrics import OutboxMetrics
from dashboards.console.page_guard import ConsolePage
from metering.times import format_time
from phonemeter.business.outbox import Outbox, OutboxBacklog, WaitingFact
from phonemeter.errors import OperationError
from producers.client import EventProducer
from producers.clock import wall_clock_ms
from producers.errors import DeliveryError, ProducerError, RefusedError
from producers.settings import ProducerSettings

log = logging.getLogger(__name__)

LOOK_S: Final = 0.5
"""Interval of looking for new facts."""

FACTS_MAX: Final = 500
"""Facts that are read at once."""

DELETED_MAX: Final = 500
"""Old facts that are deleted at once."""

DELETE_S: Final = 600.0
"""Interval of looking for old facts."""

PAUSE_S: Final = 1.0
PAUSE_S_MAX: Final = 60.0
"""Pauses of an app whose fact was not confirmed; they double up to the longest."""

DELIVERY_S: Final = 10.0
"""Time for Kafka to confirm a fact: it is tried again in any case."""

LATE_MS: Final = 60_000
"""Age of a fact from which on it is told as a trouble."""


class OutboxPublisher:
    """The part of the console that publishes the outbox, the facts of an app one after the other.

    Several consoles on one database may publish a fact twice, as may one that is killed between publishing
    and noting it: the worker knows the id.

    Args:
        outbox: in the business database.
        settings: of the connection to Kafka.
        registry: for the metrics.
    """

    def __init__(self, outbox: Outbox, settings: ProducerSettings, registry: CollectorRegistry) -> None:
        self._outbox = outbox
        # Each fact is waited for by itself.
        changes = {"producer_delivery_timeout_s": DELIVERY_S, "producer_linger_ms": 0}
        self._settings = settings.model_copy(update=changes)
        self._metrics = OutboxMetrics(registry)
        self._pauses: dict[str, float] = {}
        self._paused_until_s: dict[str, float] = {}
        self._trouble = ""
        self._delete_at_s = 0.0

    @property
    def pages(self) -> Sequence[ConsolePage]:
        """No pages."""
        return ()

    def troubles(self) -> Sequence[str]:
        """The troubles of now."""
        return [self._trouble] if self._trouble else []

    async def run(self) -> None:
        """Publish what waits, until cancelled."""
        producer = EventProducer(self._settings)
        try:
            while True:
                try:
                    await self.publish_waiting(producer)
                    await self.delete_old()
                except OperationError as error:
                    # The console's health tells of the database itself.
                    log.warning("The outbox can't be read: %s", error)
                await asyncio.sleep(LOOK_S)
        finally:
            with contextlib.suppress(DeliveryError):
                producer.close(timeout_s=0)

    async def publish_waiting(self, producer: EventProducer) -> None:
        """Publish what waits once, and tell what waits still."""
        now_s = time.monotonic()
        paused = [appid for appid, until_s in self._paused_until_s.items() if until_s > now_s]
        facts = await asyncio.to_thread(self._outbox.waiting, FACTS_MAX, paused)
        by_app: dict[str, list[WaitingFact]] = defaultdict(list)
        for fact in facts:
            by_app[fact.appid].append(fact)
        await asyncio.gather(*(self._publish_in_order(producer, of_app) for of_app in by_app.values()))
        self._tell(await asyncio.to_thread(self._outbox.backlog))

    async def delete_old(self) -> None:
        """Delete a batch of old facts, if it is time to look for some; while there are more, it is."""
        if time.monotonic() < self._delete_at_s:
            return
        count = await asyncio.to_thread(self._outbox.delete_published, DELETED_MAX)
        if count < DELETED_MAX:
            self._delete_at_s = time.monotonic() + DELETE_S
        if count:
            log.info("%d old fact(s) were deleted from the outbox.", count)

    async def _publish_in_order(self, producer: EventProducer, facts: Sequence[WaitingFact]) -> None:
        """Publish the facts of one app up to the first that fails, which is tried again after a pause."""
        for fact in facts:
            try:
                await producer.publish(fact.event)
            except ProducerError as error:
                self._pause(fact.appid)
                self._metrics.published.labels(
                    "refused" if isinstance(error, RefusedError) else "failed"
                ).inc()
                await asyncio.to_thread(self._outbox.note_trouble, fact.place, str(error))
                log.warning("A fact about %s waits in the outbox: %s", fact.appid, error)
                return
            self._pauses.pop(fact.appid, None)
            self._paused_until_s.pop(fact.appid, None)
            await asyncio.to_thread(self._outbox.mark_published, fact.place)
            self._metrics.published.labels("published").inc()

    def _pause(self, appid: str) -> None:
        pause_s = min(2 * self._pauses.get(appid, PAUSE_S / 2), PAUSE_S_MAX)
        self._pauses[appid] = pause_s
        self._paused_until_s[appid] = time.monotonic() + pause_s

    def _tell(self, backlog: OutboxBacklog) -> None:
        oldest_at_ms = backlog.oldest_at_ms
        age_ms = 0 if oldest_at_ms is None else max(0, wall_clock_ms() - oldest_at_ms)
        self._metrics.waiting.set(backlog.count)
        self._metrics.oldest_seconds.set(age_ms / 1_000)
        if oldest_at_ms is None or age_ms < LATE_MS:
            self._trouble = ""
            return
        self._trouble = (
            f"{backlog.count} fact(s) of the console wait for Kafka since {format_time(oldest_at_ms)}: "
            f"{backlog.trouble or 'none was tried yet.'}"
        )
