"""Planted bugs: each removes one guard from the product's code, and the simulation has to find it."""

import asyncio
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final, cast

import msgspec
from confluent_kafka import Message

from metering.ledger import Entry, encode_records
from metering.partition import MeteringResult, meter
from metering.partition_state import PartitionState
from metering.records import Record, RecordRange
from metering.rules import Rules
from metering.state_items import StateHeader, header_of
from sinks.ledger_source import ResumePoint
from sinks.ledger_table import LedgerTable
from sinks.native_columns import Column
from sinks.owned_partition import OwnedPartition
from sinks.position import BEFORE_ALL, Position
from sinks.sink import Sink
from streams.batch_step import OutputRecord, PartitionProgress, Plan, Publish, UncommittedChanges
from streams.membership import Membership
from streams.publisher import Publisher, _Publication
from streams.state_log import ItemVersion, StateLayout
from tests.simulation.kafka import Kafka, Place
from tests.simulation.mutation import Mutation
from tests.simulation.settlement_mutations import OF_SETTLEMENTS

_publish = Publisher.publish
_on_delivery = _Publication.on_delivery
_check = Membership.check
LINES_KEPT: Final = 4


async def _header_first(plan: Plan, publish: Publish) -> PartitionProgress:
    if plan.header is not None:
        await publish((plan.header,))
    await publish(plan.outcome)
    return plan.after


async def _header_without_waiting(plan: Plan, publish: Publish) -> PartitionProgress:
    headers = () if plan.header is None else (plan.header,)
    await asyncio.gather(publish(plan.outcome), publish(headers))
    return plan.after


def _sent_and_forgotten(self: Publisher, records: Sequence[OutputRecord]) -> "asyncio.Future[None]":
    _publish(self, records)
    confirmed = asyncio.get_running_loop().create_future()
    confirmed.set_result(None)
    return confirmed


def _refusal_is_confirmation(self: _Publication, _error: object, _message: object) -> None:
    _on_delivery(self, None, cast("Message", None))


def _without_horizon(state: PartitionState) -> StateHeader:
    return msgspec.structs.replace(header_of(state), horizon_ms=0)


def _one_slot(key: str, version: ItemVersion) -> bytes:
    return f"{key}#{version.epoch}.0".encode()


def _one_epoch(layout: StateLayout, _generation: int) -> StateLayout:
    return layout


def _any_generation(self: Membership, generation: int) -> None:
    if generation > 0:
        _check(self, generation)


async def _confirmed(*_arguments: object) -> None:
    pass


def _only_the_last(self: UncommittedChanges, metered: MeteringResult) -> UncommittedChanges:
    return UncommittedChanges(self.base, (metered.changes,))


def _last_line_cut_off(partition: int, entries: Sequence[Entry]) -> list[bytes]:
    return encode_records(partition, entries[:-1] if len(entries) > LINES_KEPT else entries)


def _no_offset_guard(state: PartitionState, records: Iterable[Record], rules: Rules) -> MeteringResult:
    begin = cast("RecordRange", records).begin
    if begin > state.next_offset:
        state = replace(state, next_offset=begin)
    return meter(state, records, rules)


def _every_gap_is_a_loss(state: PartitionState, records: Iterable[Record], rules: Rules) -> MeteringResult:
    return meter(state, list(records), rules)


def _nothing(*_arguments: object) -> tuple[()]:
    return ()


_write_due = Sink._write_due
_position = LedgerTable.position
_insert = LedgerTable.insert
_seek_back = OwnedPartition.seek_back


def _commit_first(self: Sink) -> None:
    held = {batch.partition: ResumePoint(batch.next_offset, batch.stored) for batch in self._batches}
    self._source.commit(held)
    _write_due(self)


def _committed_is_stored(self: LedgerTable, partition: int) -> Position:
    """Ignore what the table holds at the start, but not later."""
    if partition in self._unsettled:
        self._unsettled.discard(partition)
        return BEFORE_ALL
    return _position(self, partition)


def _forgotten(self: LedgerTable, partition: int, columns: Sequence[Column], after: Position) -> None:
    """Insert without the token of an earlier attempt and without a wait for it."""
    self.forget_tokens()
    try:
        _insert(self, partition, columns, after)
    finally:
        self._unsettled.discard(partition)


