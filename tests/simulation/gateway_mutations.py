"""Planted bugs of the gateway, which only a run with gateways reveals."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from confluent_kafka import KafkaError

from producers.event_batch import CheckedEvent, EventBatch, PublishedMessage
from producers.gateway.publisher import RequestPublisher
from producers.gateway.repeats import Identity, KeptAnswer, Repeats
from tests.simulation.mutation import Mutation

_record_outcome = EventBatch.record_outcome
_first = Repeats.first


async def _answered_at_once(self: RequestPublisher, events: Sequence[CheckedEvent]) -> EventBatch:
    await self._until_connected()
    self._producer.publish_checked(events)
    self._awake.set()
    sent = EventBatch([event.value for event in events])
    sent.close()
    return sent


def _failure_is_delivery(self: EventBatch, _error: KafkaError | None, message: PublishedMessage) -> None:
    _record_outcome(self, None, message)


def _nothing(*_arguments: object) -> None:
    pass


@contextmanager
def _kept_before_it_is_known(
    self: Repeats, identity: Identity, fingerprint: bytes
) -> Iterator[Callable[[KeptAnswer], None]]:
    with _first(self, identity, fingerprint) as keep:
        keep(KeptAnswer(200, b'{"results":[{"outcome":"accepted"}]}', "application/json"))
        yield keep


OF_GATEWAYS: Final[tuple[Mutation, ...]] = (
    Mutation(
        "the gateway answers before Kafka has confirmed",
        "producers.gateway.publisher.RequestPublisher.publish",
        _answered_at_once,
    ),
    Mutation(
        "events that are given up when the gateway connects anew count as stored",
        "producers.event_batch.EventBatch.record_outcome",
        _failure_is_delivery,
    ),
    Mutation(
        "events that were not confirmed in time count as stored",
        "producers.gateway.examination.Examined.leave_unconfirmed",
        _nothing,
    ),
    Mutation(
        "the answer to a repeat is there before that to the first request",
        "producers.gateway.repeats.Repeats.first",
        _kept_before_it_is_known,
    ),
)
