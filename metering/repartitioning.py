"""The split of the log's partitions into more of them, for `phonemeter repartition`. Pure.

The new number is a multiple of the old one, so each new partition has records of one old partition only: its
number modulo the old one. So the order of an app and of the clock stays, without a merge.

The records of an app go to the partition of its key, clock ticks to all. A record that the old log rejects
for its partition or its key goes to the partition with the number of the old one, which rejects it as well.
Offsets are new; settlements name offsets, which are translated.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec

from metering.content_modes import structured_event
from metering.event_reader import read
from metering.events import CLOCK_KEY, SETTLEMENT_TYPE, ClockTicked, Settled
from metering.placement import PartitionIndex, partition_of
from metering.records import Record

SPLIT_MAX: Final = 128
"""The most partitions that one is split into."""

_EVERY: Final = 255
_NONE: Final = 254
_TYPE: Final = SETTLEMENT_TYPE.encode()


class PlacedRecord(NamedTuple):
    """A record with its offset in the new log, and its partition there."""

    partition: int
    record: Record


def refusal_of(old: int, new: int) -> str:
    """The reason that a number of partitions cannot become another one, as a sentence; empty if it can."""
    if new <= old or new % old:
        return (
            f"{new} is not a multiple of the {old} partitions that there are, as {2 * old} or {3 * old} are: "
            f"with any other number a new partition would have records of several old ones, between which "
            f"there is no order."
        )
    if new // old > SPLIT_MAX:
        return f"{new} partitions are more than {SPLIT_MAX} for each of the {old} that there are."
    return ""


class PartitionSplit:
    """One partition of the old log, split record by record into `targets`, partitions of the new log.

    One byte is kept per offset of the old partition, for the translation of offsets.
    """

    def __init__(self, source: PartitionIndex, partitions: int) -> None:
        self.targets: tuple[int, ...] = tuple(range(source.partition, partitions, source.partitions))
        self._source = source
        self._partitions = partitions
        self._placed = bytearray()
        self._ends = [0] * len(self.targets)
        # Of each target: an old offset, and the number of its records before that, so that counting is short.
        self._counted = [(0, 0)] * len(self.targets)

    def end(self, target: int) -> int:
        """The number of records of a target so far."""
        return self._ends[self._index(target)]

    def split(self, records: Iterable[Record]) -> list[PlacedRecord]:
        """Place the next records of the old partition."""
        placed: list[PlacedRecord] = []
        for record in records:
            self._placed.extend(bytes((_NONE,)) * (record.offset - len(self._placed)))
            index = self._target_of(record)
            self._placed.append(index)
            for at in range(len(self.targets)) if index == _EVERY else (index,):
                moved = self._translated(record, at)
                placed.append(PlacedRecord(self.targets[at], moved))
                self._ends[at] += 1
        return placed

    def end_before(self, target: int, offset: int) -> int:
        """The number of records of a target that come before an offset of the old partition."""
        return self._count(self._index(target), offset)

    def has(self, target: int, offset: int) -> bool:
        """Return whether the record at an offset of the old partition is in a target."""
        return 0 <= offset < len(self._placed) and self._placed[offset] in {_EVERY, self._index(target)}

    def _index(self, target: int) -> int:
        return target // self._source.partitions

    def _target_of(self, record: Record) -> int:
        key = record.key
        if key == CLOCK_KEY.encode() and isinstance(read(record, self._source), ClockTicked):
            return _EVERY
        if key is not None and self._source.has(key):
            return self._index(partition_of(key, self._partitions))
        return 0

    def _translated(self, record: Record, index: int) -> Record:
        new_offset = self._ends[index]
        if _TYPE in (record.value or b"") or any(value == _TYPE for _, value in record.headers):
            event = read(record, self._source)
            if isinstance(event, Settled):
                value = self._settlement(structured_event(record.value, record.headers) or b"", event, index)
                return Record(new_offset, record.recorded_at_ms, record.key, value)
        return Record(new_offset, record.recorded_at_ms, record.key, record.value, record.headers)

    def _settlement(self, value: bytes, event: Settled, index: int) -> bytes:
        document = msgspec.json.decode(value)
        data = document["data"]
        data["as_of"] = max(0, self._count(index, event.data.as_of + 1) - 1)
        after = event.data.after
        if after >= 0:
            # The settlement before is in the same target; what names any other record stays refused.
            known = self.has(self.targets[index], after)
            data["after"] = self._count(index, after) if known else self._ends[index]
        return msgspec.json.encode(document)

    def _count(self, index: int, before: int) -> int:
        at, counted = self._counted[index]
        low, high = sorted((at, min(before, len(self._placed))))
        between = self._placed.count(index, low, high) + self._placed.count(_EVERY, low, high)
        counted += between if high != at else -between
        self._counted[index] = (high if high != at else low, counted)
        return counted
