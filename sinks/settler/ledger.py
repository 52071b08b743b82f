"""The ledger in ClickHouse as the settler reads it: unsettled apps, their sums, their facts.

What is read of an app is as of an offset through which the ledger is complete. The sink stores the entries of
a source partition in order, so all of them are there below the newest one's offset. Of that offset itself
some may be missing, unless the newest entry is one that ends its record.
"""

from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import msgspec
from clickhouse_driver import Client
from msgspec import Struct, structs

from metering.ledger import Entry
from metering.ledger_facts import quota_of
from metering.settlement_facts import CallFact, LedgerGroup
from metering.times import DAY_MS, HOUR_MS, SHANGHAI_OFFSET_MS
from sinks.connection import FAILURES, connect, is_missing, sentence
from sinks.entry_columns import ID_DIGITS, ID_DIGITS_MIN
from sinks.errors import ClickHouseError
from sinks.ledger_table import TABLE_COLUMNS
from sinks.settler.following import FollowedDifference, FollowingApp

APPS_MAX: Final = 10_000
"""Unsettled apps that are read at once; the others are found when some of these are settled."""

WINDOW_CALLS: Final = 100_000
"""Calls that are read at once, as far as hours can be divided: about 20 MB."""

IDS_MAX: Final = 1_000
"""Event ids that are asked for at once: ClickHouse limits the length of a query."""

FACTS_MAX: Final = 100_000
"""Limit of facts of an app that are no calls. An app has at most 2,000 packs of each capability."""

CALL_KINDS: Final = ("charge", "trial_charge", "exempt", "uncovered", "corrected", "followed")
"""Kinds of calls whose quota depends on the order, which are all but those before the start of billing, those
that corrections took out, and those that were booked to follow the platform."""

FACT_KINDS: Final = (
    "trial_grant",
    "opening",
    "purchase",
    "purchase_refused",
    "correction",
    "refund",
    "refund_refused",
    "refund_waiting",
    "registration",
    "migration",
    "followed",
)

SETTLEMENT_KINDS: Final = ("unsettled", "settlement", "settlement_refused")

DERIVED: Final = ("taken_over", "settled")
"""Reasons of entries that move calls of earlier ones."""

READING: Final[dict[str, int]] = {"max_memory_usage": 1_500_000_000, "max_execution_time": 60}
"""Limits of each query."""


class UnsettledApp(NamedTuple):
    """An app and its newest entries about settlements.

    Attributes:
        from_ms: the time from which its figures may still change.
        marked_offset: offset of the entry that says so.
        settled_offset: offset of its last settlement; -1 if it had none.
        outcome_offset: offset of its last settlement that was applied or refused; -1 if it had none.
        outcome_id: its event id, as ClickHouse stores it.
        refusal: the reason if that was refused; empty if it was applied.
        misfits: number of settlements since the last applied one that did not fit.
        settled_as_of: offset as of which the last applied one was worked out; -1 if there was none.

    The last two are without those that follow the platform's count.
    """

    appid: str
    partition: int
    from_ms: int
    marked_offset: int
    settled_offset: int
    outcome_offset: int
    outcome_id: str
    refusal: str
    misfits: int = 0
    settled_as_of: int = -1


class AppScope(NamedTuple):
    """The entries of an app through an offset of its partition, from a time on."""

    appid: str
    partition: int
    as_of: int
    from_ms: int


_UNSETTLED: Final = f"""
SELECT
    appid, source_partition,
    toUnixTimestamp64Milli(argMaxIf(at, place, of_kind = 'unsettled')),
    toInt64(maxIf(place.1, of_kind = 'unsettled')),
    if(countIf(of_kind = 'settlement') > 0, toInt64(maxIf(place.1, of_kind = 'settlement')), -1),
    if(countIf(of_kind != 'unsettled') > 0, toInt64(maxIf(place.1, of_kind != 'unsettled')), -1),
    argMaxIf(id, place, of_kind != 'unsettled'),
    argMaxIf(if(of_kind = 'settlement', '', why), place, of_kind != 'unsettled'),
    toInt64(arrayCount(
        misfit -> misfit > maxIf(place, of_kind = 'settlement'),
        groupArrayIf(place, why = 'does_not_fit' AND NOT follows)
    )),
    if(countIf(of_kind = 'settlement' AND NOT follows) > 0,
        JSONExtractInt(argMaxIf(said, place, of_kind = 'settlement' AND NOT follows), 'as_of'), -1)
FROM
(
    SELECT
        appid, source_partition, toString(kind) AS of_kind, time AS at, (source_offset, line) AS place,
        event_id AS id, toString(reason) AS why, details AS said, JSONHas(details, 'follows') AS follows
    FROM ledger
    WHERE kind IN {SETTLEMENT_KINDS} AND reason != 'too_old'
)
GROUP BY appid, source_partition
HAVING argMaxIf(of_kind, place, of_kind != 'settlement_refused') = 'unsettled'
ORDER BY 4
LIMIT {APPS_MAX:d}
"""  # noqa: S608 - our own words

