"""The partitions that this process owns, each with all that it knows of it.

Whenever the group is rebalanced, everything is forgotten and restored from the state topic.
"""

import asyncio
import logging
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from aiokafka.errors import IllegalStateError, KafkaError, KafkaTimeoutError
from faust.types import TP, EventT
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_exponential_jitter

from kafka_access.access import KafkaAccess
from metering.rules import Terms
from streams import metrics
from streams.batch_step import PartitionProgress, fencing_record
from streams.log_watch import LogWatch
from streams.membership import Membership, PartitionLostError
from streams.record_batches import RecordBatchApp
from streams.state_restore import restore_partitions

logger = logging.getLogger(__name__)

RETRY_WAIT_MAX_S = 10.0

FAR_BEHIND_RECORDS = 1_000
"""The least number of known records that are left out by a seek: fewer are skipped as quickly."""


@dataclass(slots=True)
class OwnedPartition:
    """A partition that this process was assigned in a generation of its group.

    Attributes:
        generation: in which it was taken over.
        progress: of metering it.
        checkpointed_s: time of its newest checkpoint, by the event loop's clock.
        unacked: delivered events that no checkpoint contains yet, without their records.
        seek_offset: the offset that the consumer went back to for missing records; None once they came.
        sought_forward: whether the consumer was sent past records that the state has.
    """

    generation: int
    progress: PartitionProgress
    checkpointed_s: float
    unacked: list[EventT[Any]] = field(default_factory=list)
    seek_offset: int | None = None
    sought_forward: bool = False

    @property
    def number(self) -> int:
        """The number of the partition."""
        return self.progress.state.partition

    @property
    def next_offset(self) -> int:
        """The offset that is metered next."""
        return self.progress.state.next_offset

    def checkpoint_age_s(self) -> float:
        """Seconds since the newest checkpoint."""
        return _now_s() - self.checkpointed_s

    def advance(self, after: PartitionProgress, *, checkpointed: bool) -> None:
        """Take over the progress after a plan that was carried out."""
        self.progress = after
        if checkpointed:
            self.checkpointed_s = _now_s()

    def ack(self) -> None:
        """Ack the events that are in the newest checkpoint."""
        if self.progress.uncommitted_records == 0:
            for event in self.unacked:
                event.ack()
            self.unacked.clear()


class Ownership:
    """Takes partitions over, one generation of the group at a time, and keeps what is owned."""

    def __init__(
        self, app: RecordBatchApp, kafka: KafkaAccess, terms: Terms, membership: Membership, log: LogWatch
    ) -> None:
        self._app = app
        self._kafka = kafka
        self._terms = terms
        self._membership = membership
        self._log = log
        self._generation: int | None = None
        self._owned: dict[int, OwnedPartition] = {}
        self._taking_over = asyncio.Lock()

    def all(self) -> list[OwnedPartition]:
        """All owned partitions."""
        return list(self._owned.values())

    def get(self, partition: int) -> OwnedPartition | None:
        """An owned partition; None if it is not owned now."""
        return self._owned.get(partition)

    def assigned(self) -> set[int]:
        """The partitions that the group assigns to this process, whether or not they were taken over yet."""
        return {tp.partition for tp in self._app.consumer.assignment() if tp.topic == self._app.events_topic}

    async def own(self, partition: int, generation: int) -> OwnedPartition:
        """An owned partition, taken over first if it is new in this generation.

        Raises:
            PartitionLostError: the group is in another generation.
        """
        async with self._taking_over:
            self._membership.check(generation)
            if generation != self._generation:
                self._owned.clear()
                self._membership.give_up()
                self._generation = generation
            if partition not in self._owned:
                await self._take_over({partition, *self.assigned()} - self._owned.keys(), generation)
            return self._owned[partition]

    def release(self, owned: OwnedPartition) -> None:
        """Forget a partition whose state may be ahead of the ledger; it is restored when it is needed."""
        if self._owned.get(owned.number) is owned:
            del self._owned[owned.number]

    def require(self, owned: OwnedPartition) -> None:
        """Refuse to go on with a partition that was forgotten in the meantime.

        Raises:
            PartitionLostError: it was.
        """
        if self._owned.get(owned.number) is not owned:
            raise PartitionLostError("the group was rebalanced; the partition was restored in the meantime")

    async def verify(self, owned: OwnedPartition) -> None:
        """Make sure that the log is still the one that was metered, before a checkpoint says so."""
        async for attempt in _retrying():
            with attempt:
                self._membership.check(owned.generation)
                await self._log.verify({owned.number})

    async def seek_back(self, owned: OwnedPartition, offset: int, reason: str) -> None:
        """Go back for missing records, once: what is delivered before them is ahead too and comes again.

        Raises:
            PartitionLostError: the partition is not assigned any more.
        """
        if owned.seek_offset == offset:
            return
        owned.seek_offset = offset
        metrics.SEEKS_BACK.labels(owned.number).inc()
        logger.warning("%s; seeking back", reason)
        await self._seek(owned, offset)

    async def seek_forward(self, owned: OwnedPartition, delivered: int) -> None:
        """Leave out the records from `delivered` on that the state has, once, if they are many.

        So it is when the group's committed offsets have expired and the log is read from its beginning.

        Raises:
            PartitionLostError: the partition is not assigned any more.
        """
        if owned.sought_forward or owned.next_offset - delivered < FAR_BEHIND_RECORDS:
            return
        owned.sought_forward = True
        logger.warning(
            "partition %d is delivered at offset %d and is metered up to %d: the group's offset has expired "
            "or was set back; reading on where the state ends",
            owned.number,
            delivered,
            owned.next_offset,
        )
        await self._seek(owned, owned.next_offset)

    async def _seek(self, owned: OwnedPartition, offset: int) -> None:
        try:
            await self._app.consumer.seek(TP(self._app.events_topic, owned.number), offset)
        except IllegalStateError:
            raise PartitionLostError("the partition was taken away before the worker could seek") from None

    async def _take_over(self, partitions: Collection[int], generation: int) -> None:
        async for attempt in _retrying():
            with attempt:
                restored = await restore_partitions(self._kafka, partitions, generation, self._terms)
                taken_over = await self._log.take_over(restored)
        await self._membership.publish(generation, [fencing_record(each) for each in taken_over.values()])
        for partition, progress in sorted(taken_over.items()):
            self._owned[partition] = OwnedPartition(generation, progress, _now_s())
            metrics.RESTORES.labels(partition).inc()
            next_offset = progress.state.next_offset
            metrics.LAG.take_over(partition, next_offset)
            logger.info("partition %d continues at offset %d", partition, next_offset)


def _retrying() -> AsyncRetrying:
    return AsyncRetrying(
        wait=wait_exponential_jitter(multiplier=0.1, max=RETRY_WAIT_MAX_S),
        retry=retry_if_exception(_passes),
        before_sleep=_log_retry,
        reraise=True,
    )


def _passes(error: BaseException) -> bool:
    """Return true for what ends with a wait, such as a partition without a leader while brokers are down."""
    return isinstance(error, KafkaError) and (error.retriable or isinstance(error, KafkaTimeoutError))


def _log_retry(attempt: RetryCallState) -> None:
    metrics.KAFKA_WAITS.inc()
    error = attempt.outcome.exception() if attempt.outcome else None
    logger.warning("Kafka does not answer (%r); trying again, attempt %d", error, attempt.attempt_number + 1)


def _now_s() -> float:
    return asyncio.get_running_loop().time()
