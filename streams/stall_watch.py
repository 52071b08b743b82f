"""The watch for partitions that stall: behind their end no later delivery shows that records are missing."""

import asyncio
import logging
from collections.abc import Collection
from dataclasses import replace

from aiokafka.errors import KafkaError
from faust.types import TP

from streams.crash_guard import CrashGuard
from streams.in_flight import InFlight
from streams.log_watch import LogWatch
from streams.ownership import OwnedPartition, Ownership
from streams.record_batches import RecordBatchApp

logger = logging.getLogger(__name__)

WATCH_S = 5.0
"""The time without progress, although the log goes on, after which the worker goes back."""


class StallWatch:
    """Sends the consumer back where nothing is delivered, and checks that the log is the same one."""

    def __init__(
        self, app: RecordBatchApp, ownership: Ownership, log: LogWatch, in_flight: InFlight, guard: CrashGuard
    ) -> None:
        self._app = app
        self._ownership = ownership
        self._log = log
        self._in_flight = in_flight
        self._guard = guard
        self._last_offsets: dict[int, int] = {}

    async def run(self) -> None:
        """Look every few seconds, until cancelled."""
        while True:
            await asyncio.sleep(WATCH_S)
            if self._app.rebalancing:
                continue
            async with self._in_flight.all_slots():
                await self._guard.run(self._look())
                self._last_offsets = {owned.number: owned.next_offset for owned in self._ownership.all()}
            await self._guard.run(self._verify_log())

    async def _look(self) -> None:
        generation = self._app.consumer_generation_id
        for partition in self._ownership.assigned():
            # A partition without a delivery since the rebalance is taken over all the same.
            await self._ownership.own(partition, generation)
        assigned = self._ownership.assigned()
        stalled = [
            owned
            for owned in self._ownership.all()
            if owned.next_offset == self._last_offsets.get(owned.number) and owned.number in assigned
        ]
        try:
            await self._seek_back(stalled)
        except (KafkaError, TimeoutError) as error:
            logger.warning("the ends of the log are not available now (%r); trying again", error)

    async def _seek_back(self, stalled: Collection[OwnedPartition]) -> None:
        tps = {TP(self._app.events_topic, owned.number): owned for owned in stalled}
        ends = await asyncio.wait_for(self._app.consumer.highwaters(*tps), WATCH_S) if tps else {}
        for tp, end in ends.items():
            owned = tps[TP(*tp)]
            if owned.next_offset < end:
                owned.seek_offset = None
                reason = f"partition {owned.number} stands at {owned.next_offset} of {end}"
                await self._ownership.seek_back(owned, owned.next_offset, reason)

    async def _verify_log(self) -> None:
        """Notice within seconds that the log is another one, also where nothing is delivered."""
        try:
            verified = await self._log.verify([owned.number for owned in self._ownership.all()])
        except KafkaError as error:
            logger.warning("the log cannot be compared now (%r); trying again", error)
            return
        for partition, mark in verified.items():
            owned = self._ownership.get(partition)
            if owned is not None and owned.progress.mark.offset == mark.offset:
                owned.progress = replace(owned.progress, mark=mark)
