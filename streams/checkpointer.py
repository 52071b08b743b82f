"""The step that publishes: what batches did, and checkpoints of the state every few seconds.

Until a checkpoint contains a batch, the batch is not acked.
"""

import asyncio
import logging
from functools import partial

from streams.batch_step import Plan, carry_out, plan_checkpoint
from streams.crash_guard import CrashGuard
from streams.in_flight import InFlight
from streams.membership import Membership
from streams.ownership import OwnedPartition, Ownership

logger = logging.getLogger(__name__)

CHECKPOINT_S = 10.0
"""The age at which uncommitted records get a checkpoint: after a crash they are metered again."""

CHECKPOINT_RECORDS = 250_000
"""The number of records at which they do. The more, the more calls of an app share the cost of storing it."""

CHECK_S = 1.0

LAST_CHECKPOINT_S_MAX = 3.0
"""The time for the last checkpoints of a worker that stops; without them some records are metered again."""


class Checkpointer:
    """Carries out plans for the partitions that this worker owns."""

    def __init__(
        self, ownership: Ownership, membership: Membership, in_flight: InFlight, guard: CrashGuard
    ) -> None:
        self._ownership = ownership
        self._membership = membership
        self._in_flight = in_flight
        self._guard = guard

    def is_due(self, owned: OwnedPartition, records: int) -> bool:
        """Return whether a batch of so many records is to come with a checkpoint."""
        uncommitted = owned.progress.uncommitted_records + records
        return uncommitted > CHECKPOINT_RECORDS or owned.checkpoint_age_s() > CHECKPOINT_S

    async def carry_out(self, owned: OwnedPartition, plan: Plan) -> None:
        """Publish a plan and advance the partition; without success the partition is restored.

        Raises:
            streams.membership.PartitionLostError: another worker owns the partition, or will restore it.
        """
        try:
            if plan.header is not None:
                await self._membership.confirm(owned.generation, owned.progress)
                await self._ownership.verify(owned)
            after = await carry_out(plan, partial(self._membership.publish, owned.generation))
        except BaseException:
            self._ownership.release(owned)
            raise
        self._ownership.require(owned)
        owned.advance(after, checkpointed=plan.header is not None)

    async def run(self) -> None:
        """Store checkpoints also where no further batch comes, until cancelled."""
        while True:
            await asyncio.sleep(CHECK_S)
            await self._store_older_than(CHECKPOINT_S)

    async def finish(self) -> None:
        """Store the last checkpoints, so that no record is metered again."""
        try:
            await asyncio.wait_for(self._store_older_than(0.0), LAST_CHECKPOINT_S_MAX)
        except TimeoutError:
            logger.warning("not all states were stored in time: some records will be metered again")

    async def _store_older_than(self, age_s: float) -> None:
        for owned in self._ownership.all():
            if owned.progress.uncommitted_records and owned.checkpoint_age_s() >= age_s:
                async with self._in_flight.slot(owned.number):
                    await self._guard.run(self._store(owned.number))

    async def _store(self, partition: int) -> None:
        owned = self._ownership.get(partition)
        plan = plan_checkpoint(owned.progress) if owned is not None else None
        if owned is not None and plan is not None:
            await self.carry_out(owned, plan)
            owned.ack()
