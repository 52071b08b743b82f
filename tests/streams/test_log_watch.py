"""The check that the log is still the one that was metered, against a broker in memory."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace

import pytest

from metering.log_identity import NO_OFFSET, FoundRecord, Mark, PartitionView, fingerprint
from metering.partition_state import PartitionState
from metering.records import Record
from metering.rules import Rules
from streams import metrics
from streams.batch_step import PartitionProgress, plan_batch
from streams.log_watch import LogChangedError, LogWatch
from streams.state_log import StateLayout
from tests.streams.building import taps


class Broker:
    """A log of one partition, with records and their leader epochs."""

    def __init__(self) -> None:
        self.topic_id = "one"
        self.begin = 0
        self.log: list[Record] = []
        self.epochs: list[int] = []
        self.looked_at: list[int] = []

    def append(self, records: list[Record], epoch: int) -> list[Record]:
        moved = [
            Record(len(self.log) + place, record.recorded_at_ms, record.key, record.value)
            for place, record in enumerate(records)
        ]
        self.log += moved
        self.epochs += [epoch] * len(moved)
        return moved

    def cut(self, end: int) -> None:
        del self.log[end:]
        del self.epochs[end:]

    async def look(self, offsets: Mapping[int, int]) -> dict[int, PartitionView]:
        self.looked_at += offsets.values()
        return {partition: self._view(offset) for partition, offset in offsets.items()}

    def _view(self, offset: int) -> PartitionView:
        found = None
        if self.begin <= offset < len(self.log):
            record = self.log[offset]
            known_by = fingerprint(record.key, record.value, record.recorded_at_ms)
            found = FoundRecord(known_by, self.epochs[offset])
        return PartitionView(self.topic_id, self.begin, len(self.log), found)


class SlowBroker:
    """A broker that answers each request when its event is set."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.answers: list[asyncio.Event] = []

    async def look(self, offsets: Mapping[int, int]) -> dict[int, PartitionView]:
        answer = self.answers[-1]
        await answer.wait()
        return await self._broker.look(offsets)


def meter_more(progress: PartitionProgress, records: list[Record]) -> PartitionProgress:
    work = plan_batch(progress, records, Rules(), store=False)
    assert work is not None
    return work.after


async def watch_ten_records(broker: Broker) -> tuple[LogWatch, PartitionProgress]:
    """A watch over a partition with ten records that were metered and verified."""
    watch = LogWatch(broker)
    progress = (
        await watch.take_over({0: PartitionProgress.at_checkpoint(PartitionState(0), StateLayout())})
    )[0]
    progress = meter_more(progress, broker.append(list(taps(0, 10)), epoch=1))
    watch.add(progress)
    verified = await watch.verify({0})
    assert verified == {0: Mark("one", 9, progress.mark.fingerprint, 1)}
    return watch, replace(progress, mark=verified[0])


async def test_a_log_that_grows_within_one_epoch_takes_one_look() -> None:
    broker = Broker()
    watch, progress = await watch_ten_records(broker)
    for first in (10, 20):
        progress = meter_more(progress, broker.append(list(taps(first, first + 10)), epoch=1))
        watch.add(progress)
    broker.looked_at.clear()
    await watch.verify({0})
    assert broker.looked_at == [29]


async def test_a_new_log_is_looked_at_only_up_to_where_its_newest_epoch_begins() -> None:
    broker = Broker()
    watch = LogWatch(broker)
    progress = (
        await watch.take_over({0: PartitionProgress.at_checkpoint(PartitionState(0), StateLayout())})
    )[0]
    for first, epoch in ((0, 0), (10, 0), (20, 1), (30, 1), (40, 1)):
        progress = meter_more(progress, broker.append(list(taps(first, first + 10)), epoch))
        watch.add(progress)
    broker.looked_at.clear()
    await watch.verify({0})
    assert broker.looked_at == [49, NO_OFFSET, 9, 19, 29]


