"""The ledger in ClickHouse, as the audit reads it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import msgspec
from clickhouse_driver import Client
from msgspec import Struct

from metering.ledger import CALL_KINDS, Entry
from phonemeter.audit.figures import RANGE_OFFSETS, RangeFingerprint
from phonemeter.audit.shared_packs import SharedPack, shared_packs
from phonemeter.clickhouse import ledger_client
from sinks.balances.memory import wall_clock_ms
from sinks.connection import rows
from sinks.entry_columns import shorten_ids
from sinks.ledger_table import TABLE_COLUMNS
from sinks.position import BEFORE_ALL, Position
from sinks.retention import clients_forgotten_before_ms, created_table

REPLY_TIMEOUT_S: Final = 300.0
"""A fingerprint reads all entries of a partition."""

LINES_PER_PASS: Final = 5_000_000
"""Number of entries that ClickHouse searches for repeated ids at a time, which bounds its memory."""

REPEATED_MAX: Final = 1_000
PACKS_COMPARED_MAX: Final = 100_000
"""Limit of packs of several apps whose times in them are compared."""

STRAYS_MAX: Final = 1_000

_MILLISECONDS: Final = {
    "time": "toUnixTimestamp64Milli(time)",
    "recorded_at": "toUnixTimestamp64Milli(recorded_at)",
    # Deleted by the table's own rule, at any time after.
    "client": "if(toUnixTimestamp64Milli(time) < {forgotten_ms:d}, '', client)",
}
_FIELDS: Final = tuple(_MILLISECONDS.get(name, name) for name in TABLE_COLUMNS)
_WITHIN: Final = (
    "source_partition = {partition:d} AND (source_offset, line) <= ({upto.offset:d}, {upto.line:d})"
)

_FINGERPRINTS: Final = (
    f"SELECT intDiv(source_offset, {RANGE_OFFSETS:d}), count(), "  # noqa: S608 - our own names
    "sum(reinterpretAsUInt64(MD5(concatWithSeparator('\\x1f', "
    f"{', '.join(f'toString({field})' for field in _FIELDS)})))) "
    f"FROM ledger WHERE {_WITHIN} GROUP BY 1"
)
_LINES: Final = (
    f"SELECT {', '.join(_FIELDS)} FROM ledger WHERE {_WITHIN} "  # noqa: S608 - our own names
    "AND source_offset >= {first:d} AND source_offset < {end:d} ORDER BY source_offset, line"
)
_HIGHEST: Final = (
    "SELECT count(), max((source_offset, line)) FROM ledger WHERE source_partition = {partition:d}"
)
_STRAYS: Final = (
    f"SELECT {', '.join(_FIELDS)} FROM ledger WHERE source_partition = {{partition:d}} "  # noqa: S608 - our own names
    f"AND source_offset >= {{end:d}} ORDER BY source_offset, line LIMIT {STRAYS_MAX:d}"
)
_PARTITIONS: Final = "SELECT DISTINCT source_partition FROM ledger ORDER BY source_partition"
_REPEATED: Final = (
    "SELECT appid, event_id, min(source_partition), min(source_offset), max(source_offset), count(), "  # noqa: S608 - our own names
    "toUnixTimestamp64Milli(min(time)), toUnixTimestamp64Milli(max(time)) "
    f"FROM ledger WHERE kind IN {CALL_KINDS} AND calls = 1 AND reason NOT IN ('taken_over', 'settled') "
    "AND cityHash64(event_id) % {passes:d} = {number:d} GROUP BY appid, event_id "
    f"HAVING min(source_offset) != max(source_offset) ORDER BY appid, event_id LIMIT {REPEATED_MAX:d}"
)

_PLACES: Final = (
    "SELECT DISTINCT appid, source_partition FROM ledger "
    "WHERE event_id = %(event_id)s ORDER BY appid, source_partition LIMIT 100"
)
_LINES_AT: Final = (
    f"SELECT {', '.join(_FIELDS)} FROM ledger "  # noqa: S608 - our own names
    "WHERE source_partition = %(partition)s AND source_offset IN %(offsets)s "
    "AND (event_id = %(event_id)s OR source_offset IN %(whole)s) ORDER BY source_offset, line"
)

_OF_SHARED: Final = (
    f"SELECT {', '.join(_FIELDS)} FROM ledger WHERE kind IN ('purchase', 'refund') AND pack_id IN ("  # noqa: S608 - our own names
    "SELECT pack_id FROM ledger WHERE kind = 'purchase' GROUP BY pack_id HAVING uniq(appid) > 1 "
    f"ORDER BY pack_id LIMIT {PACKS_COMPARED_MAX:d}) ORDER BY appid, source_offset, line"
)


class RepeatedEvent(Struct, frozen=True):
    """An event id that was counted as a call more than once, with the first and the last of its records.

    Attributes:
        times: number of times that it was counted.
        first_ms, last_ms: the earliest and the latest of the events' own times.
    """

    appid: str
    event_id: str
    partition: int
    first_offset: int
    last_offset: int
    times: int
    first_ms: int
    last_ms: int


class StoredLedger:
    """The ledger in ClickHouse. Made by `open_stored_ledger`."""

    def __init__(self, client: Client, id_digits: int, forgotten_before_ms: int = 0) -> None:
        self._client = client
        self._id_digits = id_digits
        self.forgotten_before_ms = forgotten_before_ms

    def as_stored(self, entry: Entry) -> Entry:
        """The entry as ClickHouse has it: first digits of a SHA-256, no client where it may be forgotten."""
        event_id = self._shortened(entry.event_id)
        client = entry.client if entry.time_ms >= self.forgotten_before_ms else ""
        if (event_id, client) == (entry.event_id, entry.client):
            return entry
        return msgspec.structs.replace(entry, event_id=event_id, client=client)

    def highest(self, partition: int) -> Position:
        """The position of the last entry of a source partition."""
        ((count, highest),) = rows(self._client, _HIGHEST.format(partition=partition))
        return Position(*highest) if count else BEFORE_ALL

    def fingerprints(self, partition: int, upto: Position) -> dict[int, RangeFingerprint]:
        """The fingerprints of a partition's entries up to `upto`, by number of the range."""
        if upto < Position(0, 0):
            return {}
        found = rows(self._client, self._filled(_FINGERPRINTS, partition=partition, upto=upto))
        return {number: RangeFingerprint(lines, fingerprint) for number, lines, fingerprint in found}

    def lines(self, partition: int, upto: Position, number: int) -> list[Entry]:
        """The entries of one range."""
        first = number * RANGE_OFFSETS
        end = first + RANGE_OFFSETS
        query = self._filled(_LINES, partition=partition, upto=upto, first=first, end=end)
        return _entries(rows(self._client, query))

    def strays(self, partition: int, end: int) -> list[Entry]:
        """The entries of records beyond the end of the log."""
        return _entries(rows(self._client, self._filled(_STRAYS, partition=partition, end=end)))

    def partitions(self) -> list[int]:
        """The source partitions of all entries."""
        return [partition for (partition,) in rows(self._client, _PARTITIONS)]

    def places_of(self, event_id: str) -> list[tuple[str, int]]:
        """The apps with entries of an event of this id, each with its source partition."""
        return [
            (appid, partition)
            for appid, partition in rows(self._client, _PLACES, {"event_id": self._shortened(event_id)})
        ]

    def lines_at(
        self, partition: int, offsets: Sequence[int], event_id: str, whole: Sequence[int]
    ) -> list[Entry]:
        """The entries at some offsets: those of an event, and all at the offsets `whole`."""
        parameters = {
            "partition": partition,
            "offsets": tuple(offsets),
            "event_id": self._shortened(event_id),
            "whole": tuple(whole),
        }
        return _entries(rows(self._client, self._filled(_LINES_AT), parameters))

    def repeated(self) -> list[RepeatedEvent]:
        """The event ids that were counted more than once, because they were repeated after the window."""
        ((lines,),) = rows(self._client, "SELECT count() FROM ledger")
        passes = 1 + lines // LINES_PER_PASS
        found: list[RepeatedEvent] = []
        for number in range(passes):
            found += (
                RepeatedEvent(*row)
                for row in rows(self._client, _REPEATED.format(passes=passes, number=number))
            )
        return found[:REPEATED_MAX]

    def shared_packs(self) -> list[SharedPack]:
        """The packs that were in two apps at once, in whatever partitions these are."""
        return shared_packs(_entries(rows(self._client, self._filled(_OF_SHARED))))

    def _filled(self, query: str, **values: object) -> str:
        return query.format(forgotten_ms=self.forgotten_before_ms, **values)

    def _shortened(self, event_id: str) -> str:
        return shorten_ids((event_id,), self._id_digits)[0]


@contextmanager
def open_stored_ledger(url: str, id_digits: int) -> Iterator[StoredLedger]:
    """The ledger in the ClickHouse at `url`, which stores `id_digits` digits of hashes.

    Raises:
        OperationError: ClickHouse does not answer, or has no ledger yet.
    """
    with ledger_client(url, reply_timeout_s=REPLY_TIMEOUT_S, consistent=True) as client:
        _, created = created_table(url)
        yield StoredLedger(client, id_digits, clients_forgotten_before_ms(created, wall_clock_ms()))


def _entries(found: Sequence[tuple[Any, ...]]) -> list[Entry]:
    return [Entry(*row) for row in found]
