"""The producer: events into `phone-events`, each with the place where Kafka stored it or the reason why not.

What it promises: nothing that the stream would reject is sent; events of one app keep their order; an event
counts as delivered once all in-sync replicas have it; memory and waiting are bounded.
"""

import contextlib
import math
import threading
import time
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Final, NamedTuple, Self

from kafka import KafkaProducer
from kafka.errors import KafkaError, KafkaTimeoutError
from kafka.producer.future import FutureRecordMetadata

from metering.events import AnyEvent, ClockTicked, Rejection
from metering.topics import EVENTS
from producers.checking import check
from producers.clock import wall_clock_ms
from producers.connection import connect, dispose, explain
from producers.errors import DeliveryError, ProducerError, RefusedError, UnavailableError
from producers.events import CloudEvent, to_json
from producers.settings import ProducerSettings

RECORD_OVERHEAD_BYTES: Final = 2_048
"""What the client library and we keep per unconfirmed event besides its bytes."""

GRACE_S: Final = 5.0
"""How much longer than the delivery timeout an outcome may take to be told."""

RETRY_PAUSE_S: Final = 1.0
"""For so long after a failed attempt to connect, publishing fails at once, or callers would queue up."""


class Place(NamedTuple):
    """Where an event is stored in `phone-events`."""

    partition: int
    offset: int


class Delivery:
    """The outcome of one published event, now or later."""

    __slots__ = ("_futures", "_kafka", "_timeout_s")

    def __init__(self, futures: list[FutureRecordMetadata], kafka: str, timeout_s: float) -> None:
        self._futures = futures
        self._kafka = kafka
        self._timeout_s = timeout_s

    @property
    def done(self) -> bool:
        """Whether the outcome is known."""
        return all(future.is_done for future in self._futures)

    def result(self, timeout_s: float | None = None) -> Place:
        """Wait until Kafka has confirmed the event, and tell its place (of a clock tick: the first).

        Raises:
            DeliveryError: Kafka did not confirm it, or not within `timeout_s`.
        """
        return self.places(timeout_s)[0]

    def places(self, timeout_s: float | None = None) -> list[Place]:
        """As `result`, of every partition: a clock tick goes to each, everything else to one."""
        deadline_s = time.monotonic() + (self._timeout_s if timeout_s is None else timeout_s)
        return [self._place(future, deadline_s) for future in self._futures]

    def _place(self, future: FutureRecordMetadata, deadline_s: float) -> Place:
        try:
            stored = future.get(timeout=max(0.0, deadline_s - time.monotonic()))
        except KafkaError as error:
            raise explain(error, self._kafka) from None
        return Place(stored.partition, stored.offset)


OnSettled = Callable[[DeliveryError | None], None]
"""Told once per event, from the sending thread: None when delivered, else why not. Must be quick."""


