"""The sums of all apps as ClickHouse has them, exactly up to the newest entry stored of each partition.

One table is read by several queries while the sink goes on writing it, so each leaves out what is newer than
the positions that were read first. What is kept of times is what decisions need: newest ones, and today's.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from clickhouse_driver import Client

from metering.ledger import CALL_KINDS, Entry
from metering.live_balances import AppSums
from metering.refusals import QUOTA_EXHAUSTED_ERRNO
from metering.times import DAY_MS, shanghai_midnight
from sinks.balances.memory import BalanceMemory
from sinks.connection import FAILURES, connect, sentence
from sinks.errors import ClickHouseError
from sinks.position import Position

COUNTS_AGE_MS_MAX: Final = 2 * DAY_MS
"""Age of a count of the platform from which on it is not read: WeChat is asked every hour."""

BLOCK_ROWS: Final = 65_536

_POSITIONS: Final = (
    "SELECT source_partition, max((source_offset, line)) FROM ledger GROUP BY source_partition"
)

_CLOCK: Final = """
SELECT countIf(appid = '' AND kind = 'clock_start') > 0, toUnixTimestamp64Milli(max(time))
FROM ledger WHERE {stored}
"""

_SUMS: Final = """
SELECT
    appid, toString(capability) AS of, pack_id, toString(kind) AS kind, sum(calls), count(),
    toUnixTimestamp64Milli(maxIf(least(time, recorded_at), kind = 'failed' OR (reason = '' AND calls > 0)))
FROM ledger
WHERE {stored} AND appid != '' AND (
    kind IN %(kinds)s OR (kind = 'failed' AND errno = %(refused)s)
)
GROUP BY appid, of, pack_id, kind
"""

_PURCHASES: Final = """
SELECT appid, pack_id, argMax((toString(capability), calls, details), (source_offset, line))
FROM ledger
WHERE {stored} AND kind = 'purchase'
GROUP BY appid, pack_id
"""

_FACTS: Final = """
SELECT
    appid, toString(capability) AS of, toString(kind), toUnixTimestamp64Milli(time), event_id,
    toString(reason), details
FROM ledger
WHERE {stored} AND kind IN ('registration', 'routing_set')
ORDER BY source_partition, source_offset, line
"""

_COUNTS: Final = """
WITH told AS
(
    SELECT
        appid, toString(capability) AS of, pack_id,
        JSONExtractString(details, 'covers') = 'capability' AS whole,
        max(time) AS at,
        argMax(details, (time, source_offset, line)) AS said,
        appid IN (SELECT appid FROM ledger WHERE kind = 'trial_grant' AND capability = '') AS shared
    FROM ledger
    WHERE {stored} AND kind = 'usage_observed' AND time > fromUnixTimestamp64Milli(%(from_ms)s)
    GROUP BY appid, of, pack_id, whole
)
SELECT told.appid, told.of, told.pack_id, toUnixTimestamp64Milli(any(told.at)), any(told.said),
    sumIf(
        called.calls,
        called.time > told.at
        AND if(told.whole, called.of = told.of,
            called.pack_id = told.pack_id AND (called.of = told.of OR (told.pack_id = '' AND told.shared)))
    )
FROM told
LEFT JOIN
(
    SELECT appid, toString(capability) AS of, pack_id, time, calls
    FROM ledger
    WHERE {stored} AND kind IN ('charge', 'trial_charge') AND reason = ''
        AND time > fromUnixTimestamp64Milli(%(from_ms)s)
        AND appid IN (SELECT appid FROM ledger WHERE kind = 'usage_observed')
) AS called
ON called.appid = told.appid
GROUP BY told.appid, told.of, told.pack_id, told.whole
"""

_STORES: Final = """
SELECT
    appid, toString(capability) AS of, toString(store) AS store,
    toInt32(toDate(time, 'Asia/Shanghai')) AS day, sum(calls)
