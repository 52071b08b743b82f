"""Rebalances of a consumer group, passed from kafka-python's thread to the one that polls."""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import Literal, NamedTuple

from kafka import ConsumerRebalanceListener, KafkaConsumer, TopicPartition

from kafka_access.access import KafkaAccess


class Rebalance(NamedTuple):
    """Partitions, each as (topic, partition), that were assigned or revoked."""

    kind: Literal["assigned", "revoked"]
    partitions: tuple[tuple[str, int], ...]


class RebalanceQueue(ConsumerRebalanceListener):  # type: ignore[misc]  # kafka-python ships no types
    """The rebalances of one consumer, in order, until they are handled.

    A revocation waits for the end of a running `writing` block, so that the partition's next owner reads what
    was stored in it. Topics are by their names without prefix.
    `joined` is set once the group has assigned partitions to this
    member, even if none.
    """

    def __init__(self, consumer: KafkaConsumer, kafka: KafkaAccess) -> None:
        self._kafka = kafka
        self.joined = threading.Event()
        self._consumer = consumer
        self._writing = threading.Lock()
        self._queue: SimpleQueue[Rebalance] = SimpleQueue()

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Enqueue a revocation; called in kafka-python's thread."""
        with self._writing:
            self._queue.put(Rebalance("revoked", self._pairs(revoked)))

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Enqueue an assignment, its partitions paused; called in kafka-python's thread."""
        for at in assigned:
            # A position of any kind: without one the consumer asks for it, and none may be committed yet.
            self._consumer.seek(at, 0)
            self._consumer.pause(at)
        self._queue.put(Rebalance("assigned", self._pairs(assigned)))
        self.joined.set()

    @property
    def pending(self) -> bool:
        """True if there are rebalances that `take` has not returned yet."""
        return not self._queue.empty()

    def take(self) -> Iterator[Rebalance]:
        """Remove the pending rebalances and return them in order."""
        while True:
            try:
                yield self._queue.get_nowait()
            except Empty:
                return

    @contextmanager
    def writing(self) -> Iterator[bool]:
        """Hold back revocations while the block runs; yields whether none is pending."""
        with self._writing:
            yield not self.pending

    def _pairs(self, partitions: Iterable[TopicPartition]) -> tuple[tuple[str, int], ...]:
        return tuple((self._kafka.known(at.topic), at.partition) for at in partitions)
