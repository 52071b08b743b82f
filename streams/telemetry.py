"""Metrics of what only Faust and Kafka know: rebalances, commits, ends of the log, event loop delays."""

import asyncio
import logging
from time import perf_counter
from typing import Any

from faust.sensors import Sensor
from faust.types import TP, AppT
from faust.types.transports import ConsumerT

from streams import metrics

logger = logging.getLogger(__name__)

BEAT_S = 0.5
ENDS_EVERY_BEATS = 4
ENDS_TIMEOUT_S = 5.0


class FaustSensor(Sensor):
    """Counts and times rebalances and commits."""

    def on_rebalance_start(self, app: AppT) -> dict[str, float]:
        """Begin to time a rebalance; Faust passes the result to `on_rebalance_end`."""
        del app
        metrics.REBALANCES.inc()
        return {"began_s": perf_counter()}

    def on_rebalance_end(self, app: AppT, state: dict[str, float]) -> None:
        """Time a rebalance, recovery included."""
        del app
        metrics.REBALANCE_SECONDS.observe(perf_counter() - state["began_s"])

    def on_commit_initiated(self, consumer: ConsumerT) -> float:
        """Begin to time a commit; Faust passes the result to `on_commit_completed`."""
        del consumer
        return perf_counter()

    def on_commit_completed(self, consumer: ConsumerT, state: float) -> None:
        """Time a commit."""
        del consumer
        metrics.COMMIT_SECONDS.observe(perf_counter() - state)


async def observe(app: AppT, topic: str) -> None:
    """Observe the event loop, the assignment and the ends of the log, until cancelled."""
    beats, ends = 0, _LogEnds(topic)
    while True:
        due_s = perf_counter() + BEAT_S
        await asyncio.sleep(BEAT_S)
        metrics.EVENT_LOOP_LAG.observe(max(0.0, perf_counter() - due_s))
        beats += 1
        if beats % ENDS_EVERY_BEATS == 0 and not app.rebalancing:
            try:
                await ends.observe(app.consumer)
            except Exception as error:  # noqa: BLE001 - observation must not end the worker
                logger.debug("the ends of the log are not available now (%r); trying again", error)


class _LogEnds:
    """The ends of the assigned partitions, and the open transactions before them."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._held_up_at: dict[int, int] = {}
        self._reported: dict[int, int] = {}

    async def observe(self, consumer: Any) -> None:  # noqa: ANN401 - Faust's consumer is not typed
        """Ask for the ends of the assigned partitions and update the metrics."""
        assigned = [tp for tp in consumer.assignment() if tp.topic == self._topic]
        metrics.observe_assignment(tp.partition for tp in assigned)
        if not assigned:
            return
        ends = await asyncio.wait_for(consumer.highwaters(*(TP(*tp) for tp in assigned)), ENDS_TIMEOUT_S)
        held_up_at = {}
        for tp, end in ends.items():
            held_up = consumer.held_up(tp)
            metrics.LAG.set_end(tp.partition, end, held_up)
            if held_up:
                held_up_at[tp.partition] = end
                self._report(tp.partition, end, held_up)
        self._held_up_at = held_up_at

    def _report(self, partition: int, end: int, records: int) -> None:
        """Log a transaction once, if it was open at the last look already."""
        if self._held_up_at.get(partition) == end != self._reported.get(partition):
            self._reported[partition] = end
            logger.warning(
                "%s partition %d can be read up to offset %d only: a transaction of a producer has been open "
                "there for a while, and holds up %d records until it is committed, aborted or timed out",
                self._topic,
                partition,
                end,
                records,
            )
