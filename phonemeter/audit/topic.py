"""A topic that the worker publishes to, compared with the rules."""

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, NamedTuple

from metering.records import Record
from phonemeter.audit.differences import Item
from phonemeter.audit.figures import EntryId
from phonemeter.audit.published_items import PublishedItems
from phonemeter.topic_reader import OffsetSpan, TopicReader

ReadItems = Callable[[bytes | None], Sequence[tuple[EntryId, Item]]]
"""The items of a record's value, in order; raises ValueError."""


class _Arrived(NamedTuple, Generic[Item]):
    """The next record: its own offset, and its items about audited events."""

    offset: int
    items: list[tuple[EntryId, Item]]


class TopicAudit(Generic[Item]):
    """One partition of a topic, whose items are compared with the rules.

    Attributes:
        postponed: offsets of records that repeat items too old to be compared in this pass.
    """

    def __init__(
        self, published: PublishedItems[Item], read: ReadItems[Item], until: int, log_end: int
    ) -> None:
        self.published: PublishedItems[Item] = published
        self.postponed: list[int] = []
        self._read: ReadItems[Item] = read
        self._until = until
        self._log_end = log_end
        self._arrivals: Iterator[_Arrived[Item]] = iter(())
        self._next: _Arrived[Item] | None = None

    def begin(self, log: TopicReader, topic: str, partition: int, span: OffsetSpan) -> None:
        """Read the topic from its beginning."""
        self._begin(
            record for batch in log.batches(topic, partition, span, self._damaged) for record in batch
        )

    def restart(self, log: TopicReader, topic: str, partition: int) -> None:
        """Go back to the postponed records."""
        wanted, self.postponed = frozenset(self.postponed), []
        self.published.rewind()
        if not wanted:
            self._begin(iter(()))
            return
        span = OffsetSpan(min(wanted), max(wanted) + 1)
        self._begin(
            record
            for batch in log.batches(topic, partition, span, lambda _offset: None)
            for record in batch
            if record.offset in wanted
        )

    def follow(self, reached: int | None) -> None:
        """Compare what was published of the events before an offset, or everything that is left.

        A record waits until all its events are expected.
        """
        while self._next is not None:
            if reached is not None and self._next.items[-1][0][0] >= reached:
                break
            self._see(self._next)
            self._next = next(self._arrivals, None)
        self.published.trim()

    def _begin(self, records: Iterator[Record]) -> None:
        self._arrivals = self._read_arrivals(records)
        self._next = next(self._arrivals, None)

    def _damaged(self, offset: int) -> None:
        self.published.differences.unreadable(offset, "the topic is damaged there: the checksum is wrong")

    def _see(self, arrived: _Arrived[Item]) -> None:
        if not self.published.is_comparable(arrived.items[0][0]):
            self.postponed.append(arrived.offset)
            return
        for identity, item in arrived.items:
            self.published.observe(identity, item)

    def _read_arrivals(self, records: Iterator[Record]) -> Iterator[_Arrived[Item]]:
        """The records about audited events; the others are in flight, or beyond the end of the log."""
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
