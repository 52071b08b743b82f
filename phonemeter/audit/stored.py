"""The ledger in ClickHouse as the audit asks about it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from clickhouse_driver import Client
from clickhouse_driver.errors import Error, ErrorCodes
from msgspec import Struct

from metering.ledger import CALL_KINDS, Entry
from phonemeter.audit.figures import STRETCH_OFFSETS, Stretch
from phonemeter.errors import OperationError
from sinks.connection import FAILURES, connect, rows, sentence
from sinks.lines import BEFORE_ALL, Position, shortened
from sinks.store import TABLE_COLUMNS

REPLY_TIMEOUT_S: Final = 300.0
"""A fingerprint reads all lines of a partition."""

NOT_SET_UP: Final = frozenset({ErrorCodes.UNKNOWN_TABLE, ErrorCodes.UNKNOWN_DATABASE})
LINES_PER_PASS: Final = 5_000_000
"""Lines among which ClickHouse looks for repeated ids at a time, so that it holds no more ids than that."""

REPEATED_MAX: Final = 1_000
STRAYS_MAX: Final = 1_000

_MILLISECONDS: Final = {
    "time": "toUnixTimestamp64Milli(time)",
    "recorded_at": "toUnixTimestamp64Milli(recorded_at)",
}
_FIELDS: Final = tuple(_MILLISECONDS.get(name, name) for name in TABLE_COLUMNS)
_WITHIN: Final = (
    "source_partition = {partition:d} AND (source_offset, line) <= ({upto.offset:d}, {upto.line:d})"
)

_STRETCHES: Final = (
    f"SELECT intDiv(source_offset, {STRETCH_OFFSETS:d}), count(), "  # noqa: S608 - our own names
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
    f"FROM ledger WHERE kind IN {CALL_KINDS} AND calls = 1 AND reason != 'taken_over' "
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


class Repeated(Struct, frozen=True):
    """An event id that was counted as a call more than once.

    Attributes:
        appid, event_id: the event.
        partition: where its records stand.
        first_offset, last_offset: the first and the last of them.
        times: how often it was counted.
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
    """The ledger in ClickHouse. Made by `asking`."""

    def __init__(self, client: Client, id_digits: int) -> None:
        self._client = client
        self._id_digits = id_digits

    def as_stored(self, entry: Entry) -> Entry:
        """The line as ClickHouse keeps it: of an event id that is a SHA-256 the first digits only."""
        event_id = self._shortened(entry.event_id)
        return entry if event_id == entry.event_id else msgspec.structs.replace(entry, event_id=event_id)

    def highest(self, partition: int) -> Position:
        """The highest line of a source partition."""
        ((count, highest),) = rows(self._client, _HIGHEST.format(partition=partition))
        return Position(*highest) if count else BEFORE_ALL

    def stretches(self, partition: int, upto: Position) -> dict[int, Stretch]:
        """The fingerprints of a partition's lines up to one of them, by number of the stretch."""
        if upto < Position(0, 0):
            return {}
        found = rows(self._client, _STRETCHES.format(partition=partition, upto=upto))
        return {number: Stretch(lines, fingerprint) for number, lines, fingerprint in found}

    def lines(self, partition: int, upto: Position, stretch: int) -> list[Entry]:
        """The lines of one stretch."""
        first = stretch * STRETCH_OFFSETS
        query = _LINES.format(partition=partition, upto=upto, first=first, end=first + STRETCH_OFFSETS)
        return _entries(rows(self._client, query))

    def strays(self, partition: int, end: int) -> list[Entry]:
        """Lines of records that lie beyond the end of the log."""
        return _entries(rows(self._client, _STRAYS.format(partition=partition, end=end)))

    def partitions(self) -> list[int]:
        """The source partitions that lines say they come from."""
        return [partition for (partition,) in rows(self._client, _PARTITIONS)]

    def places_of(self, event_id: str) -> list[tuple[str, int]]:
        """The apps that have lines of an event of this id, each with its source partition."""
        return [
            (appid, partition)
            for appid, partition in rows(self._client, _PLACES, {"event_id": self._shortened(event_id)})
        ]

    def lines_at(
        self, partition: int, offsets: Sequence[int], event_id: str, whole: Sequence[int]
    ) -> list[Entry]:
        """Lines at some offsets: those of an event, and at the offsets `whole` all."""
        parameters = {
            "partition": partition,
            "offsets": tuple(offsets),
            "event_id": self._shortened(event_id),
            "whole": tuple(whole),
        }
        return _entries(rows(self._client, _LINES_AT, parameters))

    def repeated(self) -> list[Repeated]:
        """Event ids that were counted more than once, of which the rules only know the newest for a while."""
        ((lines,),) = rows(self._client, "SELECT count() FROM ledger")
        passes = 1 + lines // LINES_PER_PASS
        found: list[Repeated] = []
        for number in range(passes):
            found += (
                Repeated(*row) for row in rows(self._client, _REPEATED.format(passes=passes, number=number))
            )
        return found[:REPEATED_MAX]

    def _shortened(self, event_id: str) -> str:
        return shortened((event_id,), self._id_digits)[0]


@contextmanager
def asking(url: str, id_digits: int) -> Iterator[StoredLedger]:
    """The ledger in the ClickHouse at `url`, which keeps so many digits of hashes.

    Raises:
        OperationError: ClickHouse does not answer, or has no ledger yet.
    """
    try:
        with connect(url, reply_timeout_s=REPLY_TIMEOUT_S) as client:
            yield StoredLedger(client, id_digits)
    except FAILURES as error:
        place = urlsplit(url)
        where = f"ClickHouse at {place.hostname}:{place.port or 9000}"
        if isinstance(error, Error) and error.code in NOT_SET_UP:
            raise OperationError(
                f"{where} has no ledger yet: start the sink, which makes it (phonemeter up)."
            ) from error
        raise OperationError(
            f"{where} does not answer as it should ({sentence(error)}): start it (phonemeter up), or set "
            f"PHONEMETER_CLICKHOUSE."
        ) from error


def _entries(found: Sequence[tuple[Any, ...]]) -> list[Entry]:
    return [Entry(*row) for row in found]
