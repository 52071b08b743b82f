"""Events into `phone-events` in bulk: many at a time, on librdkafka, for programs that have a lot of them.

What it promises is what `producers.client` promises: nothing that the stream would reject is sent; events of
one app keep their order; an event counts as delivered once all in-sync replicas have it; memory is bounded.
Here batches are the unit, and one thread does everything:

- `publish` checks a batch, hands it over and returns at once; it never waits;
- `serve` lets outcomes in, which are told at no other moment;
- `finish` waits for what is on its way.

From a thread of its own, librdkafka would have to take the interpreter's lock for each event, and would wait
milliseconds for it whenever this one is busy.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Final, Self

from confluent_kafka import KafkaError, Producer

from metering.events import ClockTicked, Rejection
from metering.topics import EVENTS
from producers.batch import Batch, EveryPartition
from producers.checking import check
from producers.clock import wall_clock_ms
from producers.errors import DeliveryError, UnavailableError
from producers.librdkafka import connect, explain
from producers.settings import ProducerSettings

RECORD_OVERHEAD_BYTES: Final = 512
"""What librdkafka and we keep per unconfirmed event besides two copies of its bytes."""

GRACE_S: Final = 5.0
"""How much longer than the delivery timeout an outcome may take to be told."""

SERVE_S: Final = 0.1
"""How long to wait for outcomes at a time, between two looks at the clock and at signals."""

OnSettled = Callable[[Batch], None]
"""Told a batch when all its outcomes are known, by the thread that serves. Must be quick."""


class BulkProducer:
    """Publishes batches of events. It belongs to one thread.

    As a context manager it waits for all deliveries at the end.

    Args:
        settings: those of the environment unless given.
        now_ms: the clock against which the times of events are checked.
    """

    def __init__(
        self, settings: ProducerSettings | None = None, *, now_ms: Callable[[], int] = wall_clock_ms
    ) -> None:
        self._settings = settings or ProducerSettings()
        self._now_ms = now_ms
        self.outcome_timeout_s = self._settings.producer_delivery_timeout_s + GRACE_S
        """So long may an outcome take to be told."""
        self._producer: Producer | None = None
        self._partitions = 0
        self._pending_bytes = 0
        self._fatal = ""
        self.failure: DeliveryError | None = None
        """Why the first event of all that Kafka did not confirm was not confirmed."""

    def connect(self) -> None:
        """Connect now rather than with the first batch.

        Raises:
            UnavailableError: no broker answers, or it has no `phone-events`.
        """
        self._connected()

    @property
    def has_room(self) -> bool:
        """Whether a batch may be published now: less than `producer_buffer_bytes` wait for confirmation."""
        return self._pending_bytes < self._settings.producer_buffer_bytes

    @property
    def idle(self) -> bool:
        """Whether no outcome is open."""
        return self._pending_bytes == 0

    def publish(self, values: Sequence[bytes], on_settled: OnSettled | None = None) -> Batch:
        """Check events, given as JSON bytes, and send those that may be sent, in their order.

        Raises:
            UnavailableError: Kafka can't be reached, or there is no room; nothing was checked or sent.
        """
        producer = self._connected()
        if not self.has_room:
            raise UnavailableError(
                f"Kafka at {self._settings.kafka} confirms too slowly or not at all: the buffer of "
                f"{self._settings.producer_buffer_bytes} bytes is full."
            )
        batch = Batch(values, self._explained, partial(self._settled, on_settled))
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
        self._pending_bytes += batch.size_bytes
        batch.close()
        return batch

    def serve(self, timeout_s: float = 0) -> None:
        """Let outcomes in: those that are there, or else wait for some, at most so long."""
        if self._producer is not None:
            self._producer.poll(timeout_s)

    def wait_for_room(self) -> None:
        """Serve until a batch may be published. Events that Kafka does not confirm give way after a while."""
        while not self.has_room:
            self.serve(SERVE_S)

    def finish(self, timeout_s: float | None = None) -> None:
        """Serve until every outcome is known; what is open after `timeout_s` is given up, and has failed."""
        deadline_s = time.monotonic() + (self.outcome_timeout_s if timeout_s is None else timeout_s)
        while not self.idle and time.monotonic() < deadline_s:
            self.serve(SERVE_S)
        self._give_up()

    def stop_sending(self) -> None:
        """Give up what has not left this process, so that it overtakes nothing; `finish` tells outcomes."""
        if self._producer is not None:
            self._producer.purge(in_queue=True, in_flight=False)

    def close(self) -> None:
        """Give up what is open, and disconnect."""
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

    def _send(self, producer: Producer, batch: Batch, messages: list[dict[str, Any]]) -> None:
        if not messages:
            return
        size_bytes = sum(2 * len(message["value"]) for message in messages)
        batch.accept(len(messages), size_bytes + RECORD_OVERHEAD_BYTES * len(messages))
        taken = producer.produce_batch(EVENTS, messages, on_delivery=batch.told)
        if taken < len(messages):
            for message in messages:
                if "_error" in message:
                    batch.not_taken(message["_error"], message["value"])

    def _send_everywhere(self, producer: Producer, batch: Batch, key: bytes, value: bytes) -> None:
        batch.accept(1, (2 * len(value) + RECORD_OVERHEAD_BYTES) * self._partitions)
        everywhere = EveryPartition(batch, self._partitions)
        for partition in range(self._partitions):
            producer.produce(EVENTS, value, key, partition, on_delivery=everywhere.told)

    def _settled(self, on_settled: OnSettled | None, batch: Batch) -> None:
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
            self._producer, self._partitions = connect(self._settings, self._on_error)
        return self._producer

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal():
            self._fatal = self._fatal or error.str()
