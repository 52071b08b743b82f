"""The order of work for a batch, which makes metering effectively once.

1. Meter. This changes a working state, so if a later step fails, the state is restored.
2. Publish what the batch did (ledger, alerts, dead letters) and wait for all acknowledgements.
3. Every few seconds, publish a checkpoint: the items of the state that changed since the last one. They are
   valid with their header, which is published once the broker has them and the outcome of every batch that
   they contain. So the stored state is never ahead of the ledger.
4. Ack these batches, so that their offsets are committed.

After a crash the records since the newest header are metered again from its state. That publishes the same
ledger entries, which consumers know by their identity. Records that the state contains are skipped.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import msgspec

from metering import dead_letters, topics
from metering.alerts import alert_of
from metering.ledger import encode_records
from metering.log_identity import Mark, fingerprint
from metering.partition import MeteringResult, StateChanges, meter
from metering.partition_state import PartitionState
from metering.records import Record
from metering.rules import Rules
from metering.state_items import changed_items
from streams.state_log import StateLayout, StateRecord


class OutputRecord(NamedTuple):
    """A record to publish."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None


Publish = Callable[[Sequence[OutputRecord]], Awaitable[None]]
"""Publishes records, in order per partition, and returns once the broker has acknowledged all of them."""


@dataclass(frozen=True, slots=True)
class UncommittedChanges:
    """The changes of a state since its newest checkpoint.

    Attributes:
        base: the state of that checkpoint, as far as it is needed to find what changed.
        changes: of each batch.
    """

    base: PartitionState
    changes: tuple[StateChanges, ...] = ()

    @staticmethod
    def none_since(state: PartitionState) -> "UncommittedChanges":
        """No changes since a state. It does not keep in memory what later states drop."""
        ids = msgspec.structs.replace(state.ids, segments=())
        return UncommittedChanges(
            PartitionState(state.partition, state.next_offset, uncovered=state.uncovered, ids=ids)
        )

    def with_batch(self, metered: MeteringResult) -> "UncommittedChanges":
        """These and the changes of one more batch."""
        return replace(self, changes=(*self.changes, metered.changes))

    def changed_items(self, state: PartitionState) -> dict[str, bytes | None]:
        """The items of the state that a checkpoint has to store."""
        return changed_items(self.base, state, StateChanges.all_of(self.changes))


@dataclass(frozen=True, slots=True)
class PartitionProgress:
    """The progress of metering a partition: its state, and what of it no checkpoint has yet.

    Attributes:
        state: of the partition.
        layout: of the newest checkpoint in the state topic.
        uncommitted: the changes since that checkpoint.
        mark: of the log at the state's next offset.
    """

    state: PartitionState
    layout: StateLayout
    uncommitted: UncommittedChanges
    mark: Mark

    @staticmethod
    def at_checkpoint(state: PartitionState, layout: StateLayout) -> "PartitionProgress":
        """The progress when the state topic has all of the state."""
        return PartitionProgress(state, layout, UncommittedChanges.none_since(state), layout.mark)

    @property
    def uncommitted_records(self) -> int:
        """Number of records that are metered again after a crash."""
        return self.state.next_offset - self.checkpoint_offset

    @property
    def checkpoint_offset(self) -> int:
        """The next offset of the newest checkpoint."""
        return self.uncommitted.base.next_offset


@dataclass(frozen=True, slots=True)
class Plan:
    """The records to publish, in one step or two, and the progress after them.

    Attributes:
        outcome: the first step.
        header: the second, which makes a checkpoint valid; None without one.
        after: the progress once both are acknowledged.
    """

    outcome: tuple[OutputRecord, ...]
    header: OutputRecord | None
    after: PartitionProgress


@dataclass(frozen=True, slots=True)
class BatchPlan(Plan):
    """The plan for a batch, and what the batch did."""

    metered: MeteringResult


def plan_batch(
    progress: PartitionProgress, records: Sequence[Record], rules: Rules, *, store: bool = True
) -> BatchPlan | None:
    """Meter a batch and plan what to publish; None if the state contains all of it.

    A working state in `progress` is used up, whatever becomes of the plan. `store` includes a checkpoint.

    Raises:
        metering.partition.OffsetGapError: records are missing before the batch.
    """
    metered = meter(progress.state, records, rules)
    if metered.state.next_offset == progress.state.next_offset:
        return None
    partition = progress.state.partition
    outcome = (*_ledger(partition, metered), *_alerts(partition, metered), *_dead_letters(partition, metered))
    after = PartitionProgress(
        metered.state,
        progress.layout,
        progress.uncommitted.with_batch(metered),
        _mark_after(progress.mark, records[-1:]),
    )
    if not store:
        return BatchPlan(outcome, None, after, metered)
    stored = _checkpoint(after)
    return BatchPlan((*outcome, *stored.outcome), stored.header, stored.after, metered)


def plan_checkpoint(progress: PartitionProgress) -> Plan | None:
    """Plan a checkpoint; None if the state topic has all of the state."""
    return _checkpoint(progress) if progress.uncommitted_records else None


def _checkpoint(progress: PartitionProgress) -> Plan:
    state = progress.state
    layout = replace(progress.layout, mark=progress.mark)
    records = layout.checkpoint(state, progress.uncommitted.changed_items(state))
    return Plan(
        tuple(_state(state.partition, record) for record in records.items),
        _state(state.partition, records.header),
        PartitionProgress.at_checkpoint(state, records.after),
    )


def fencing_record(progress: PartitionProgress) -> OutputRecord:
    """The first record that is published after a takeover; it fences off the last owner."""
    layout = replace(progress.layout, mark=progress.mark)
    return _state(progress.state.partition, layout.header(progress.state))


async def carry_out(plan: Plan, publish: Publish) -> PartitionProgress:
    """Publish the outcome and, when all of it is acknowledged, the header."""
    if plan.outcome:
        await publish(plan.outcome)
    if plan.header is not None:
        await publish((plan.header,))
    return plan.after


def _mark_after(mark: Mark, last: Sequence[Record]) -> Mark:
    """The mark after a batch with this last record, if any. Its leader epoch is not known yet."""
    if not last or last[0].offset <= mark.offset:
        return mark
    known_by = fingerprint(last[0].key, last[0].value, last[0].recorded_at_ms)
    return Mark(mark.topic_id, last[0].offset, known_by)


def _ledger(partition: int, metered: MeteringResult) -> Iterable[OutputRecord]:
    for value in encode_records(partition, metered.entries):
        yield OutputRecord(topics.LEDGER, partition, None, value)


def _alerts(partition: int, metered: MeteringResult) -> Iterable[OutputRecord]:
    for entry in metered.alerts:
        value = msgspec.json.encode(alert_of(partition, entry))
        yield OutputRecord(topics.ALERTS, partition, entry.appid.encode(), value)


def _dead_letters(partition: int, metered: MeteringResult) -> Iterable[OutputRecord]:
    for letter in metered.dead_letters:
        yield OutputRecord(topics.DEAD_LETTERS, partition, None, dead_letters.encode(letter))


def _state(partition: int, record: StateRecord) -> OutputRecord:
    return OutputRecord(topics.STATE, partition, record.key, record.value)
