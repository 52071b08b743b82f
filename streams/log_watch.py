"""The check that the log of events is still the one that was metered.

A topic that was deleted and created again, or that lost its end in an unclean election or a crash, has other
records at the offsets that were metered. The worker keeps a mark of the last metered record, and compares it
with the log at each takeover, before each checkpoint and every few seconds. Within one leader epoch a log
only grows, so one record is enough. After a change of epoch, the marks of all batches since the last check
are compared, from the oldest up to the first one of the newest epoch.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple, Protocol

import msgspec

from metering import topics
from metering.log_identity import NO_EPOCH, Mark, PartitionView, difference, refusal
from streams import metrics
from streams.batch_step import PartitionProgress

WAY_OUT = (
    "restore the topic, or have `phonemeter replay --confirm --new-ledger` meter what it holds now, from its "
    "beginning"
)


class LogChangedError(Exception):
    """The log of events is not the one that was metered, or lacks the next record."""


class Viewer(Protocol):
    """The part of `streams.log_view.LogViewer` that is used here."""

    async def look(self, offsets: Mapping[int, int]) -> dict[int, PartitionView]:
        """Return views of partitions, as `LogViewer.look` does."""


class MeteredEnd(NamedTuple):
    """The end of what was metered of a partition: the next offset, and the mark of the log up to there."""

    next_offset: int
    mark: Mark

    @staticmethod
    def of(progress: PartitionProgress) -> "MeteredEnd":
        """The end of what a state contains."""
        return MeteredEnd(progress.state.next_offset, progress.mark)


class LogWatch:
    """Keeps what this process has metered of each partition since the last check, and compares it."""

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self._trails: dict[int, list[MeteredEnd]] = {}

    def add(self, progress: PartitionProgress) -> None:
        """Add what was metered; it was in the log, even if it is never stored."""
        end = MeteredEnd.of(progress)
        trail = self._trails.setdefault(progress.state.partition, [])
        if not trail or end.next_offset > trail[-1].next_offset:
            trail.append(end)

    async def take_over(self, restored: Mapping[int, PartitionProgress]) -> dict[int, PartitionProgress]:
        """Compare restored states with the log; a state without a mark takes the topic's id.

        Raises:
            LogChangedError: the log is another one, or lacks the next record.
            aiokafka.errors.KafkaError: the brokers don't answer now.
        """
        views = await self._check({number: MeteredEnd.of(progress) for number, progress in restored.items()})
        identified = {number: _identified(progress, views[number]) for number, progress in restored.items()}
        for progress in identified.values():
            self.add(progress)
        # This process may have metered further before it restored the state.
        await self.verify(
            number
            for number, progress in identified.items()
            if self._trails[number][-1] != MeteredEnd.of(progress)
        )
        return identified

    async def verify(self, partitions: Iterable[int]) -> dict[int, Mark]:
        """Compare what was metered of these partitions with the log; returns the marks with leader epochs.

        Raises:
            LogChangedError: the log is another one.
            aiokafka.errors.KafkaError: the brokers don't answer now.
        """
        trails = {number: tuple(self._trails[number]) for number in partitions if number in self._trails}
        views = await self._check({number: trail[-1] for number, trail in trails.items()})
        verified = {}
        for number, trail in trails.items():
            found = views[number].found
            epoch = NO_EPOCH if found is None else found.leader_epoch
            if epoch != trail[0].mark.leader_epoch:
                await self._check_until(epoch, number, trail[:-1])
            verified[number] = msgspec.structs.replace(trail[-1].mark, leader_epoch=epoch)
            # Another check may have ended in the meantime and shortened the trail.
            newer = [end for end in self._trails[number] if end.next_offset > trail[-1].next_offset]
            self._trails[number] = [trail[-1]._replace(mark=verified[number]), *newer]
        return verified

    async def _check_until(self, epoch: int, partition: int, trail: Iterable[MeteredEnd]) -> None:
        """Compare from the oldest on, up to the first record of that epoch."""
        for end in trail:
            found = (await self._check({partition: end}))[partition].found
            if found is not None and found.leader_epoch == epoch:
                return

    async def _check(self, ends: Mapping[int, MeteredEnd]) -> dict[int, PartitionView]:
        views = await self._viewer.look({number: end.mark.offset for number, end in ends.items()})
        for number, end in ends.items():
            differs = difference(end.mark, end.next_offset, views[number])
            metrics.LOG_CHANGED.labels(number).set(bool(differs))
            if differs:
                raise LogChangedError(refusal(topics.EVENTS, number, differs, WAY_OUT))
        return views


def _identified(progress: PartitionProgress, view: PartitionView) -> PartitionProgress:
    """The same progress, with the log's id and leader epoch in its mark."""
    mark = progress.mark
    if not mark.topic_id:
        mark = msgspec.structs.replace(mark, topic_id=view.topic_id)
    if view.found is not None:
        mark = msgspec.structs.replace(mark, leader_epoch=view.found.leader_epoch)
    return replace(progress, mark=mark)
