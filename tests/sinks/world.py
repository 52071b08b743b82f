"""A sink between a log and a table in memory, which tests make fail, lose entries or change."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event
from typing import Any, cast

from metering.ledger import COLUMNS, Entry, encode_records
from metering.log_identity import FoundRecord, Mark, PartitionView, fingerprint
from metering.topics import LEDGER
from sinks.batches import Limits
from sinks.errors import ClickHouseError
from sinks.kafka_consumer import LibraryError
from sinks.ledger_source import FetchedRange, LedgerSource, ResumePoint, SourceRecord
from sinks.ledger_table import COMPARED_COLUMNS, LedgerTable
from sinks.metrics import Metrics
from sinks.position import BEFORE_ALL, Position
from sinks.rebalances import Rebalance
from sinks.sink import Sink
from tests.sinks.parts import lines

EVENT_ID = COLUMNS.index("event_id")
OFFSET = COLUMNS.index("offset")
LINE = COLUMNS.index("line")
COMPARED = [COLUMNS.index(name) for name in COMPARED_COLUMNS]
AT_ONCE = Limits(rows=1, bytes=1_000_000, total_bytes=1_000_000, age_s=0.0)


@dataclass
class Log:
    """A partition of `phone-ledger` in memory, and the group's commit. Stands in for `LedgerSource`.

    Offsets without a record are the log's own gaps. `deliver` has the offsets that the next polls return.
    """

    records: dict[int, bytes]
    beginning: int = 0
    end: int = 0
    committed: ResumePoint | None = None
    events: list[Rebalance] = field(default_factory=list)
    deliver: list[list[int]] = field(default_factory=list)
    stopped: bool = False
    at: int = 0
    idled: int = 0
    id: str = "first"
    errors: list[Exception] = field(default_factory=list)
    member: bool = True
    without_leader: set[int] = field(default_factory=set)

    @property
    def has_rebalanced(self) -> bool:
        return bool(self.events)

    def rebalances(self) -> Iterator[Rebalance]:
        while self.events:
            yield self.events.pop(0)

    @contextmanager
    def writing(self) -> Iterator[bool]:
        yield not self.events

    def poll(self, _pause_s: float) -> list[FetchedRange]:
        if self.stopped or self.without_leader:
            return []
        asked = max(self.at, self.beginning)
        offsets = [offset for offset in sorted(self.records) if offset >= asked]
        if self.deliver:
            offsets = self.deliver.pop(0)
            asked = offsets[0] if offsets else asked
            self.at = offsets[-1] + 1 if offsets else self.at
        else:
            self.at = max(asked, *self.end_offsets([0]).values())
        return [FetchedRange(0, asked, self.at, [self.record(offset) for offset in offsets])]

    def record(self, offset: int) -> SourceRecord:
        value = self.records[offset]
        return SourceRecord(0, offset, value, FoundRecord(fingerprint(None, value, None), 0))

    def view(self, partition: int, mark: Mark) -> PartitionView:
        self._fail()
        found = self.record(mark.offset).found if mark.offset in self.records else None
        return PartitionView(self.id, self.beginning, self.end_offsets([partition])[partition], found)

    def topic_id(self) -> str:
        self._fail()
        return self.id

    def _fail(self) -> None:
        if self.errors:
            raise self.errors.pop(0)

    def idle(self, _pause_s: float) -> None:
        self.idled += 1

    def resume_point(self, _partition: int) -> ResumePoint:
        return self.committed or ResumePoint(self.beginning, BEFORE_ALL)

    def first_offset(self, _partition: int) -> int:
        return self.beginning

    def leaderless(self, partitions: Iterable[int]) -> set[int]:
        return set(partitions) & self.without_leader

    def end_offsets(self, partitions: Iterable[int]) -> dict[int, int]:
        if self.leaderless(partitions):
            raise LibraryError("kafka-python failed with KeyError")
        return dict.fromkeys(partitions, max(self.end, max(self.records, default=-1) + 1))

    def seek(self, _partition: int, offset: int) -> None:
        self.at = offset

    def resume(self, partition: int, offset: int) -> None:
        self.stopped = False
        self.seek(partition, offset)

    def pause(self, _partition: int) -> None:
        self.stopped = True

    def lag(self, _partition: int, next_offset: int) -> int | None:
        return max(self.records, default=-1) + 1 - next_offset

    def commit(self, positions: dict[int, ResumePoint]) -> bool:
        if self.member:
            self.committed = positions[0]
        return self.member


def _compared_values(entries: Sequence[Entry]) -> dict[Position, tuple[Any, ...]]:
    return {
        Position(one.offset, one.line): tuple(getattr(one, name) for name in COMPARED_COLUMNS)
        for one in entries
    }


@dataclass
class Shelf:
    """Stored entries in memory. Stands in for `LedgerTable`."""

    stored: list[str] = field(default_factory=list)
    at: Position = BEFORE_ALL
    lines: dict[Position, tuple[Any, ...]] = field(default_factory=lambda: _compared_values(ENTRIES))
    failures: list[str] = field(default_factory=list)
    under_way: list[Entry] = field(default_factory=list)
    swallows: bool = False
    swallowed: int = 0
    doubted: bool = False
    tokens_forgotten: int = 0

    def entry_at(self, _partition: int, at: Position) -> tuple[Any, ...]:
        return self.lines.get(at, ())

    def position(self, _partition: int) -> Position:
        if self.failures and self.failures[0] == "away":
            raise ClickHouseError(self.failures.pop(0))
        if self.doubted:
            self.doubted = False
            self.settle()
        return self.at

    def settle(self) -> None:
        """Complete the INSERTs that any sink left running."""
        for entry in self.under_way:
            self.stored.append(entry.event_id)
            self.at = Position(entry.offset, entry.line)
        self.under_way = []

    def newest_recorded_at_ms(self) -> int | None:
        return None

    def insert(self, _partition: int, columns: Sequence[list[Any]], after: Position) -> None:
        if self.failures and self.failures[0] == "refused":
            raise ClickHouseError(self.failures.pop(0))
        if self.swallows and not self.tokens_forgotten:
            # The token of entries that were lost: the engine takes the INSERT for a duplicate.
            self.swallowed += 1
            assert self.swallowed < 5, "the same INSERT is tried for ever"
            return
        assert after == self.at
        self.stored += columns[EVENT_ID]
        self.at = Position(columns[OFFSET][-1], columns[LINE][-1])
        for offset, *values in zip(*(columns[number] for number in (OFFSET, LINE, *COMPARED)), strict=True):
            self.lines[Position(offset, values[0])] = tuple(values[1:])
        if self.failures and self.failures[0] == "reply lost":
            raise ClickHouseError(self.failures.pop(0))

    def mark_unsettled(self, _partition: int) -> None:
        self.doubted = True

    def forget_tokens(self) -> None:
        self.tokens_forgotten += 1

    def lose(self) -> None:
        """Lose everything, like a disk that is replaced."""
        self.stored, self.at = [], BEFORE_ALL


class Clock:
    """A clock that advances with every call, so that pauses end."""

    def __init__(self) -> None:
        self.s = 0.0

    def __call__(self) -> float:
        self.s += 0.01
        return self.s


class World:
    """A sink between a log and a shelf, which owns partition 0 at first."""

    def __init__(self, records: dict[int, bytes], limits: Limits = AT_ONCE, **log: Any) -> None:  # noqa: ANN401 - fields of Log
        self.log = Log(records, events=[ASSIGNED], **log)
        self.shelf = Shelf()
        self.metrics = Metrics()
        self.stop = Event()
        self.sink = Sink(
            cast("LedgerSource", self.log),
            cast("LedgerTable", self.shelf),
            limits,
            self.metrics,
            self.stop,
            Clock(),
        )

    def turns(self, count: int) -> None:
        """Run the sink for so many turns."""
        poll = self.log.poll

        def polled(_pause_s: float) -> list[FetchedRange]:
            nonlocal count
            count -= 1
            if count <= 0:
                self.stop.set()
            return poll(_pause_s)

        self.stop.clear()
        self.log.poll = polled  # type: ignore[method-assign]  # the hook into each round
        self.sink.run()
        self.log.poll = poll  # type: ignore[method-assign]  # the hook is taken out again

    def metric(self, name: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"phonemeter_sink_{name}")

    def metric_of(self, name: str) -> float | None:
        """Value of a metric of partition 0."""
        return self.metrics.registry.get_sample_value(f"phonemeter_sink_{name}", {"partition": "0"})


ASSIGNED = Rebalance("assigned", ((LEDGER, 0),))
REVOKED = Rebalance("revoked", ((LEDGER, 0),))
ENTRIES: list[Entry] = lines(40, seed=1)
IDS = [entry.event_id for entry in ENTRIES]


def records(entries: Sequence[Entry] = ENTRIES, cut: int = 10, first: int = 0) -> dict[int, bytes]:
    values = [
        value
        for start in range(0, len(entries), cut)
        for value in encode_records(0, entries[start : start + cut])
    ]
    return dict(enumerate(values, start=first))
