"""The worker's membership of its consumer group: it publishes and stores only while it is a member."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from faust.types import TP

from streams import metrics
from streams.batch_step import OutputRecord, PartitionProgress
from streams.publisher import GivenUpError, Publisher
from streams.record_batches import RecordBatchApp

logger = logging.getLogger(__name__)

CONFIRMED_S = 5.0
"""The wait for Kafka after which a missing confirmation is logged."""


class PartitionLostError(Exception):
    """This worker has to drop its progress in a partition: another one owns it, or it has to be restored."""


class Membership:
    """Publishes for one worker, within the generations of its group."""

    def __init__(self, app: RecordBatchApp, publisher: Publisher) -> None:
        self._app = app
        self._publisher = publisher

    def check(self, generation: int) -> None:
        """Refuse to go on for an older generation.

        Raises:
            PartitionLostError: the group has moved on.
        """
        # A heartbeat that is refused between a rebalance and its callback leaves the generation at -1.
        if self._app.consumer_generation_id != generation or generation < 1:
            raise PartitionLostError("the group was rebalanced; the batch goes to the partition's new owner")

    def give_up(self) -> None:
        """Drop all open publications: the group was rebalanced."""
        self._publisher.give_up()

    async def publish(self, generation: int, records: Sequence[OutputRecord]) -> None:
        """Publish records, and return once the broker has all of them.

        Raises:
            PartitionLostError: they were given up after a rebalance, or because nothing was confirmed.
            streams.publisher.PublishRefusedError: Kafka refuses them.
        """
        self.check(generation)
        outcome = self._publisher.publish(records)
        await self._wait(outcome, generation, "confirm what was published")
        try:
            outcome.result()
        except GivenUpError as given_up:
            raise PartitionLostError(f"{given_up}; the partition's owner meters the batch again") from None

    async def confirm(self, generation: int, progress: PartitionProgress) -> None:
        """Ask the group whether this worker is still a member, before each checkpoint.

        A process that was suspended may be a zombie without knowing it. Its ledger entries do no harm, since
        its successor publishes the same, but two of its checkpoints would overwrite items that the successor
        builds on.

        Raises:
            PartitionLostError: it is not a member any more.
        """
        self.check(generation)
        tp = TP(self._app.events_topic, progress.state.partition)
        answer = asyncio.ensure_future(self._app.still_owns({tp: progress.checkpoint_offset}))
        try:
            await self._wait(answer, generation, "confirm the membership of the group")
        finally:
            answer.cancel()
        self.check(generation)
        if not answer.result():
            raise PartitionLostError("the group was rebalanced without this worker")

    async def _wait(self, answer: asyncio.Future[Any], generation: int, expected: str) -> None:
        """Wait for Kafka while the generation lasts."""
        while not (await asyncio.wait({answer}, timeout=CONFIRMED_S))[0]:
            metrics.KAFKA_WAITS.inc()
            logger.warning("Kafka does not %s; waiting on", expected)
            self.check(generation)
