"""The events of one call, published together: which of them were refused, and what became of the others."""

from collections.abc import Callable, Sequence
from typing import Protocol

from confluent_kafka import KafkaError

from metering.events import Rejection
from producers.errors import DeliveryError


class Message(Protocol):
    """What an outcome is told about."""

    def value(self) -> object:
        """The event's bytes."""


def _in_its_words(error: KafkaError) -> DeliveryError:
    return DeliveryError(error.str())


class Batch:
    """The events of one call, and what became of each.

    Attributes:
        refusals: which of them may not be sent, by their place in the batch, and why.
        accepted: how many may be.
        delivered: how many of those Kafka has stored.
        failed: how many it did not confirm.
        failure: why it did not confirm the first of them.
        size_bytes: about what it needs in memory while its outcome is open.
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
        explain: Callable[[KafkaError], DeliveryError] = _in_its_words,
        on_settled: Callable[["Batch"], None] | None = None,
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
        """Whether the outcome of every event is known."""
        return self._open == 0

    def first_failed(self) -> int:
        """The place of the first event that is not known to be stored, in a batch that has such."""
        return next(place for place, value in enumerate(self._values) if value in self._failed)

    def accept(self, count: int, size_bytes: int) -> None:
        """So many events are about to be sent."""
        self.accepted += count
        self.size_bytes += size_bytes
        self._open += count

    def close(self) -> None:
        """No more are: from here on the batch is settled as soon as its outcomes are told."""
        self._count_in()

    def told(self, error: KafkaError | None, message: Message) -> None:
        """The outcome of one event, as librdkafka tells it."""
        if error is None:
            self.delivered += 1
        else:
            self._fail(error, message.value())
        self._count_in()

    def not_taken(self, error: KafkaError, value: bytes) -> None:
        """One event never got on its way."""
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


class EveryPartition:
    """One event that goes to every partition is one event of its batch, delivered when all have it."""

    __slots__ = ("_batch", "_error", "_open")

    def __init__(self, batch: Batch, partitions: int) -> None:
        self._batch = batch
        self._open = partitions
        self._error: KafkaError | None = None

    def told(self, error: KafkaError | None, message: Message) -> None:
        """The outcome in one partition."""
        self._error = self._error or error
        self._open -= 1
        if self._open == 0:
            self._batch.told(self._error, message)
