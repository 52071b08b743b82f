"""Planted bugs: each takes one guard out of the product's code. The simulation has to find every one."""

import asyncio
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final, cast
from unittest.mock import patch

from confluent_kafka import Message

from metering.ledger import Entry, encode_records
from metering.partition import Metered, PartitionState, Record, meter
from metering.rules import Rules
from sinks.columns import Column
from sinks.lines import BEFORE_ALL, Position
from sinks.sink import Sink
from sinks.source import Start
from sinks.store import Store
from streams.batch_step import Held, Outgoing, Publish, Unstored, Work
from streams.publishing import Publisher, _Publication
from streams.state_log import Placed, Placement
from streams.worker import Worker
from tests.simulation.world import World

_publish = Publisher.publish
_told = _Publication.told
_check_generation = Worker._check_generation
LINES_KEPT: Final = 4


@dataclass(frozen=True)
class Mutation:
    """A bug: what it does, and the code that is put in another's place."""

    name: str
    target: str
    code: Callable[..., Any]
    misfortunes: tuple[str, ...] = ()
    """What happens in the search, if not everything: a guard is missed only when its accident happens."""

    @contextmanager
    def planted(self) -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(patch(self.target, self.code))
            yield

    @contextmanager
    def looked_for(self) -> Iterator[None]:
        """Have happen what brings it out."""
        with ExitStack() as stack:
            if self.misfortunes:
                chosen = tuple(getattr(World, name) for name in self.misfortunes)
                stack.enter_context(patch("tests.simulation.world._INJECTIONS", chosen))
            yield


async def _header_first(work: Work, publish: Publish) -> Held:
    if work.header is not None:
        await publish((work.header,))
    await publish(work.outcome)
    return work.after


async def _header_without_waiting(work: Work, publish: Publish) -> Held:
    headers = () if work.header is None else (work.header,)
    await asyncio.gather(publish(work.outcome), publish(headers))
    return work.after


def _sent_and_forgotten(self: Publisher, records: Sequence[Outgoing]) -> "asyncio.Future[None]":
    _publish(self, records)
    confirmed = asyncio.get_running_loop().create_future()
    confirmed.set_result(None)
    return confirmed


def _refusal_is_confirmation(self: _Publication, _error: object, _message: object) -> None:
    _told(self, None, cast("Message", None))


def _one_slot(key: str, placed: Placed) -> bytes:
    return f"{key}#{placed.epoch}.0".encode()


def _one_epoch(placement: Placement, _generation: int) -> Placement:
    return placement


def _any_generation(self: Worker, generation: int) -> None:
    if generation > 0:
        _check_generation(self, generation)


async def _confirmed(*_arguments: object) -> None:
    pass


def _only_the_last(self: Unstored, metered: Metered) -> Unstored:
    return Unstored(self.since, (metered.changes,))


def _last_line_cut_off(partition: int, entries: Sequence[Entry]) -> list[bytes]:
    return encode_records(partition, entries[:-1] if len(entries) > LINES_KEPT else entries)


def _no_offset_guard(state: PartitionState, records: Iterable[Record], rules: Rules) -> Metered:
    batch = list(records)
    if batch[0].offset > state.next_offset:
        state = replace(state, next_offset=batch[0].offset)
    return meter(state, batch, rules)


def _nothing(*_arguments: object) -> tuple[()]:
    return ()


_write_due = Sink._write_due
_position = Store.position
_insert = Store.insert
_go_back_for = Sink._go_back_for


def _commits_first(self: Sink) -> None:
    held = {batch.partition: Start(batch.next_offset, batch.stored) for batch in self._batches.values()}
    self._source.commit(held)
    _write_due(self)


def _committed_is_stored(self: Store, partition: int) -> Position:
    """Once it has begun it knows better, but what it finds at the beginning it does not believe."""
    if partition in self._unsure:
        self._unsure.discard(partition)
        return BEFORE_ALL
    return _position(self, partition)


def _forgotten(self: Store, partition: int, columns: Sequence[Column], after: Position) -> None:
    """Neither the token of another attempt nor the wait for it keeps this one from being stored as well."""
    self.forget_tokens()
    try:
        _insert(self, partition, columns, after)
    finally:
        self._unsure.discard(partition)


def _every_gap_is_honest(_self: Sink, batch: Any, _why: str) -> None:  # noqa: ANN401 - a batch
    batch.next_offset += 1


def _second_gap_is_honest(self: Sink, batch: Any, why: str) -> None:  # noqa: ANN401 - a batch
    if self._seeks_back[batch.partition]:
        batch.next_offset += 1
        return
    _go_back_for(self, batch, why)


_SLEEP: Final = ("freeze_worker", "divide_workers")

ALL: Final = (
    Mutation("the header goes before the outcome", "streams.worker.carry_out", _header_first),
    Mutation("the header does not wait for the outcome", "streams.worker.carry_out", _header_without_waiting),
    Mutation(
        "acknowledgements are not waited for",
        "streams.publishing.Publisher.publish",
        _sent_and_forgotten,
    ),
    Mutation(
        "what Kafka refuses is taken for stored",
        "streams.publishing._Publication.told",
        _refusal_is_confirmation,
    ),
    Mutation("versions share one slot", "streams.state_log._record_key", _one_slot),
    Mutation("of several batches the last is stored", "streams.batch_step.Unstored.grown", _only_the_last),
    Mutation("workers share one epoch", "streams.state_log.Placement.taken_over", _one_epoch, _SLEEP),
    Mutation(
        "a worker that the group forgot goes on",
        "streams.worker.Worker._check_generation",
        _any_generation,
        ("forget_worker",),
    ),
    Mutation(
        "a worker that stood still stores without asking whether the group still knows it",
        "streams.worker.Worker._confirm",
        _confirmed,
        ("freeze_worker",),
    ),
    Mutation("the last line is cut off", "streams.batch_step.encode_records", _last_line_cut_off),
    Mutation("records ahead are metered as if they came next", "streams.batch_step.meter", _no_offset_guard),
    Mutation("dead letters are left out", "streams.batch_step._dead_letters", _nothing),
    Mutation("the sink commits before it inserts", "sinks.sink.Sink._write_due", _commits_first),
    Mutation(
        "the sink begins without asking what is stored", "sinks.store.Store.position", _committed_is_stored
    ),
    Mutation("the sink forgets the INSERTs that it left under way", "sinks.store.Store.insert", _forgotten),
    Mutation(
        "the sink takes every gap for an honest one", "sinks.sink.Sink._go_back_for", _every_gap_is_honest
    ),
    Mutation(
        "the sink believes a gap that it sees twice", "sinks.sink.Sink._go_back_for", _second_gap_is_honest
    ),
    Mutation("the sink waits for what does not come", "sinks.sink.Sink._look_after", _nothing),
    Mutation("the sink stores the newest line again", "sinks.lines.bisect_right", bisect_left),
)