async def test_a_look_that_ends_after_a_later_one_undoes_nothing() -> None:
    broker = Broker()
    watch, progress = await watch_ten_records(broker)
    slow = SlowBroker(broker)
    watch._viewer = slow
    ends = []
    for first in (10, 20):
        progress = meter_more(progress, broker.append(list(taps(first, first + 10)), epoch=1))
        watch.add(progress)
        slow.answers.append(asyncio.Event())
        ends.append(asyncio.create_task(watch.verify({0})))
        await asyncio.sleep(0)
    for answer, end in zip(reversed(slow.answers), reversed(ends), strict=True):
        answer.set()
        await end
    watch._viewer = broker
    broker.cut(25)
    with pytest.raises(LogChangedError, match="it ends at offset 25, but was read up to 30"):
        await watch.verify({0})


async def test_another_leader_of_the_same_log_changes_nothing() -> None:
    broker = Broker()
    watch, progress = await watch_ten_records(broker)
    for first, epoch in ((10, 1), (20, 2)):
        progress = meter_more(progress, broker.append(list(taps(first, first + 10)), epoch))
        watch.add(progress)
    assert (await watch.verify({0}))[0].leader_epoch == 2
    assert (metrics.LOG_CHANGED.labels(0)._value.get()) == 0


async def test_a_lost_end_is_noticed_while_nothing_is_delivered() -> None:
    broker = Broker()
    watch, _ = await watch_ten_records(broker)
    broker.cut(6)
    with pytest.raises(LogChangedError, match=r"phone-events partition 0 is not the log .* ends at offset 6"):
        await watch.verify({0})
    assert metrics.LOG_CHANGED.labels(0)._value.get() == 1


async def test_a_lost_end_that_was_filled_again_is_noticed() -> None:
    broker = Broker()
    watch, _ = await watch_ten_records(broker)
    broker.cut(6)
    broker.append(list(taps(50, 60)), epoch=2)
    with pytest.raises(
        LogChangedError, match=r"at offset 9 it has another record .*replay --confirm --new-l"
    ):
        await watch.verify({0})


async def test_an_end_that_was_lost_between_two_looks_is_noticed_although_metering_went_past_it() -> None:
    broker = Broker()
    watch, progress = await watch_ten_records(broker)
    progress = meter_more(progress, broker.append(list(taps(10, 20)), epoch=1))
    watch.add(progress)
    broker.cut(12)
    refilled = broker.append(list(taps(50, 70)), epoch=2)
    progress = meter_more(progress, [record for record in refilled if record.offset >= 20])
    watch.add(progress)
    with pytest.raises(LogChangedError, match="at offset 19 it has another record"):
        await watch.verify({0})


async def test_a_topic_that_was_created_again_and_filled_further_is_noticed() -> None:
    broker = Broker()
    watch, _ = await watch_ten_records(broker)
    broker.topic_id = "two"
    broker.append(list(taps(10, 50)), epoch=1)
    with pytest.raises(LogChangedError, match="recreated"):
        await watch.verify({0})


async def test_a_checkpoint_identifies_its_log_at_the_next_start() -> None:
    broker = Broker()
    _, progress = await watch_ten_records(broker)
    stored = PartitionProgress.at_checkpoint(progress.state, replace(progress.layout, mark=progress.mark))
    assert (await LogWatch(broker).take_over({0: stored}))[0].mark == progress.mark
    broker.cut(9)
    broker.append(list(taps(50, 60)), epoch=1)
    with pytest.raises(LogChangedError, match="at offset 9"):
        await LogWatch(broker).take_over({0: stored})


async def test_records_metered_after_the_checkpoint_are_checked_too() -> None:
    broker = Broker()
    watch, progress = await watch_ten_records(broker)
    stored = PartitionProgress.at_checkpoint(progress.state, replace(progress.layout, mark=progress.mark))
    watch.add(meter_more(progress, broker.append(list(taps(10, 20)), epoch=1)))
    assert (await watch.take_over({0: stored}))[0].state.next_offset == 10
    broker.cut(15)
    with pytest.raises(LogChangedError, match="ends at offset 15, but was read up to 20"):
        await watch.take_over({0: stored})


async def test_the_deletion_of_metered_records_is_accepted_and_that_of_unmetered_ones_is_refused() -> None:
    broker = Broker()
    watch, _ = await watch_ten_records(broker)
    broker.begin = 10
    await watch.verify({0})
    fresh = PartitionProgress.at_checkpoint(PartitionState(0), StateLayout())
    with pytest.raises(LogChangedError, match="begins at offset 10, but 0 is next"):
        await LogWatch(broker).take_over({0: fresh})
