"""The proof that the new log is the old one: metered, it gives every app the ledger that it has.

The entries are compared in order, in all but source partition, offset and line, and the offsets that a
settlement names. Rejections have no app: they are compared by their number, reasons, times and sources.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from xxhash import xxh3_64_intdigest

from metering.ledger import Entry
from metering.placement import PartitionIndex, partition_of
from metering.repartitioning import PartitionSplit
from metering.rules import Rules
from metering.topics import EVENTS, LEDGER
from phonemeter.errors import OperationError
from phonemeter.replay.ledger_check import expected_entries, published_entries
from phonemeter.topic_reader import OffsetSpan, TopicReader
from sinks.position import BEFORE_ALL, Position

_SETTLEMENTS: Final = frozenset({"settlement", "settlement_refused"})
_ALERTS: Final = frozenset({"alert", "recovery"})
_PLACES: Final = ("after", "as_of")
_64_BITS: Final = 2**64 - 1
_REMEDY: Final = (
    "nothing was opened, and `phonemeter repartition` with --abandon lets the services go on with the old log"
)


@dataclass(frozen=True, slots=True)
class OldProgress:
    """The progress of the old services in a partition: events metered, and the newest alert handled."""

    metered: int = 0
    notified: Position = BEFORE_ALL


@dataclass(slots=True)
class ProvenLedger:
    """The findings of a proof.

    Attributes:
        lines: number of entries that were compared.
        alert_ids: new id of each alert, by its old one.
        notified: per new partition, the newest alert that the old notifier has handled.
    """

    lines: int = 0
    alert_ids: dict[str, str] = field(default_factory=dict)
    notified: dict[int, Position] = field(default_factory=dict)


class LedgerProof:
    """Compares the ledger read by `old` with what the log read by `new`, of so many partitions, gives."""

    def __init__(
        self, old: TopicReader, new: TopicReader, partitions: int, rules: Rules, show: Callable[[int], None]
    ) -> None:
        self._old = old
        self._new = new
        self._partitions = partitions
        self._rules = rules
        self._show = show
        self._read = 0
        self._ledger = old.spans(LEDGER)
        self.found = ProvenLedger()

    def prove(self, source: PartitionIndex, split: PartitionSplit, was: OldProgress) -> None:
        """Compare the ledger of an old partition with the new partitions that its records are in.

        Raises:
            OperationError: they differ, or something cannot be read.
        """
        rejected, expected = _Rejections(), {}
        for target in split.targets:
            place = PartitionIndex(target, self._partitions)
            entries = expected_entries(self._new, place, split.end(target), self._rules, self._count)
            expected[target] = _ExpectedEntries(entries, rejected)
        were_rejected, end = _Rejections(), was.metered
        span = self._ledger.get(source.partition, OffsetSpan(0, 0))
        for entry in published_entries(self._old, source.partition, span):
            end = max(end, entry.offset + 1)
            if entry.kind == "rejection":
                were_rejected.add(entry)
                continue
            self.found.lines += 1
            for target in self._targets(entry, split):
                other = expected[target].next()
                if other is None or _comparable(other) != _comparable(entry):
                    raise _difference(source.partition, entry, target, other)
                if entry.kind in _ALERTS:
                    self._keep_alert((source.partition, entry), (target, other), was.notified)
        for target, entries_left in expected.items():
            # What the old worker had not metered yet, the new one meters.
            missing = entries_left.next_before(split.end_before(target, end))
            if missing is not None:
                raise OperationError(
                    f"The ledger of the old log lacks an entry that the new log gives: {missing.kind} of "
                    f"{missing.appid or 'no app'} by {EVENTS}-{target}-{missing.offset}; {_REMEDY}."
                )
        if rejected != were_rejected:
            raise OperationError(
                f"The new log has other rejections than {EVENTS} partition {source.partition} had: "
                f"{rejected.number:,}, and were {were_rejected.number:,}; {_REMEDY}."
            )

    def _targets(self, entry: Entry, split: PartitionSplit) -> tuple[int, ...]:
        """The new partitions that an entry is expected in: without an app, it is of the clock."""
        return (partition_of(entry.appid.encode(), self._partitions),) if entry.appid else split.targets

    def _keep_alert(self, old: tuple[int, Entry], new: tuple[int, Entry], notified: Position) -> None:
        (partition, entry), (target, other) = old, new
        old_id = f"{partition}-{entry.offset}-{entry.line}"
        self.found.alert_ids[old_id] = f"{target}-{other.offset}-{other.line}"
        if Position(entry.offset, entry.line) <= notified:
            self.found.notified[target] = Position(other.offset, other.line)

    def _count(self, records: int) -> None:
        self._read += records
        self._show(self._read)


@dataclass(slots=True)
class _Rejections:
    """Rejections in any order: their number, and the sum of their hashes."""

    number: int = 0
    hashes: int = 0

    def add(self, entry: Entry) -> None:
        """Count one. Its sentence may name partitions, and is left out."""
        told = f"{entry.recorded_at_ms}\0{entry.time_ms}\0{entry.reason}\0{entry.source}"
        self.number += 1
        self.hashes = self.hashes + xxh3_64_intdigest(told.encode()) & _64_BITS


class _ExpectedEntries:
    """The entries that a new partition gives, in order; its rejections are counted apart."""

    def __init__(self, entries: Iterator[Entry], rejected: _Rejections) -> None:
        self._entries = entries
        self._rejected = rejected

    def next(self) -> Entry | None:
        """The next entry; None at the end."""
        for entry in self._entries:
            if entry.kind != "rejection":
                return entry
            self._rejected.add(entry)
        return None

    def next_before(self, end: int) -> Entry | None:
        """The next entry before an offset; None if there is none, and then the rejections are counted."""
        for entry in self._entries:
            if entry.offset >= end:
                break
            if entry.kind != "rejection":
                return entry
            self._rejected.add(entry)
        return None


def _comparable(entry: Entry) -> Entry:
    details = entry.details
    if entry.kind in _SETTLEMENTS:
        told: dict[str, Any] = msgspec.json.decode(details)
        details = msgspec.json.encode({name: told[name] for name in told if name not in _PLACES}).decode()
    return msgspec.structs.replace(entry, offset=0, line=0, details=details)


def _difference(partition: int, entry: Entry, target: int, other: Entry | None) -> OperationError:
    place = f"{EVENTS}-{partition}-{entry.offset}, line {entry.line}"
    told = f"The ledger of the old log has {entry.kind} of {entry.appid or 'no app'} at {place}"
    if other is None:
        return OperationError(
            f"{told}, and partition {target} of the new log gives no such entry; {_REMEDY}."
        )
    left, right = _comparable(entry), _comparable(other)
    differ = [name for name in Entry.__struct_fields__ if getattr(left, name) != getattr(right, name)]
    named = ", ".join(
        f"{name} {getattr(right, name)!r} instead of {getattr(left, name)!r}" for name in differ[:2]
    )
    return OperationError(
        f"{told}, where {EVENTS}-{target}-{other.offset} of the new log gives {named}; {_REMEDY}."
    )
