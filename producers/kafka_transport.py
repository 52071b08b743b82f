"""Delivery to Kafka itself, by kafka-python: many events under way at once, each in the order of its app."""

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from kafka import KafkaProducer
from kafka.errors import (
    Cancelled,
    IllegalStateError,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    OutOfOrderSequenceNumberError,
    UnknownProducerIdError,
)

from metering.topics import EVENTS
from producers.connection import connect, dispose, explain
from producers.delivery import Place
from producers.errors import UnavailableError
from producers.event_queue import QueuedEvent
from producers.reachability import not_confirmed, wait_for_listener
from producers.settings import ProducerSettings
from producers.transport import Retry, Settle

LISTENING_WITHIN_S: Final = 1.0
"""Limit of the wait for a broker that is away: the sending thread has other duties in between."""

GRACE_S: Final = 5.0
"""Time after the delivery timeout in which an outcome may still arrive."""

OF_THE_CONNECTION: Final = (
    Cancelled,
    IllegalStateError,
    KafkaConnectionError,
    OutOfOrderSequenceNumberError,
    UnknownProducerIdError,
)
"""Errors that say nothing about the event: over another connection it may well be stored."""

BATCH_EVENTS: Final = 1_000
BATCH_BYTES: Final = 1_048_576

_abandoned: Final[list[object]] = []
"""Connections of the parent process: what frees them would close them there too."""


class KafkaTransport:
    """The connection to Kafka."""

    events_max = BATCH_EVENTS
    bytes_max = BATCH_BYTES

    def __init__(self, settings: ProducerSettings) -> None:
        self._settings = settings
        self._topic = settings.kafka_access.topic(EVENTS)
        listening_s = min(settings.producer_block_s, LISTENING_WITHIN_S)
        self._impatient = settings.model_copy(update={"producer_block_s": listening_s})
        self._producer: KafkaProducer | None = None
        self.address = f"Kafka at {settings.kafka}"
        self.grace_s = GRACE_S

    def connect(self) -> None:
        """Connect.

        Raises:
            UnavailableError: no broker answers, or it has no `phone-events`.
        """
        wait_for_listener(self._impatient)
        try:
            self._producer = connect(self._settings)
        except RuntimeError as error:
            # Python 3.12.0 and 3.12.1 start no threads once the main thread has ended.
            raise UnavailableError(f"The process is ending, and Python says: {error}.") from None

    def send(self, events: Sequence[QueuedEvent], settle: Settle, retry: Retry) -> None:
        """Hand events to kafka-python, which confirms them later.

        Raises:
            UnavailableError: it takes no more.
        """
        producer = self._producer
        if producer is None:
            raise not_confirmed(self._settings.kafka)
        for event in events:
            try:
                partitions = sorted(producer.partitions_for(self._topic)) if event.everywhere else [None]
                records = [
                    producer.send(self._topic, value=event.value, key=event.key, partition=each)
                    for each in partitions
                ]
            except KafkaError as error:
                raise UnavailableError(str(explain(error, self._settings.kafka))) from None
            _Confirmation(len(records), partial(self._confirmed, producer, event, settle, retry)).of(records)

    def drop(self) -> None:
        """Give the connection up, with what it has under way."""
        producer, self._producer = self._producer, None
        if producer is not None:
            # It may take seconds, and events wait.
            threading.Thread(target=dispose, args=(producer,), kwargs={"give_up": True}, daemon=True).start()

    def abandon(self) -> None:
        """Leave the connection of the parent process alone, also when this one ends."""
        producer, self._producer = self._producer, None
        if producer is not None:
            producer._unregister_cleanup()  # noqa: SLF001 - it would close at exit what it did not open
            producer._closed = True  # noqa: SLF001 - the same, when it is freed
            _abandoned.append(producer)

    def close(self) -> None:
        """Disconnect; what is still under way is given up."""
        producer, self._producer = self._producer, None
        if producer is not None:
            dispose(producer, give_up=True)

    def _confirmed(
        self,
        producer: KafkaProducer,
        event: QueuedEvent,
        settle: Settle,
        retry: Retry,
        answer: list[Place] | Exception,
    ) -> None:
        if isinstance(answer, list):
            settle(event, tuple(sorted(answer)))
        elif producer is not self._producer:
            return  # It was given up, and the event is sent over another connection.
        elif isinstance(answer, OF_THE_CONNECTION):
            retry([event])
        elif isinstance(answer, KafkaTimeoutError):
            settle(event, not_confirmed(self._settings.kafka))
        else:
            settle(event, explain(answer, self._settings.kafka))


class _Confirmation:
    """The answers of all partitions that an event went to, as one."""

    def __init__(self, open_count: int, on_answer: Callable[[list[Place] | Exception], None]) -> None:
        self._open = open_count
        self._on_answer = on_answer
        self._places: list[Place] = []
        self._failure: Exception | None = None
        self._lock = threading.Lock()

    def of(self, records: Sequence[Any]) -> None:
        for record in records:
            record.add_callback(self._stored)
            record.add_errback(self._failed)

    def _stored(self, metadata: Any) -> None:  # noqa: ANN401 - kafka-python has no types
        self._count_in(Place(metadata.partition, metadata.offset), None)

    def _failed(self, error: Exception) -> None:
        self._count_in(None, error)

    def _count_in(self, place: Place | None, failure: Exception | None) -> None:
        with self._lock:
            self._places += [] if place is None else [place]
            self._failure = self._failure or failure
            self._open -= 1
            complete = self._open == 0
        if complete:
            self._on_answer(self._failure or self._places)
