"""The order of work for a batch, on which "nothing lost, nothing counted twice" rests (DESIGN section 4).

1. Meter. A working state is changed by it, so if one of the next steps fails, it is read back.
2. Publish what the batch did (ledger, alerts, dead letters); wait until the broker has all of it.
3. Now and then, with a batch or without one, publish what changed of the state since the last time. These
   items are not valid yet: that takes their header, which is published once the broker has them and the
   outcome of every batch that they contain. So the stored state is never ahead of the ledger.
4. Only then may these batches be acked, which lets their offsets be committed.

A crash meters the records since the newest header again, from the state that it stands for, and publishes
the same lines again; whoever stores them knows them by their identity. What the header has is skipped.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import msgspec

from metering import dead_letters, topics
from metering.alerts import alert_of
from metering.ledger import encode_records
from metering.partition import Changes, Metered, PartitionState, Record, meter
from metering.rules import Rules
from metering.state_items import changed_items
from streams.state_log import Placement, StateRecord


class Outgoing(NamedTuple):
    """A record to publish."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None


Publish = Callable[[Sequence[Outgoing]], Awaitable[None]]
"""Publishes records, in order per partition, and returns once the broker has acknowledged all of them."""


@dataclass(frozen=True, slots=True)
class Unstored:
    """What happened to a state since its newest checkpoint.

    Attributes:
        since: the state of that checkpoint, as far as it is needed to see what changed.
        changes: what each batch changed.
    """

    since: PartitionState
    changes: tuple[Changes, ...] = ()

    @staticmethod
    def nothing(state: PartitionState) -> "Unstored":
        """What holds of a state that is stored. It does not keep what the state goes on without."""
        ids = msgspec.structs.replace(state.ids, segments=())
        return Unstored(
            PartitionState(state.partition, state.next_offset, uncovered=state.uncovered, ids=ids)
        )

    def grown(self, metered: Metered) -> "Unstored":
        """With one more batch."""
        return replace(self, changes=(*self.changes, metered.changes))

    def changed_items(self, state: PartitionState) -> dict[str, bytes | None]:
        """The items of the state that are to be stored."""
        return changed_items(self.since, state, Changes.all_of(self.changes))


@dataclass(frozen=True, slots=True)
class Held:
    """What a worker holds of a partition: its state, where the state topic has it, what it has not yet."""

    state: PartitionState
    placement: Placement
    unstored: Unstored

    @staticmethod
    def stored(state: PartitionState, placement: Placement) -> "Held":
        """A state that the topic has all of."""
        return Held(state, placement, Unstored.nothing(state))

    @property
    def unstored_records(self) -> int:
        """How many records would be metered again after a crash."""
        return self.state.next_offset - self.stored_offset

    @property
    def stored_offset(self) -> int:
        """The next offset of the newest checkpoint."""
        return self.unstored.since.next_offset


@dataclass(frozen=True, slots=True)
class Work:
    """What is to be published, in one step or two, and what holds once it is.

    Attributes:
        outcome: the first step.
        header: the second, which makes a checkpoint valid; None if there is none.
        after: what is held then.
    """

    outcome: tuple[Outgoing, ...]
    header: Outgoing | None
    after: Held


@dataclass(frozen=True, slots=True)
class BatchWork(Work):
    """The work of a batch, and what the batch did."""

    metered: Metered


def plan(held: Held, records: Iterable[Record], rules: Rules, *, store: bool = True) -> BatchWork | None:
    """Meter a batch and lay out what is to be published; None where the state has all of it already.

    Args:
        held: of the partition; if its state is a working one, what comes after takes its place whatever
            becomes of the work.
        records: of the batch, in the order of their offsets.
        rules: to meter by.
        store: whether to store the state as well.

    Raises:
        metering.partition.OffsetGapError: records are missing before the batch.
    """
    metered = meter(held.state, records, rules)
    if metered.state.next_offset == held.state.next_offset:
        return None
    partition = held.state.partition
    outcome = (*_ledger(partition, metered), *_alerts(partition, metered), *_dead_letters(partition, metered))
    after = Held(metered.state, held.placement, held.unstored.grown(metered))
    if not store:
        return BatchWork(outcome, None, after, metered)
    stored = _stored(after)
    return BatchWork((*outcome, *stored.outcome), stored.header, stored.after, metered)


def checkpoint(held: Held) -> Work | None:
    """Lay out the checkpoint of a state; None if the topic has it already."""
    return _stored(held) if held.unstored_records else None


def _stored(held: Held) -> Work:
    state = held.state
    laid_out = held.placement.checkpoint(state, held.unstored.changed_items(state))
    items = tuple(_state(state.partition, record) for record in laid_out.items)
    return Work(items, _state(state.partition, laid_out.header), Held.stored(state, laid_out.after))


def claim(held: Held) -> Outgoing:
    """The record that a worker publishes before anything else for a partition that it has taken over."""
    return _state(held.state.partition, held.placement.header(held.state))


async def carry_out(work: Work, publish: Publish) -> Held:
    """Publish the outcome and then, when all of it is acknowledged, the header if there is one."""
    if work.outcome:
        await publish(work.outcome)
    if work.header is not None:
        await publish((work.header,))
    return work.after


def _ledger(partition: int, metered: Metered) -> Iterable[Outgoing]:
    for value in encode_records(partition, metered.entries):
        yield Outgoing(topics.LEDGER, partition, None, value)


def _alerts(partition: int, metered: Metered) -> Iterable[Outgoing]:
    for entry in metered.alerts:
        value = msgspec.json.encode(alert_of(partition, entry))
        yield Outgoing(topics.ALERTS, partition, entry.appid.encode(), value)


def _dead_letters(partition: int, metered: Metered) -> Iterable[Outgoing]:
    for letter in metered.dead_letters:
        yield Outgoing(topics.DEAD_LETTERS, partition, None, dead_letters.encode(letter))


def _state(partition: int, record: StateRecord) -> Outgoing:
    return Outgoing(topics.STATE, partition, record.key, record.value)