_NEWEST: Final = """
SELECT toString(kind), toString(reason), details, toInt64(source_offset) FROM ledger
WHERE source_partition = %(partition)s AND (source_offset, line) =
(
    SELECT max((source_offset, line)) FROM ledger WHERE source_partition = %(partition)s
)
"""

_OF_APP: Final = (
    "FROM ledger WHERE appid = %(appid)s AND source_partition = %(partition)s AND source_offset <= %(as_of)s"
)
_COUNT: Final = f"SELECT count() {_OF_APP}"

_OF_APPS: Final = f"""
FROM ledger
WHERE source_partition = %(partition)s AND source_offset <= %(as_of)s AND appid IN %(appids)s
    AND kind IN {(*CALL_KINDS, *FACT_KINDS)}
"""
_COUNTS: Final = f"SELECT appid, count() {_OF_APPS} GROUP BY appid"

_SINCE: Final = "capability IN ('quick', 'realtime') AND time >= fromUnixTimestamp64Milli(%(from_ms)s)"
_BEFORE: Final = "capability IN ('quick', 'realtime') AND time < fromUnixTimestamp64Milli(%(from_ms)s)"

_SUMS: Final = f"""
SELECT
    toString(kind), toString(capability), toString(pack_id),
    intDiv(toUnixTimestamp64Milli(time) + {SHANGHAI_OFFSET_MS:d}, {DAY_MS:d}) AS day,
    toString(scene), toString(store), toString(env), sum(calls) AS moved
{_OF_APP} AND {_SINCE} AND kind IN {CALL_KINDS}
GROUP BY kind, capability, pack_id, day, scene, store, env
HAVING moved != 0
LIMIT %(most)s
"""

_USED_BEFORE: Final = f"""
SELECT toString(kind), toString(capability), toString(pack_id), sum(calls)
{_OF_APP} AND {_BEFORE} AND kind IN ('charge', 'trial_charge')
GROUP BY kind, capability, pack_id
"""

_MILLISECONDS: Final = {
    "time": "toUnixTimestamp64Milli(time)",
    "recorded_at": "toUnixTimestamp64Milli(recorded_at)",
}
_ENTRY: Final = ", ".join(_MILLISECONDS.get(name, name) for name in TABLE_COLUMNS)
_ENTRIES: Final = f"SELECT {_ENTRY} {_OF_APPS} ORDER BY source_offset, line"
_FACTS: Final = f"""
SELECT {_ENTRY}
{_OF_APP} AND kind IN {FACT_KINDS} ORDER BY source_offset, line LIMIT {FACTS_MAX + 1:d}
"""

_A_CALL: Final = f"{_SINCE} AND kind IN {CALL_KINDS} AND calls = 1 AND reason NOT IN {DERIVED}"

_CALLS_OF: Final = f"""
SELECT
    toUnixTimestamp64Milli(time), toString(capability), toString(scene), toString(store), toString(env),
    event_id, toInt64(source_offset)
{_OF_APP} AND kind IN {CALL_KINDS} AND calls = 1 AND reason NOT IN {DERIVED} AND event_id IN %(event_ids)s
"""

_STORED_IDS: Final = f"""
SELECT DISTINCT event_id {_OF_APP} AND event_id IN
(
    SELECT arrayJoin(arrayMap(digits -> left(fact, digits), range({ID_DIGITS_MIN:d}, {ID_DIGITS:d})))
    FROM (SELECT JSONExtractString(details, 'event_id') AS fact {_OF_APP} AND kind = 'correction')
    WHERE length(fact) = {ID_DIGITS:d}
)
"""  # noqa: S608 - our own words

