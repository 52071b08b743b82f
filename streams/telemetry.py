"""What only Faust and Kafka know: rebalances, commits, where the log ends, how late the event loop is."""

import asyncio
import logging
from time import perf_counter
from typing import Any

from faust.sensors import Sensor
from faust.types import TP, AppT
from faust.types.transports import ConsumerT

from metering import topics
from streams import metrics

logger = logging.getLogger(__name__)

BEAT_S = 0.5
ENDS_EVERY_BEATS = 4
ENDS_TIMEOUT_S = 5.0


class FaustSensor(Sensor):
    """Counts and times what Faust does for the group."""

    def on_rebalance_start(self, app: AppT) -> dict[str, float]:
        """Faust gives back the result when the rebalance ends."""
        del app
        metrics.REBALANCES.inc()
        return {"began_s": perf_counter()}

    def on_rebalance_end(self, app: AppT, state: dict[str, float]) -> None:
        """A rebalance is over, recovery included."""
        del app
        metrics.REBALANCE_SECONDS.observe(perf_counter() - state["began_s"])

    def on_commit_initiated(self, consumer: ConsumerT) -> float:
        """Faust gives back the result when the commit is done."""
        del consumer
        return perf_counter()

    def on_commit_completed(self, consumer: ConsumerT, state: float) -> None:
        """The broker has the offsets."""
        del consumer
        metrics.COMMIT_SECONDS.observe(perf_counter() - state)


async def observe(app: AppT) -> None:
    """Watch the event loop, what is assigned and where the log ends, until cancelled."""
    beats = 0
    while True:
        due_s = perf_counter() + BEAT_S
        await asyncio.sleep(BEAT_S)
        metrics.EVENT_LOOP_LAG.observe(max(0.0, perf_counter() - due_s))
        beats += 1
        if beats % ENDS_EVERY_BEATS == 0 and not app.rebalancing:
            try:
                await _ask_for_ends(app.consumer)
            except Exception as error:  # noqa: BLE001 - who only watches must not end the worker
                logger.debug("the ends of the log are not to be had (%r); asking again", error)


async def _ask_for_ends(consumer: Any) -> None:  # noqa: ANN401 - Faust's consumer is not typed
    owned = [tp for tp in consumer.assignment() if tp.topic == topics.EVENTS]
    metrics.assigned(tp.partition for tp in owned)
    if not owned:
        return
    ends = await asyncio.wait_for(consumer.highwaters(*(TP(*tp) for tp in owned)), ENDS_TIMEOUT_S)
    for tp, end in ends.items():
        metrics.LAG.ends_at(tp.partition, end)