def _every_gap_is_honest(self: OwnedPartition, _why: str) -> None:
    self.batch.next_offset += 1


def _second_gap_is_honest(self: OwnedPartition, why: str) -> None:
    if self._seeks_back:
        self.batch.next_offset += 1
        return
    _seek_back(self, why)


def _uncommitted(self: Kafka, place: Place) -> int:
    """The end of the log, beyond open transactions."""
    return self.ends[place]


def _no_difference(*_arguments: object, **_options: object) -> str:
    return ""


def _one_leader_epoch(*_arguments: object) -> int:
    return 0


_SLEEP: Final = ("freeze_worker", "rebalance_workers")

ALL: Final = (
    Mutation("the header goes before the outcome", "streams.checkpointer.carry_out", _header_first),
    Mutation(
        "the header does not wait for the outcome", "streams.checkpointer.carry_out", _header_without_waiting
    ),
    Mutation(
        "the worker does not wait for acknowledgements",
        "streams.publisher.Publisher.publish",
        _sent_and_forgotten,
    ),
    Mutation(
        "a refused record counts as stored",
        "streams.publisher._Publication.on_delivery",
        _refusal_is_confirmation,
        ("freeze_worker",),
    ),
    Mutation("the horizon is not stored", "streams.state_log.header_of", _without_horizon),
    Mutation("versions share one slot", "streams.state_log._record_key", _one_slot),
    Mutation(
        "a checkpoint stores only the last of several batches",
        "streams.batch_step.UncommittedChanges.with_batch",
        _only_the_last,
    ),
    Mutation("workers share one epoch", "streams.state_log.StateLayout.begin_epoch", _one_epoch, _SLEEP),
    Mutation(
        "a worker goes on after the group has removed it",
        "streams.membership.Membership.check",
        _any_generation,
        ("forget_worker",),
    ),
    Mutation(
        "a zombie worker stores a checkpoint without confirming its membership",
        "streams.membership.Membership.confirm",
        _confirmed,
        ("freeze_worker",),
    ),
    Mutation("the last line is cut off", "streams.batch_step.encode_records", _last_line_cut_off),
    Mutation("records ahead are metered as if they came next", "streams.batch_step.meter", _no_offset_guard),
    Mutation(
        "offsets without a record are taken for missing records",
        "streams.batch_step.meter",
        _every_gap_is_a_loss,
    ),
    Mutation("uncommitted records are read", "tests.simulation.kafka.Kafka.stable_end", _uncommitted),
    Mutation("dead letters are left out", "streams.batch_step._dead_letters", _nothing),
    Mutation("the sink commits before it inserts", "sinks.sink.Sink._write_due", _commit_first),
    Mutation(
        "the sink begins without asking what is stored",
        "sinks.ledger_table.LedgerTable.position",
        _committed_is_stored,
    ),
    Mutation(
        "the sink forgets the INSERTs that it left under way",
        "sinks.ledger_table.LedgerTable.insert",
        _forgotten,
    ),
    Mutation(
        "the sink takes every gap for an honest one",
        "sinks.owned_partition.OwnedPartition.seek_back",
        _every_gap_is_honest,
    ),
    Mutation(
        "the sink takes a gap for an honest one when it sees it twice",
        "sinks.owned_partition.OwnedPartition.seek_back",
        _second_gap_is_honest,
    ),
    Mutation(
        "the sink does not go back when its delivery stalls",
        "sinks.owned_partitions.OwnedPartitions.watch",
        _nothing,
    ),
    Mutation("the sink stores the newest line again", "sinks.entry_columns.bisect_right", bisect_left),
    *OF_SETTLEMENTS,
)

OF_ANOTHER_LOG: Final = (
    Mutation("the identity of the log is not compared", "streams.log_watch.difference", _no_difference),
    Mutation(
        "the leader epoch of a record is not compared",
        "tests.simulation.kafka.Kafka.leader_epoch_of",
        _one_leader_epoch,
    ),
)
"""Bugs that only `tests.simulation.other_log` reveals."""
