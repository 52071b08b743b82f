"""A topic that the worker publishes to, followed beside the rules."""

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, NamedTuple

from aiokafka.structs import ConsumerRecord

from phonemeter.audit.differences import Item
from phonemeter.audit.figures import Identity
from phonemeter.audit.log import Log
from phonemeter.audit.published import Published
from phonemeter.replay.reading import Span

Read = Callable[[bytes | None], Sequence[tuple[Identity, Item]]]
"""The items of a record's value, in order; raises ValueError."""


class _Arrived(NamedTuple, Generic[Item]):
    """A record that is next: its own offset, and what it says of audited events."""

    offset: int
    items: list[tuple[Identity, Item]]


class TopicAudit(Generic[Item]):
    """One partition of a topic, whose items are held against the rules.

    Attributes:
        later: offsets of records that repeat what is too old to be compared in this pass.
    """

    def __init__(self, published: Published[Item], read: Read[Item], until: int, log_end: int) -> None:
        self.published: Published[Item] = published
        self.later: list[int] = []
        self._read: Read[Item] = read
        self._until = until
        self._log_end = log_end
        self._arrivals: Iterator[_Arrived[Item]] = iter(())
        self._next: _Arrived[Item] | None = None

    def begin(self, log: Log, topic: str, partition: int, span: Span) -> None:
        """Read the topic from its beginning."""
        self._begin(record for batch in log.batches(topic, partition, span) for record in batch)

    def begin_again(self, log: Log, topic: str, partition: int) -> None:
        """Go back to the records that were left for later."""
        wanted, self.later = frozenset(self.later), []
        self.published.go_back()
        if not wanted:
            self._begin(iter(()))
            return
        span = Span(min(wanted), max(wanted) + 1)
        self._begin(
            record
            for batch in log.batches(topic, partition, span)
            for record in batch
            if record.offset in wanted
        )

    def follow(self, reached: int | None) -> None:
        """See what was published of the events before an offset, or all that is left.

        A record waits until all events are expected that it is about.
        """
        while self._next is not None:
            if reached is not None and self._next.items[-1][0][0] >= reached:
                break
            self._see(self._next)
            self._next = next(self._arrivals, None)
        self.published.trim()

    def _begin(self, records: Iterator[ConsumerRecord]) -> None:
        self._arrivals = self._arriving(records)
        self._next = next(self._arrivals, None)

    def _see(self, arrived: _Arrived[Item]) -> None:
        if not self.published.reaches(arrived.items[0][0]):
            self.later.append(arrived.offset)
            return
        for identity, item in arrived.items:
            self.published.see(identity, item)

    def _arriving(self, records: Iterator[ConsumerRecord]) -> Iterator[_Arrived[Item]]:
        """What is about events that are audited; the others are in flight, or beyond the end of the log."""
        for record in records:
            try:
                items = self._read(record.value)
            except ValueError as error:
                self.published.differences.unreadable(record.offset, f"{error}")
                continue
            for identity, item in items:
                if identity[0] >= self._log_end:
                    self.published.differences.foreign(identity, item)
            audited = [one for one in items if one[0][0] < self._until]
            if audited:
                yield _Arrived(record.offset, audited)