FROM ledger
WHERE {stored} AND kind IN %(kinds)s AND appid != '' AND time >= fromUnixTimestamp64Milli(%(from_ms)s)
GROUP BY appid, of, store, day
"""

_MOVES: Final = ("charge", "opening", "lapse", "refund")
_SUMMED: Final = (*CALL_KINDS, "trial_grant", "opening", "lapse", "refund")


def fill(memory: BalanceMemory, url: str, wall_ms: int) -> None:
    """Fill an empty memory from ClickHouse.

    Raises:
        ClickHouseError: ClickHouse does not answer, or has no ledger yet.
    """
    try:
        with _connected(url) as client:
            positions = {int(one): Position(*at) for one, at in client.execute(_POSITIONS)}
            _Filling(memory, client, positions).run(wall_ms)
    except FAILURES as error:
        raise ClickHouseError(sentence(error)) from error
    memory.positions.update(positions)
    memory.publish_all()


@contextmanager
def _connected(url: str) -> Iterator[Client]:
    with connect(url, reply_timeout_s=600, consistent=True) as client:
        yield client


class _Filling:
    """One filling of a memory."""

    def __init__(self, memory: BalanceMemory, client: Client, positions: Mapping[int, Position]) -> None:
        self._memory = memory
        self._client = client
        self._stored = _stored_condition(positions)

    def run(self, wall_ms: int) -> None:
        ((ticks, newest_ms),) = self._rows(_CLOCK)
        self._memory.note_time(int(newest_ms), of_clock=bool(ticks))
        now_ms = self._memory.now_ms(wall_ms)
        for appid, *row in self._rows(_SUMS, kinds=_SUMMED, refused=QUOTA_EXHAUSTED_ERRNO):
            self._with(appid, _add_sum, row)
        for appid, pack_id, (capability, calls, details) in self._rows(_PURCHASES):
            self._with(appid, AppSums.buy, (capability, pack_id, calls, details))
        for appid, of, kind, time_ms, event_id, reason, details in self._rows(_FACTS):
            fact = Entry(0, 0, kind, time_ms, time_ms, appid, of, event_id, reason=reason, details=details)
            self._with(appid, AppSums.take, (fact,))
        for appid, *row in self._rows(_COUNTS, from_ms=now_ms - COUNTS_AGE_MS_MAX):
            self._with(appid, _observe, row)
        today_ms = shanghai_midnight(now_ms)
        for appid, *row in self._rows(_STORES, kinds=CALL_KINDS, from_ms=today_ms):
            self._with(appid, AppSums.count_store, row)

    def _with(self, appid: str, add: Any, values: Any) -> None:  # noqa: ANN401 - a row goes to its function
        sums = self._memory.sums(appid)
        if sums is not None:
            add(sums, *values)

    def _rows(self, query: str, **parameters: object) -> Iterator[tuple[Any, ...]]:
        found: Iterator[tuple[Any, ...]] = self._client.execute_iter(
            query.format(stored=self._stored), parameters, settings={"max_block_size": BLOCK_ROWS}
        )
        return found


def _stored_condition(positions: Mapping[int, Position]) -> str:
    """The condition of entries up to the positions."""
    if not positions:
        return "0"
    partitions = sorted(positions)
    offsets = ", ".join(str(positions[one].offset) for one in partitions)
    lines = ", ".join(str(positions[one].line) for one in partitions)
    of = f"transform(source_partition, {partitions}, {{}}, toUInt64(0))"
    offset, line = of.format(f"[{offsets}]"), of.format(f"[{lines}]")
    known = f"source_partition IN ({', '.join(map(str, partitions))})"
    return f"{known} AND (source_offset, toUInt64(line)) <= ({offset}, {line})"


def _add_sum(sums: AppSums, *row: Any) -> None:  # noqa: ANN401 - as the query has it
    capability, pack_id, kind, calls, times, newest_ms = row
    if kind == "trial_grant":
        sums.grant(capability, calls)
    elif kind in _MOVES:
        sums.move(kind, capability, pack_id, calls, times)
    elif kind == "trial_charge":
        sums.move(kind, capability, "", calls)
    if kind == "failed":
        sums.note_refusal(capability, newest_ms)
    elif kind in CALL_KINDS and newest_ms > 0:
        sums.note_success(capability, newest_ms)


def _observe(sums: AppSums, capability: str, pack_id: str, at_ms: int, said: str, since: int) -> None:
    sums.observe(capability, pack_id, at_ms, said, since)
