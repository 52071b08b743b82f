"""The events of one `publish` call, with their refusals and outcomes."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from confluent_kafka import KafkaError

from metering.rejections import Rejection
from producers.errors import DeliveryError


class CheckedEvent(NamedTuple):
    """An event that `check` accepted: the bytes of its app, and its own."""

    key: bytes
    value: bytes


class PublishedMessage(Protocol):
    """A message as librdkafka passes it to the delivery callback."""

    def value(self) -> object:
        """The event's bytes."""


def _described(error: KafkaError) -> DeliveryError:
    return DeliveryError(error.str())


class EventBatch:
    """The events of one `publish` call, with the outcome of each.

    Attributes:
        refusals: place in the batch and rejection of each event that was not sent.
        accepted: number of events that were sent.
        delivered: number of those that Kafka has stored.
        failed: number of those that it did not confirm.
        failure: reason of the first failed one.
        size_bytes: estimated memory until the outcomes are known.
    """

    __slots__ = (
        "_explain",
        "_failed",
        "_on_settled",
        "_open",
        "_values",
        "accepted",
        "delivered",
        "failed",
        "failure",
        "refusals",
        "size_bytes",
    )

    def __init__(
        self,
        values: Sequence[bytes],
        explain: Callable[[KafkaError], DeliveryError] = _described,
        on_settled: Callable[["EventBatch"], None] | None = None,
    ) -> None:
        self._values = values
        self._explain = explain
        self._on_settled = on_settled
        self._failed: set[bytes] = set()
        self.refusals: list[tuple[int, Rejection]] = []
        self.accepted = 0
        self.delivered = 0
        self.failed = 0
        self.failure: DeliveryError | None = None
        self.size_bytes = 0
        self._open = 1

    @property
    def settled(self) -> bool:
        """True if the outcome of every event is known."""
        return self._open == 0

    def first_failed(self) -> int:
        """The place of the first failed event; there has to be one."""
        return next(place for place, value in enumerate(self._values) if value in self._failed)

    def failed_places(self) -> list[int]:
        """The places of all failed events."""
        return [place for place, value in enumerate(self._values) if value in self._failed]

    def expect(self, count: int, size_bytes: int) -> None:
        """Expect the outcomes of `count` events, which are about to be sent."""
        self.accepted += count
        self.size_bytes += size_bytes
        self._open += count

    def close(self) -> None:
        """Expect no more: the batch is settled as soon as all outcomes are recorded."""
        self._count_in()

    def record_outcome(self, error: KafkaError | None, message: PublishedMessage) -> None:
        """Record the outcome of one event; librdkafka's delivery callback."""
        if error is None:
            self.delivered += 1
        else:
            self._fail(error, message.value())
        self._count_in()

    def record_unsent(self, error: KafkaError, value: bytes) -> None:
        """Record an event that librdkafka did not accept."""
        self._fail(error, value)
        self._count_in()

    def _fail(self, error: KafkaError, value: object) -> None:
        self.failed += 1
        if isinstance(value, bytes):
            self._failed.add(value)
        if self.failure is None:
            self.failure = self._explain(error)

    def _count_in(self) -> None:
        self._open -= 1
        if self._open == 0 and self._on_settled is not None:
            self._on_settled(self)


class BroadcastEvent:
    """An event for every partition: one event of its batch, delivered when all partitions have it."""

    __slots__ = ("_batch", "_error", "_open")

    def __init__(self, batch: EventBatch, partitions: int) -> None:
        self._batch = batch
        self._open = partitions
        self._error: KafkaError | None = None

    def record_outcome(self, error: KafkaError | None, message: PublishedMessage) -> None:
        """Record the outcome in one partition."""
        self._error = self._error or error
        self._open -= 1
        if self._open == 0:
            self._batch.record_outcome(self._error, message)
