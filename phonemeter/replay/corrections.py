"""Events that a dry run takes instead of, or besides, those of the log.

Where each goes, exactly: an event whose app and id the log has already (the first valid one in the app's
partition) takes its place and keeps its Kafka time. Any other is put in by its own time: before the first
record of its partition that is an event of the same app, or a clock tick, with a later time; else at the end.
"""

import heapq
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from metering.events import CLOCK_KEY, AnyEvent, ClockTicked, Rejection, read_event, read_record
from metering.partition import Record
from metering.times import to_ms
from metering.topics import EVENTS
from phonemeter.errors import UserError
from phonemeter.replay.reading import Span, TopicReader
from producers.lines import Line
from producers.partitioning import partition_of

CORRECTIONS_MAX: Final = 100_000


class Correction(NamedTuple):
    """One event of the file: its line there, and what it is."""

    line: int
    appid: str
    event_id: str
    time_ms: int
    value: bytes


def read_corrections(lines: Iterable[Line], now_ms: int) -> list[Correction]:
    """The events of a file, one in JSON per line.

    Raises:
        UserError: a line is no event that could stand in the log, or names the same event as another.
    """
    found: dict[tuple[str, str], Correction] = {}
    for line in lines:
        event = None if line.value is None else read_event(line.value, now_ms=now_ms)
        if event is None or line.value is None:
            raise UserError(f"Line {line.number} is too long to be an event.")
        if isinstance(event, Rejection):
            raise UserError(f"Line {line.number} is no event: {event.sentence}")
        if isinstance(event, ClockTicked):
            raise UserError(f"Line {line.number} is a clock tick; the log's own ticks tell the time.")
        correction = Correction(line.number, event.subject, event.id, to_ms(event.time), line.value)
        known = found.setdefault((event.subject, event.id), correction)
        if known is not correction:
            raise UserError(f"Lines {known.line} and {line.number} are the same event {event.id!r}.")
        if len(found) > CORRECTIONS_MAX:
            raise UserError(f"The file has more than {CORRECTIONS_MAX:,} events; replay fewer at a time.")
    return list(found.values())


def by_partition(corrections: Iterable[Correction], partitions: int) -> dict[int, list[Correction]]:
    """The corrections of each partition that has any."""
    placed: defaultdict[int, list[Correction]] = defaultdict(list)
    for correction in corrections:
        placed[partition_of(correction.appid.encode(), partitions)].append(correction)
    return dict(placed)


def find_replaced(
    reader: TopicReader, partition: int, span: Span, corrections: Sequence[Correction]
) -> dict[int, Correction]:
    """The corrections that take the place of an event of the log, by its offset."""
    wanted = {(one.appid, one.event_id): one for one in corrections}
    keys = {one.appid.encode() for one in corrections}
    replaced: dict[int, Correction] = {}
    for batch in reader.batches(EVENTS, partition, span):
        for record in batch:
            event = _event(record) if record.key in keys else None
            correction = wanted.pop((event.subject, event.id), None) if event is not None else None
            if correction is not None:
                replaced[record.offset] = correction
    return replaced


class CorrectedPartition:
    """The records of one partition with corrections in their places, numbered anew without gaps.

    Attributes:
        lines: the file's line of each correction that was put in, by its new offset.
        inserted: how many were put in where the log had nothing.
    """

    def __init__(self, corrections: Iterable[Correction], replaced: Mapping[int, Correction]) -> None:
        self.lines: dict[int, int] = {}
        self.inserted = 0
        self._replaced = replaced
        self._next = 0
        in_place = {one.line for one in replaced.values()}
        self._waiting: defaultdict[bytes, list[tuple[int, int, Correction]]] = defaultdict(list)
        for one in corrections:
            if one.line not in in_place:
                heapq.heappush(self._waiting[one.appid.encode()], (one.time_ms, one.line, one))

    def feed(self, records: Iterable[Any]) -> list[Record]:
        """The next records, as kafka-python gives them, with what belongs between them."""
        fed: list[Record] = []
        for record in records:
            fed += [self._put_in(one, record.timestamp) for one in self._due(record)]
            correction = self._replaced.get(record.offset)
            if correction is None:
                fed.append(self._numbered(record.timestamp, record.key, record.value))
            else:
                self.lines[self._next] = correction.line
                fed.append(self._numbered(record.timestamp, record.key, correction.value))
        return fed

    def end(self, now_ms: int) -> list[Record]:
        """What belongs behind the last record."""
        left = sorted(one for waiting in self._waiting.values() for one in waiting)
        self._waiting.clear()
        return [self._put_in(one, now_ms) for _, _, one in left]

    def _due(self, record: Any) -> list[Correction]:  # noqa: ANN401 - kafka-python has no types
        is_tick = record.key == CLOCK_KEY.encode()
        if not self._waiting or not (is_tick or record.key in self._waiting):
            return []
        event = _event(record)
        if event is None:
            return []
        time_ms = to_ms(event.time)
        due: list[tuple[int, int, Correction]] = []
        for key in list(self._waiting) if is_tick else [record.key]:
            waiting = self._waiting[key]
            while waiting and waiting[0][0] < time_ms:
                due.append(heapq.heappop(waiting))
            if not waiting:
                del self._waiting[key]
        return [one for _, _, one in sorted(due)]

    def _put_in(self, correction: Correction, recorded_at_ms: int) -> Record:
        self.inserted += 1
        self.lines[self._next] = correction.line
        return self._numbered(recorded_at_ms, correction.appid.encode(), correction.value)

    def _numbered(self, recorded_at_ms: int, key: bytes | None, value: bytes | None) -> Record:
        self._next += 1
        return Record(self._next - 1, recorded_at_ms, key, value)


def _event(record: Any) -> AnyEvent | None:  # noqa: ANN401 - kafka-python has no types
    event = read_record(record.key, record.value, now_ms=record.timestamp)
    return None if isinstance(event, Rejection) else event