_HOURS: Final = f"""
SELECT intDiv(toUnixTimestamp64Milli(time), {HOUR_MS:d}) AS hour, count()
{_OF_APP} AND {_A_CALL} GROUP BY hour ORDER BY hour
"""

_CALLS: Final = f"""
SELECT
    toUnixTimestamp64Milli(time), toString(capability), toString(scene), toString(store), toString(env),
    event_id
{_OF_APP} AND {_A_CALL}
    AND time >= fromUnixTimestamp64Milli(%(begin_ms)s) AND time < fromUnixTimestamp64Milli(%(end_ms)s)
ORDER BY time, event_id
"""


_FOLLOWING: Final = """
SELECT appid, source_partition, argMaxIf(said, place, of_kind != 'agreement_set')
FROM
(
    SELECT
        appid, source_partition, toString(kind) AS of_kind, (source_offset, line) AS place,
        JSONExtractString(details, if(kind = 'agreement_set', 'policy', 'follows')) AS said
    FROM ledger
    WHERE kind IN ('agreement_set', 'settlement', 'settlement_refused')
        AND (kind = 'agreement_set' OR (reason != 'overtaken' AND JSONHas(details, 'follows')))
)
GROUP BY appid, source_partition
HAVING argMaxIf(said, place, of_kind = 'agreement_set') = 'follow'
"""

_NEWEST_SETTLEMENTS: Final = """
SELECT appid, toInt64(max(source_offset)) FROM ledger
WHERE kind = 'settlement' AND appid IN (SELECT appid FROM ledger WHERE kind = 'agreement_set')
GROUP BY appid
"""

_STAYING: Final = """
SELECT appid, toString(capability), pack_id, difference, toUnixTimestamp64Milli(since)
FROM agreement WHERE stays AND policy = 'follow'
"""


