"""Reading of records: plainly valid events on a fast path, all others with a full diagnosis."""

from collections.abc import Container, Sequence, Set
from typing import NamedTuple, cast

import msgspec

from metering.bulk_checks import BULK_EVENTS, all_plain, is_utf8, suspicious_events
from metering.content_modes import EventFormatError, structured_event, value_is_event
from metering.duplicate_keys import SourceExtensions, has_unique_keys, minimum_colons
from metering.event_validation import decoder, is_appid, read_event, read_record
from metering.events import VALUE_BYTES_MAX, AnyEvent, Authorization
from metering.personal_identifiers import find_identifier, find_identifier_cached, is_store_code
from metering.placement import ANYWHERE, PartitionIndex
from metering.records import Record
from metering.rejections import Rejection
from metering.times import CLOCK_SKEW_MS, EARLIEST_MS, LATEST_MS, to_ms


def read(record: Record, at: PartitionIndex = ANYWHERE) -> AnyEvent | Rejection:
    """The event of a record of this partition, or its rejection."""
    try:
        value = structured_event(record.value, record.headers)
    except EventFormatError as error:
        return Rejection(error.reason, str(error))
    if record.recorded_at_ms is None and value is not None:
        return read_event(value, now_ms=None)
    return read_record(record.key, value, now_ms=record.recorded_at_ms, at=at)


Places = tuple[str, str, str, str, str]
"""Source, scene, store, env and content type of an event."""


class ParsedRecords(NamedTuple):
    """An event or a rejection for each of a run of records, and their times, 0 for a rejection."""

    events: list[AnyEvent | Rejection]
    times_ms: list[int]


def read_all(
    records: Sequence[Record], known: Container[str] = (), at: PartitionIndex = ANYWHERE
) -> ParsedRecords:
    """Read each record as `read` does, in less time: nearly all are valid authorizations.

    Records that are not plainly valid are left to `read`, so the fast path may be stricter, but never laxer.
    Subjects in `known`, those of earlier events in this partition, need no check.
    """
    reader = _BatchReader(known, at)
    for first in range(0, len(records), BULK_EVENTS):
        reader.read_some(records[first : first + BULK_EVENTS])
    return ParsedRecords(reader.events, reader.times_ms)


class _BatchReader:
    """The reader of a batch, some records at a time: what it learns from some speeds up the next."""

    def __init__(self, known: Container[str], at: PartitionIndex) -> None:
        self.events: list[AnyEvent | Rejection] = []
        self.times_ms: list[int] = []
        self._known = known
        self._at = at
        self._subjects: dict[bytes | None, str] = {}
        self._clean: dict[Places, int] = {}
        self._extensions = SourceExtensions()
        self._now_ms: int | None = None
        self._latest_ms = _latest_ms(None)

    def read_some(self, records: Sequence[Record]) -> None:
        """Read the next few records."""
        first = len(self.events)
        decode, add, add_time = decoder.decode, self.events.append, self.times_ms.append
        known, at, subjects, clean = self._known, self._at, self._subjects, self._clean
        extensions, sources = self._extensions, self._extensions.sources
        # Of the plain events so far, which are checked together at the end.
        colons = 0
        clients: list[str] = []
        apart: set[int] = set()
        now_ms, latest_ms = self._now_ms, self._latest_ms
        for record in records:
            if record.recorded_at_ms != now_ms:
                now_ms = record.recorded_at_ms
                latest_ms = _latest_ms(now_ms)
            value = record.value or b""
            try:
                event = decode(value)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                plain = False
            else:
                time_ms = to_ms(event.time)
                plain = (
                    isinstance(event, Authorization)
                    and EARLIEST_MS <= time_ms < latest_ms
                    and (
                        subjects.get(key := record.key) == event.subject
                        or (
                            key == event.subject.encode()
                            and (
                                event.subject in known
                                or (
                                    is_appid(event.subject)
                                    and find_identifier(event.subject) is None
                                    and at.has(key)
                                )
                            )
                            and subjects.setdefault(key, event.subject) == event.subject
                        )
                    )
                    and (
                        (
                            certain := clean.get(
                                places := (
                                    event.source,
                                    (data := event.data).scene,
                                    data.store,
                                    data.env,
                                    event.datacontenttype,
                                )
                            )
                            or _colons_of(places, clean)
                        )
                        > 0
                    )
                    and len(value) <= VALUE_BYTES_MAX
                    and (not record.headers or value_is_event(record.headers))
                )
            if plain:
                colons += certain
                if data.client:
                    clients.append(data.client)
                if sources:
                    colons += extensions.colons_in(value, event)
                add(event)
                add_time(time_ms)
            else:
                apart.add(len(self.events) - first)
                checked = read(record, at)
                add(checked)
                add_time(0 if isinstance(checked, Rejection) else to_ms(checked.time))
        self._now_ms, self._latest_ms = now_ms, latest_ms
        self._check_together(records, apart, clients, colons + len(clients))

    def _check_together(
        self, records: Sequence[Record], apart: Set[int], clients: Sequence[str], colons: int
    ) -> None:
        """Check the plain ones of the newest records together, and read suspicious ones again.

        `apart` are the indexes of those that are not plain.
        """
        first = len(self.events) - len(records)
        plain, events = records, cast("list[Authorization]", self.events[first:])
        if apart:
            plain = [record for index, record in enumerate(records) if index not in apart]
            events = [event for index, event in enumerate(events) if index not in apart]
        values = cast("list[bytes]", [record.value for record in plain])
        if all_plain(values, [event.id for event in events], clients, colons):
            return
        indexes = [first + index for index in range(len(records)) if index not in apart]
        for number in self._suspicious(values, events):
            checked = read(plain[number], self._at)
            self.events[indexes[number]] = checked
            self.times_ms[indexes[number]] = 0 if isinstance(checked, Rejection) else to_ms(checked.time)

    def _suspicious(self, values: Sequence[bytes], events: Sequence[Authorization]) -> set[int]:
        """Find the suspicious events among those that were checked together."""
        found = suspicious_events([event.id for event in events], [event.data.client for event in events])
        for index, (value, event) in enumerate(zip(values, events, strict=True)):
            if index not in found and not (is_utf8(value) and self._has_unique_keys(value, event)):
                found.add(index)
        return found

    def _has_unique_keys(self, value: bytes, event: Authorization) -> bool:
        """Return whether the keys of an event are plainly unique."""
        if self._extensions.explain(value, event):
            return True
        self._extensions.learn(value, event)
        return self._extensions.explain(value, event) or has_unique_keys(value, event)


def _colons_of(places: Places, clean: dict[Places, int]) -> int:
    """The minimum number of colons; 0 if a text identifies a person. Results are cached in `clean`."""
    source, scene, store, env, _ = places
    if (
        find_identifier_cached(source) is not None
        or find_identifier_cached(scene) is not None
        or (find_identifier_cached(store) is not None and not is_store_code(store))
        or find_identifier_cached(env) is not None
    ):
        return 0
    colons = clean[places] = minimum_colons(*places)
    return colons


def _latest_ms(now_ms: int | None) -> int:
    return LATEST_MS if now_ms is None else min(LATEST_MS, now_ms + CLOCK_SKEW_MS)
