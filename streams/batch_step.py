"""The order of work for a batch, on which "nothing lost, nothing counted twice" rests (DESIGN section 4).

1. Meter on values: the state that the partition stands at is not changed by it.
2. Publish what the batch did (ledger, alerts, dead letters) and the changed items of the state; wait
   until the broker has all of it. The items are not valid yet: that takes their header.
3. Publish the header and wait: from here on the batch is in the state, which is not ahead of the ledger.
4. Only then may the batch be acked, which lets its offset be committed.

A crash before 3 meters the same records again from the same state and publishes the same lines again; whoever
stores them knows them by their identity. A crash after 3 finds the records in the state and skips them.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from metering import dead_letters, topics
from metering.alerts import alert_of
from metering.ledger import encode_records
from metering.partition import Metered, PartitionState, Record, meter
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
class Held:
    """What a worker holds of a partition: its state, and where the state topic has it."""

    state: PartitionState
    placement: Placement


@dataclass(frozen=True, slots=True)
class Work:
    """What a batch asks to be published, in two steps, and what holds once it is."""

    metered: Metered
    outcome: tuple[Outgoing, ...]
    header: Outgoing
    after: Held


def plan(held: Held, records: Iterable[Record], rules: Rules) -> Work | None:
    """Meter a batch and lay out what is to be published; None where the state has all of it already.

    Raises:
        metering.partition.OffsetGapError: records are missing before the batch.
    """
    metered = meter(held.state, records, rules)
    if metered.state.next_offset == held.state.next_offset:
        return None
    checkpoint = held.placement.checkpoint(metered.state, changed_items(held.state, metered))
    partition = held.state.partition
    return Work(
        metered,
        (
            *_ledger(partition, metered),
            *_alerts(partition, metered),
            *_dead_letters(partition, metered),
            *(_state(partition, record) for record in checkpoint.items),
        ),
        _state(partition, checkpoint.header),
        Held(metered.state, checkpoint.after),
    )


def claim(held: Held) -> Outgoing:
    """The record that a worker publishes before anything else for a partition that it has taken over."""
    return _state(held.state.partition, held.placement.header(held.state))


async def carry_out(work: Work, publish: Publish) -> Held:
    """Publish a batch's outcome and then, when all of it is acknowledged, the header that makes it valid."""
    await publish(work.outcome)
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