class SettlerLedger:
    """The ledger. All methods raise `ClickHouseError` only, and reconnect after it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._client: Client | None = None

    def unsettled(self) -> list[UnsettledApp]:
        """The unsettled apps, those that have been so for longest first."""
        return [UnsettledApp(*row) for row in self._rows(_UNSETTLED)]

    def complete_through(self, partition: int) -> int:
        """The highest offset through which the entries of a source partition are complete; -1 without one."""
        found = self._rows(_NEWEST, {"partition": partition})
        if not found:
            return -1
        return offset_of_end(*found[0])

    def count(self, scope: AppScope) -> int:
        """The number of entries of an app through an offset, to see that none came or went meanwhile."""
        ((count,),) = self._rows(_COUNT, scope._asdict())
        return int(count)

    def counts(self, partition: int, as_of: int, appids: Sequence[str]) -> dict[str, int]:
        """The numbers of entries of apps through an offset that a settlement may depend on."""
        asked = {"partition": partition, "as_of": as_of, "appids": tuple(appids)}
        return dict(self._rows(_COUNTS, asked)) if appids else {}

    def entries(self, partition: int, as_of: int, appids: Sequence[str]) -> dict[str, list[Entry]]:
        """The same entries, in the order of the log."""
        found: dict[str, list[Entry]] = {appid: [] for appid in appids}
        asked = {"partition": partition, "as_of": as_of, "appids": tuple(appids)}
        for row in self._rows(_ENTRIES, asked) if appids else ():
            entry = Entry(*row)
            found[entry.appid].append(entry)
        return found

    def facts(self, scope: AppScope) -> list[Entry]:
        """The entries of an app's facts that are no calls, all of them, in the order of the log."""
        entries = [Entry(*row) for row in self._rows(_FACTS, scope._asdict())]
        if not any(entry.kind == "correction" for entry in entries):
            return entries
        stored = {event_id for (event_id,) in self._rows(_STORED_IDS, scope._asdict())}
        return [with_stored_id(entry, stored) if entry.kind == "correction" else entry for entry in entries]

    def used_before(self, scope: AppScope) -> list[tuple[str, str, str, int]]:
        """The calls taken from each quota before the time: kind, capability, pack, calls."""
        return self._rows(_USED_BEFORE, scope._asdict())

    def sums(self, scope: AppScope, most: int) -> dict[LedgerGroup, int]:
        """The sums of calls by group from the time on; at most one more than `most`."""
        found = self._rows(_SUMS, {**scope._asdict(), "most": most + 1})
        return {
            LedgerGroup(capability, quota_of(kind, pack_id) or "", *where): calls
            for kind, capability, pack_id, *where, calls in found
        }

    def calls(self, scope: AppScope) -> Iterator[list[CallFact]]:
        """The calls from the time on, by time and event id, in lists that fit into memory."""
        hours = self._rows(_HOURS, scope._asdict())
        for begin, end in windows(hours, WINDOW_CALLS):
            times = {"begin_ms": begin * HOUR_MS, "end_ms": end * HOUR_MS}
            yield [CallFact(*row) for row in self._rows(_CALLS, {**scope._asdict(), **times})]

    def calls_of(self, scope: AppScope, event_ids: Sequence[str]) -> list[tuple[CallFact, int]]:
        """The calls of these event ids, whenever they were, with their source offsets."""
        found: list[tuple[Any, ...]] = []
        for at in range(0, len(event_ids), IDS_MAX):
            asked = {**scope._asdict(), "event_ids": tuple(event_ids[at : at + IDS_MAX])}
            found += self._rows(_CALLS_OF, asked)
        return [(CallFact(*row), offset) for *row, offset in found]

    def following(self) -> list[FollowingApp]:
        """The apps that follow the platform's count."""
        return [FollowingApp(*row) for row in self._rows(_FOLLOWING)]

    def newest_settlements(self) -> dict[str, int]:
        """The source offset of the newest settlement of each app that ever set a policy."""
        return dict(self._rows(_NEWEST_SETTLEMENTS))

    def staying(self) -> list[FollowedDifference]:
        """The differences that stay, of the apps that follow; as costly as three days of the ledger."""
        return [FollowedDifference(*row) for row in self._rows(_STAYING)]

    def close(self) -> None:
        """Close the connection."""
        client, self._client = self._client, None
        if client is not None:
            client.disconnect()

    def _rows(self, query: str, parameters: dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
        with self._connected() as client:
            found: list[tuple[Any, ...]] = client.execute(query, parameters, settings=READING)
        return found

    @contextmanager
    def _connected(self) -> Iterator[Client]:
        try:
            if self._client is None:
                self._client = connect(self._url, consistent=True)
            yield self._client
        except FAILURES as error:
            self.close()
            if is_missing(error):
                raise ClickHouseError("there is no ledger yet; the sink creates it") from error
            raise ClickHouseError(sentence(error)) from error


def with_stored_id(entry: Entry, stored: Set[str]) -> Entry:
    """The entry of a correction with its fact's id as ClickHouse has it, which may be its first digits."""
    said: dict[str, Any] = msgspec.json.decode(entry.details)
    whole = said["event_id"]
    if len(whole) != ID_DIGITS:
        return entry
    beginnings = (whole[:digits] for digits in range(ID_DIGITS_MIN, ID_DIGITS))
    said["event_id"] = next((each for each in beginnings if each in stored), whole)
    return structs.replace(entry, details=msgspec.json.encode(said).decode())


def offset_of_end(kind: str, reason: str, details: str, offset: int) -> int:
    """The highest offset through which a partition's entries are complete, given its newest entry.

    It is that of the newest entry if nothing that counts can follow it in its record, or else the one before.
    """
    is_last = kind == "settlement_refused" or (kind == "unsettled" and reason == "settlement")
    if kind == "settlement":
        told = _details.decode(details)
        is_last = not (told.moves or told.refunds or told.terms)
    return offset if is_last else offset - 1


class _SettlementDetails(Struct):
    """Details of a settlement: its numbers of moves, of refunds given or taken back, of other terms."""

    moves: int
    refunds: int
    terms: int = 0


_details: Final = msgspec.json.Decoder(_SettlementDetails)


def windows(hours: Sequence[tuple[Any, ...]], most: int) -> Iterator[tuple[int, int]]:
    """Divide hours, given with their numbers of calls, into ranges of at most `most` calls or of one hour."""
    begin, end, held = 0, 0, 0
    for hour, calls in hours:
        if held and held + calls > most:
            yield begin, end
            held = 0
        if not held:
            begin = hour
        end = hour + 1
        held += calls
    if held:
        yield begin, end