class EventProducer:
    """Publishes events; safe to share between threads, one per process is enough.

    It connects when it is first used. As a context manager it waits for all deliveries at the end.

    Args:
        settings: those of the environment unless given.
        now_ms: the clock against which the times of events are checked.
        patient: wait for room in the buffer as long as deliveries may take, for programs that no user waits
            for; otherwise as long as `producer_block_s`.
    """

    def __init__(
        self,
        settings: ProducerSettings | None = None,
        *,
        now_ms: Callable[[], int] = wall_clock_ms,
        patient: bool = False,
    ) -> None:
        self._settings = settings or ProducerSettings()
        self._now_ms = now_ms
        self._outcome_timeout_s = self._settings.producer_delivery_timeout_s + GRACE_S
        self._room_timeout_s = self._outcome_timeout_s if patient else self._settings.producer_block_s
        self._connecting = threading.Lock()
        self._producer: KafkaProducer | None = None
        self._closed = False
        self._retry_not_before_s = 0.0
        self._unavailable = ""
        self._changed = threading.Condition()
        self._open: dict[_Settlement, float] = {}
        self._pending_bytes = 0
        self._failures = 0
        self._first_failure: DeliveryError | None = None

    def connect(self) -> None:
        """Connect now rather than with the first event.

        Raises:
            UnavailableError: no broker answers, or it has no `phone-events`.
        """
        self._connected()

    def publish(self, event: CloudEvent | bytes, on_settled: OnSettled | None = None) -> Delivery:
        """Check one event and hand it to the sending thread.

        Args:
            event: a CloudEvent, as a dict or as its JSON bytes.
            on_settled: told the outcome; the returned `Delivery` tells it as well.

        Raises:
            RefusedError: the event itself is wrong; nothing was sent.
            UnavailableError: Kafka can't be reached, or the buffer stays full; nothing was sent.
        """
        value = event if isinstance(event, bytes) else to_json(event)
        return self._send(self._checked(value), value, on_settled)

    def flush(self, timeout_s: float | None = None) -> None:
        """Wait until the outcome of every event published so far is known.

        Raises:
            DeliveryError: some since the last flush were not delivered, or are still open after `timeout_s`.
        """
        limit_s = self._outcome_timeout_s if timeout_s is None else timeout_s
        with self._changed:
            settled = self._changed.wait_for(lambda: self._pending_bytes == 0, limit_s)
            failures, first = self._failures, self._first_failure
            self._failures, self._first_failure = 0, None
        if not settled:
            raise UnavailableError(
                f"Kafka at {self._settings.kafka} has not confirmed every event within {limit_s:g} s."
            )
        if first is not None:
            raise DeliveryError(f"{failures} event(s) were not delivered, the first because: {first}")

    def close(self, timeout_s: float | None = None) -> None:
        """Wait for the events on their way, at most `timeout_s`, and disconnect; what is left is given up.

        Raises:
            DeliveryError: as `flush`.
        """
        with self._connecting:
            self._closed = True
            producer, self._producer = self._producer, None
        if producer is None:
            return
        try:
            self.flush(timeout_s)
        finally:
            dispose(producer, give_up=self._pending_bytes > 0)

    def __enter__(self) -> Self:
        self.connect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            with contextlib.suppress(DeliveryError):
                self.close()

    def _checked(self, value: bytes) -> AnyEvent:
        event = check(value, now_ms=self._now_ms())
        if isinstance(event, Rejection):
            raise RefusedError(event)
        return event

    def _send(self, event: AnyEvent, value: bytes, on_settled: OnSettled | None) -> Delivery:
        self._replace_if_stuck()
        producer = self._connected()
        key = event.subject.encode()
        everywhere = isinstance(event, ClockTicked)
        partitions = sorted(producer.partitions_for(EVENTS)) if everywhere else [None]
        size_bytes = (len(value) + len(key) + RECORD_OVERHEAD_BYTES) * len(partitions)
        self._reserve(size_bytes)
        try:
            futures = [producer.send(EVENTS, value=value, key=key, partition=each) for each in partitions]
        except BaseException as error:
            self._release(size_bytes, None)
            if isinstance(error, KafkaError):
                raise explain(error, self._settings.kafka) from None
            raise
        settlement = _Settlement(len(futures), partial(self._settled, size_bytes, on_settled))
        with self._changed:
            self._open[settlement] = time.monotonic()
        for future in futures:
            future.add_callback(settlement.succeeded)
            future.add_errback(settlement.failed)
        return Delivery(futures, self._settings.kafka, self._outcome_timeout_s)

    def _settled(
        self,
        size_bytes: int,
        on_settled: OnSettled | None,
        settlement: "_Settlement",
        error: Exception | None,
    ) -> None:
        failure = None if error is None else explain(error, self._settings.kafka)
        with self._changed:
            self._open.pop(settlement, None)
        try:
            if on_settled is not None:
                on_settled(failure)
        finally:
            self._release(size_bytes, failure)

    def _reserve(self, size_bytes: int) -> None:
        limit_bytes, block_s = self._settings.producer_buffer_bytes, self._room_timeout_s
        with self._changed:
            if not self._changed.wait_for(
                lambda: self._pending_bytes == 0 or self._pending_bytes + size_bytes <= limit_bytes, block_s
            ):
                raise UnavailableError(
                    f"Kafka at {self._settings.kafka} confirms too slowly or not at all: the buffer of "
                    f"{limit_bytes} bytes has been full for {block_s:g} s."
                )
            self._pending_bytes += size_bytes

    def _release(self, size_bytes: int, failure: DeliveryError | None) -> None:
        with self._changed:
            self._pending_bytes -= size_bytes
            if failure is not None:
                self._failures += 1
                self._first_failure = self._first_failure or failure
            self._changed.notify_all()

    def _replace_if_stuck(self) -> None:
        """Begin anew if an outcome is overdue, which kafka-python would have told in time if it still could.

        Its idempotent sender has been seen to lose the request for its id while the broker was away. After
        that it neither sends nor gives up anything.
        """
        if not self._is_stuck():
            return
        with self._connecting:
            if not self._is_stuck():
                return
            with self._changed:
                overdue = list(self._open)
            producer, self._producer = self._producer, None
        for settlement in overdue:
            settlement.give_up(KafkaTimeoutError())
        if producer is not None:
            # It may take its time to end, and a user waits.
            threading.Thread(target=dispose, args=(producer,), kwargs={"give_up": True}, daemon=True).start()

    def _is_stuck(self) -> bool:
        with self._changed:
            oldest_s = next(iter(self._open.values()), math.inf)
        return time.monotonic() - oldest_s > self._outcome_timeout_s

    def _connected(self) -> KafkaProducer:
        producer = self._producer
        if producer is not None:
            return producer
        with self._connecting:
            if self._closed:
                raise ProducerError("The producer is closed; create another one to publish more.")
            if self._producer is None:
                self._producer = self._connect_unless_just_failed()
            return self._producer

    def _connect_unless_just_failed(self) -> KafkaProducer:
        if time.monotonic() < self._retry_not_before_s:
            raise UnavailableError(self._unavailable)
        try:
            return connect(self._settings)
        except UnavailableError as error:
            self._retry_not_before_s = time.monotonic() + RETRY_PAUSE_S
            self._unavailable = str(error)
            raise


class _Settlement:
    """Counts the partitions of one event in and tells its outcome once."""

    __slots__ = ("_failure", "_lock", "_on_outcome", "_open")

    def __init__(
        self, open_count: int, on_outcome: Callable[["_Settlement", Exception | None], None]
    ) -> None:
        self._open = open_count
        self._on_outcome = on_outcome
        self._failure: Exception | None = None
        self._lock = threading.Lock()

    def succeeded(self, _stored: object) -> None:
        self._count_in(None)

    def failed(self, error: Exception) -> None:
        self._count_in(error)

    def give_up(self, error: Exception) -> None:
        """Wait for no partition any longer."""
        with self._lock:
            was_open, self._open = self._open > 0, 0
        if was_open:
            self._on_outcome(self, error)

    def _count_in(self, error: Exception | None) -> None:
        with self._lock:
            self._failure = self._failure or error
            self._open -= 1
            complete = self._open == 0
        if complete:
            self._on_outcome(self, self._failure)
