"""Corrected events that a dry run uses instead of, or in addition to, those of the log.

A corrected event with the app and id of an event in the log (the first valid one in the app's partition)
replaces that event and keeps its Kafka time. Any other is inserted by its own time: before the first record
of its partition with a later time that is an event of the same app or a clock tick; else at the end.
"""

import heapq
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from metering.content_modes import Headers
from metering.event_reader import read
from metering.event_validation import read_event
from metering.events import CLOCK_KEY, AnyEvent, ClockTicked
from metering.placement import ANYWHERE, PartitionIndex, partition_of
from metering.records import Record
from metering.rejections import Rejection
from metering.times import to_ms
from metering.topics import EVENTS
from phonemeter.errors import UserError
from phonemeter.topic_reader import OffsetSpan, TopicReader
from producers.jsonl import JsonLine

CORRECTIONS_MAX: Final = 100_000


class CorrectedEvent(NamedTuple):
    """One event of the file, with the number of its line."""

    line: int
    appid: str
    event_id: str
    time_ms: int
    value: bytes


def read_corrections(lines: Iterable[JsonLine], now_ms: int) -> list[CorrectedEvent]:
    """The events of a file, one in JSON per line.

    Raises:
        UserError: a line is no event that the log could have, or the same event as another line.
    """
    found: dict[tuple[str, str], CorrectedEvent] = {}
    for line in lines:
        event = None if line.value is None else read_event(line.value, now_ms=now_ms)
        if event is None or line.value is None:
            raise UserError(f"Line {line.number} is too long to be an event.")
        if isinstance(event, Rejection):
            raise UserError(f"Line {line.number} is no event: {event.sentence}")
        if isinstance(event, ClockTicked):
            raise UserError(f"Line {line.number} is a clock tick; the log's own ticks tell the time.")
        correction = CorrectedEvent(line.number, event.subject, event.id, to_ms(event.time), line.value)
        known = found.setdefault((event.subject, event.id), correction)
        if known is not correction:
            raise UserError(f"Lines {known.line} and {line.number} are the same event {event.id!r}.")
        if len(found) > CORRECTIONS_MAX:
            raise UserError(f"The file has more than {CORRECTIONS_MAX:,} events; replay fewer at a time.")
    return list(found.values())


def by_partition(corrections: Iterable[CorrectedEvent], partitions: int) -> dict[int, list[CorrectedEvent]]:
    """The corrections of each partition that has any."""
    placed: defaultdict[int, list[CorrectedEvent]] = defaultdict(list)
    for correction in corrections:
        placed[partition_of(correction.appid.encode(), partitions)].append(correction)
    return dict(placed)


def find_replaced(
    reader: TopicReader, place: PartitionIndex, span: OffsetSpan, corrections: Sequence[CorrectedEvent]
) -> dict[int, CorrectedEvent]:
    """The corrections that replace an event of the log, by its offset."""
    wanted = {(one.appid, one.event_id): one for one in corrections}
    keys = {one.appid.encode() for one in corrections}
    replaced: dict[int, CorrectedEvent] = {}
    for batch in reader.batches(EVENTS, place.partition, span):
        for record in batch:
            event = _event(record, place) if record.key in keys else None
            correction = wanted.pop((event.subject, event.id), None) if event is not None else None
            if correction is not None:
                replaced[record.offset] = correction
    return replaced


class CorrectedPartition:
    """The records of one partition with the corrections, renumbered without gaps.

    Attributes:
        lines: the file's line of each correction, by its new offset.
        inserted: number of corrections that replaced nothing.
    """

    def __init__(
        self,
        corrections: Iterable[CorrectedEvent],
        replaced: Mapping[int, CorrectedEvent],
        place: PartitionIndex = ANYWHERE,
    ) -> None:
        self.lines: dict[int, int] = {}
        self.inserted = 0
        self._replaced = replaced
        self._place = place
        self._next = 0
        in_place = {one.line for one in replaced.values()}
        self._waiting: defaultdict[bytes, list[tuple[int, int, CorrectedEvent]]] = defaultdict(list)
        for one in corrections:
            if one.line not in in_place:
                heapq.heappush(self._waiting[one.appid.encode()], (one.time_ms, one.line, one))

    def feed(self, records: Iterable[Record]) -> list[Record]:
        """The next records, with the corrections that belong between them."""
        fed: list[Record] = []
        for record in records:
            fed += [self._insert(one, record.recorded_at_ms or 0) for one in self._due(record)]
            correction = self._replaced.get(record.offset)
            if correction is None:
                fed.append(
                    self._renumbered(record.recorded_at_ms or 0, record.key, record.value, record.headers)
                )
            else:
                self.lines[self._next] = correction.line
                fed.append(self._renumbered(record.recorded_at_ms or 0, record.key, correction.value))
        return fed

    def end(self, now_ms: int) -> list[Record]:
        """The corrections that belong after the last record."""
        left = sorted(one for waiting in self._waiting.values() for one in waiting)
        self._waiting.clear()
        return [self._insert(one, now_ms) for _, _, one in left]

    def _due(self, record: Record) -> list[CorrectedEvent]:
        is_tick = record.key == CLOCK_KEY.encode()
        if not self._waiting or not (is_tick or record.key in self._waiting):
            return []
        event = _event(record, self._place)
        if event is None:
            return []
        time_ms = to_ms(event.time)
        due: list[tuple[int, int, CorrectedEvent]] = []
        for key in list(self._waiting) if is_tick else [record.key or b""]:
            waiting = self._waiting[key]
            while waiting and waiting[0][0] < time_ms:
                due.append(heapq.heappop(waiting))
            if not waiting:
                del self._waiting[key]
        return [one for _, _, one in sorted(due)]

    def _insert(self, correction: CorrectedEvent, recorded_at_ms: int) -> Record:
        self.inserted += 1
        self.lines[self._next] = correction.line
        return self._renumbered(recorded_at_ms, correction.appid.encode(), correction.value)

    def _renumbered(
        self, recorded_at_ms: int, key: bytes | None, value: bytes | None, headers: Headers = ()
    ) -> Record:
        self._next += 1
        return Record(self._next - 1, recorded_at_ms, key, value, headers)


def _event(record: Record, place: PartitionIndex) -> AnyEvent | None:
    event = read(record, place)
    return None if isinstance(event, Rejection) else event
