"""The simulated librdkafka as `producers.bulk` uses it: batches, timeouts, purges, news of lost brokers."""

from collections.abc import Callable, Sequence
from typing import Any

from confluent_kafka import KafkaError

from metering.placement import partition_of
from tests.simulation.events import PARTITIONS
from tests.simulation.librdkafka import Librdkafka
from tests.simulation.virtual_time import OUTSIDE

DELIVERY_S = (1.0, 6.0)
"""Delivery timeouts: shorter and longer than a request waits. What was sent may be stored all the same."""

OnDelivery = Callable[[KafkaError | None, "Sent"], None]


class Sent:
    """An event that was handed over; its outcome is told once."""

    def __init__(self, value: bytes, on_delivery: OnDelivery) -> None:
        self._value = value
        self._on_delivery = on_delivery
        self.is_open = True

    def value(self) -> bytes:
        return self._value

    def tell(self, error: KafkaError | None) -> None:
        if self.is_open:
            self.is_open = False
            self._on_delivery(error, self)


class BulkClient:
    """One client of a process; outcomes are told by `poll`."""

    def __init__(self, owner: Librdkafka, on_error: Callable[[KafkaError], None]) -> None:
        self._kafka = owner.kafka
        self._client = owner.connect()
        self._on_error = on_error
        self._open: list[Sent] = []
        self._outcomes: list[tuple[Sent, KafkaError]] = []
        self._knows_up = True
        self._delivery_s = owner.kafka.chance.choice(DELIVERY_S)

    def produce_batch(
        self, topic: str, messages: Sequence[dict[str, Any]], *, on_delivery: OnDelivery
    ) -> int:
        loop = self._kafka.loop
        for message in messages:
            sent = Sent(message["value"], on_delivery)
            self._open.append(sent)
            self._client.produce(
                topic,
                message["value"],
                message["key"],
                partition_of(message["key"], PARTITIONS),
                on_delivery=lambda error, _message, sent=sent: sent.tell(error),  # type: ignore[misc]
            )
            loop.call_at(loop.time() + self._delivery_s, self._expire, sent, context=OUTSIDE)
        return len(messages)

    def poll(self, timeout: float = 0) -> int:
        count = self._client.poll(timeout)
        outcomes, self._outcomes = self._outcomes, []
        for sent, error in outcomes:
            sent.tell(error)
        self._open = [sent for sent in self._open if sent.is_open]
        if self._knows_up != self._kafka.up:
            self._knows_up = self._kafka.up
            if not self._knows_up:
                self._on_error(KafkaError(KafkaError._ALL_BROKERS_DOWN))
        return count + len(outcomes)

    def purge(self, **_options: bool) -> None:
        self._client.purge()
        self._outcomes += [(sent, KafkaError(KafkaError._PURGE_INFLIGHT)) for sent in self._open]

    def _expire(self, sent: Sent) -> None:
        if sent.is_open:
            self._kafka.faults["event of a gateway not confirmed in time"] += 1
            self._outcomes.append((sent, KafkaError(KafkaError._MSG_TIMED_OUT)))
