"""A producer of event batches on librdkafka, for programs that publish many events.

It guarantees the same as `producers.client`: events that the stream would reject are not sent; events of one
app keep their order; an event is delivered once all in-sync replicas have it; memory is bounded. One thread
does everything:

- `publish` checks a batch, passes it on and returns at once;
- `serve` processes outcomes, which arrive at no other moment;
- `finish` waits for open outcomes.

A polling thread would need the interpreter's lock for each event and wait milliseconds for it.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Final, Self

from confluent_kafka import KafkaError, Producer

from metering.events import ClockTicked
from metering.rejections import Rejection
from metering.topics import EVENTS
from producers.clock import wall_clock_ms
from producers.errors import DeliveryError, UnavailableError
from producers.event_batch import BroadcastEvent, CheckedEvent, EventBatch
from producers.event_check import check
from producers.librdkafka import connect, explain
from producers.settings import ProducerSettings

RECORD_OVERHEAD_BYTES: Final = 512
"""Memory per unconfirmed event, besides two copies of its bytes."""

GRACE_S: Final = 5.0
"""Time after the delivery timeout in which an outcome may still arrive."""

SERVE_S: Final = 0.1
"""Longest single wait for outcomes, after which clock and signals are checked."""

OnSettled = Callable[[EventBatch], None]
"""A callback for a batch whose outcomes are all known; the serving thread calls it. Must be quick."""


class BulkProducer:
    """A publisher of event batches. It belongs to one thread.

    As a context manager it waits for all deliveries at the end.

    Args:
        settings: default is those of the environment.
        now_ms: the clock against which the times of events are checked.
    """

    def __init__(
        self, settings: ProducerSettings | None = None, *, now_ms: Callable[[], int] = wall_clock_ms
    ) -> None:
        self._settings = settings or ProducerSettings()
        self._now_ms = now_ms
        self.outcome_timeout_s = self._settings.producer_delivery_timeout_s + GRACE_S
        """Longest time until the outcome of an event is known."""
        self._topic = self._settings.kafka_access.topic(EVENTS)
        self._producer: Producer | None = None
        self._partitions = 0
        self._pending_bytes = 0
        self._last_outcome_s = time.monotonic()
        self._fatal = ""
        self.cluster = ""
        """Id of the Kafka cluster, once connected."""
        self.failure: DeliveryError | None = None
        """Reason why the first unconfirmed event of all was not confirmed."""

    def connect(self) -> None:
        """Connect now rather than with the first batch.

        Raises:
            UnavailableError: no broker answers, or it has no `phone-events`.
        """
        self._connected()

    @property
    def has_room(self) -> bool:
        """True if a batch may be published: less than `producer_buffer_bytes` are unconfirmed."""
        return self._pending_bytes < self._settings.producer_buffer_bytes

    @property
    def idle(self) -> bool:
        """True if no outcome is open."""
        return self._pending_bytes == 0

    def publish(self, values: Sequence[bytes], on_settled: OnSettled | None = None) -> EventBatch:
        """Check events, given as JSON bytes, and send the valid ones in their order.

        Raises:
            UnavailableError: Kafka can't be reached, or there is no room; nothing was checked or sent.
        """
        producer = self._ready()
        batch = EventBatch(values, self._explained, partial(self._settled, on_settled))
        now_ms = self._now_ms()
        messages: list[dict[str, Any]] = []
        for place, value in enumerate(values):
            event = check(value, now_ms=now_ms)
            if isinstance(event, Rejection):
                batch.refusals.append((place, event))
            elif isinstance(event, ClockTicked):
                self._send(producer, batch, messages)
                messages = []
                self._send_everywhere(producer, batch, event.subject.encode(), value)
            else:
                messages.append({"key": event.subject.encode(), "value": value})
        self._send(producer, batch, messages)
        return self._begun(batch)

    def publish_checked(
        self, events: Sequence[CheckedEvent], on_settled: OnSettled | None = None
    ) -> EventBatch:
        """Send events that were checked already, none of which is a clock tick.

        Raises:
            UnavailableError: as `publish` does.
        """
        producer = self._ready()
        batch = EventBatch(
            [event.value for event in events], self._explained, partial(self._settled, on_settled)
        )
        self._send(producer, batch, [event._asdict() for event in events])
        return self._begun(batch)

    def serve(self, timeout_s: float = 0) -> None:
        """Process the outcomes that have arrived, or wait for some, at most `timeout_s`.

        librdkafka has a delivery timeout. But its threads wait by the wall clock, and one that steps back
        prolongs it by as much: when no outcome arrives for too long, all open events are given up here.
        """
        if self._producer is None:
            return
        if self._producer.poll(timeout_s) or self.idle:
            self._last_outcome_s = time.monotonic()
        elif time.monotonic() - self._last_outcome_s > self.outcome_timeout_s:
            self._last_outcome_s = time.monotonic()
            self._give_up()
            if self.idle:
                self._producer = None

    def wait_for_room(self) -> None:
        """Serve until a batch may be published, at the latest when unconfirmed events are given up."""
        while not self.has_room:
            self.serve(SERVE_S)

    def finish(self, timeout_s: float | None = None) -> None:
        """Serve until every outcome is known; what is open after `timeout_s` is given up and has failed."""
        deadline_s = time.monotonic() + (self.outcome_timeout_s if timeout_s is None else timeout_s)
        while not self.idle and time.monotonic() < deadline_s:
            self.serve(SERVE_S)
        self._give_up()

    def stop_sending(self) -> None:
        """Give up what has not left this process, so that it overtakes nothing; `finish` has the outcomes."""
        if self._producer is not None:
            self._producer.purge(in_queue=True, in_flight=False)

    def close(self) -> None:
        """Give up open events, and disconnect."""
        self._give_up()
        self._producer = None

    def __enter__(self) -> Self:
        self.connect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.finish()
        self.close()

    def _ready(self) -> Producer:
        producer = self._connected()
        if not self.has_room:
            raise UnavailableError(
                f"Kafka at {self._settings.kafka} confirms too slowly or not at all: the buffer of "
                f"{self._settings.producer_buffer_bytes} bytes is full."
            )
        return producer

    def _begun(self, batch: EventBatch) -> EventBatch:
        if self.idle:
            self._last_outcome_s = time.monotonic()
        self._pending_bytes += batch.size_bytes
        batch.close()
        return batch

    def _send(self, producer: Producer, batch: EventBatch, messages: list[dict[str, Any]]) -> None:
        if not messages:
            return
        size_bytes = sum(2 * len(message["value"]) for message in messages)
        batch.expect(len(messages), size_bytes + RECORD_OVERHEAD_BYTES * len(messages))
        taken = producer.produce_batch(self._topic, messages, on_delivery=batch.record_outcome)
        if taken < len(messages):
            for message in messages:
                if "_error" in message:
                    batch.record_unsent(message["_error"], message["value"])

    def _send_everywhere(self, producer: Producer, batch: EventBatch, key: bytes, value: bytes) -> None:
        batch.expect(1, (2 * len(value) + RECORD_OVERHEAD_BYTES) * self._partitions)
        broadcast = BroadcastEvent(batch, self._partitions)
        for partition in range(self._partitions):
            producer.produce(self._topic, value, key, partition, on_delivery=broadcast.record_outcome)

    def _settled(self, on_settled: OnSettled | None, batch: EventBatch) -> None:
        self._pending_bytes -= batch.size_bytes
        if on_settled is not None:
            on_settled(batch)

    def _explained(self, error: KafkaError) -> DeliveryError:
        failure = explain(error, self._settings, self._fatal)
        self.failure = self.failure or failure
        return failure

    def _give_up(self) -> None:
        if self._producer is None or self.idle:
            return
        self._producer.purge()
        deadline_s = time.monotonic() + GRACE_S
        while not self.idle and time.monotonic() < deadline_s:
            self.serve(SERVE_S)

    def _connected(self) -> Producer:
        if self._producer is None:
            self._producer, self._partitions, self.cluster = connect(self._settings, self._on_error)
        return self._producer

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal():
            self._fatal = self._fatal or error.str()
