"""The queries behind an app's agreement with the platform, on the ledger in ClickHouse."""

from typing import Final

from metering.agreement_causes import (
    DOUBLE_TAP_MS,
    EXCHANGE_ERRNOS,
    EXCHANGE_SOURCE,
    LAG_MS,
    LEGACY_SOURCE,
)
from metering.times import MINUTE_MS

LATE_MS: Final = MINUTE_MS
"""The time after an observation from which on a call that arrives, or a purchase, is late."""

SHARED: Final = (
    "SELECT count() FROM ledger WHERE appid = %(appid)s AND kind = 'trial_grant' AND capability = ''"
)

KNOWN: Final = "SELECT count() FROM ledger WHERE appid = %(appid)s"

EARLIEST: Final = """
SELECT toUnixTimestamp64Milli(min(time)) FROM ledger
WHERE appid = %(appid)s AND kind = 'usage_observed' AND JSONExtractString(details, 'covers') != 'capability'
"""

NEWEST: Final = """
SELECT count(), toUnixTimestamp64Milli(max(time)) FROM ledger
WHERE appid = %(appid)s AND kind = 'usage_observed' AND JSONExtractString(details, 'covers') != 'capability'
"""

OBSERVED: Final = """
SELECT
    toString(capability) AS of_capability, pack_id, toUnixTimestamp64Milli(time) AS at,
    argMax(JSONExtractInt(details, 'used'), (source_offset, line)),
    argMax(JSONExtractInt(details, 'size'), (source_offset, line))
FROM ledger
WHERE appid = %(appid)s AND kind = 'usage_observed' AND JSONExtractString(details, 'covers') != 'capability'
    AND time > fromUnixTimestamp64Milli(%(from_ms)s) AND time <= fromUnixTimestamp64Milli(%(to_ms)s)
GROUP BY of_capability, pack_id, at
ORDER BY at
LIMIT %(most)s
"""

ROUNDS: Final = """
    SELECT
        appid, at,
        lagInFrame(at, 1, toDateTime64(0, 3, 'UTC')) OVER (
            ORDER BY at ROWS BETWEEN 1 PRECEDING AND CURRENT ROW
        ) AS earlier
    FROM
    (
        SELECT DISTINCT appid, time AS at FROM ledger
        WHERE appid = %(appid)s AND kind = 'usage_observed'
            AND JSONExtractString(details, 'covers') != 'capability'
            AND time > fromUnixTimestamp64Milli(%(from_ms)s) AND time <= fromUnixTimestamp64Milli(%(to_ms)s)
    )
"""

POLICY: Final = """
SELECT argMax(JSONExtractString(details, 'policy'), (source_offset, line)) FROM ledger
WHERE appid = %(appid)s AND kind = 'agreement_set'
"""

FOLLOWED: Final = """
SELECT -sum(calls) FROM ledger
WHERE appid = %(appid)s AND kind = 'followed'
    AND time > fromUnixTimestamp64Milli(%(from_ms)s) AND time <= fromUnixTimestamp64Milli(%(to_ms)s)
"""

_FOLLOWS: Final = """(
    reason = 'settled'
    AND 'followed' IN (JSONExtractString(details, 'from'), JSONExtractString(details, 'to'))
)"""
"""The condition of an entry of calls that were booked to follow the platform: no event is behind them."""

COUNTED: Final = f"""
SELECT
    toString(call.of_capability), call.pack_id, toUnixTimestamp64Milli(round.at) AS at, sum(call.moved),
    sumIf(call.moved, call.at > round.at - toIntervalMillisecond({LAG_MS:d})),
    sumIf(call.moved, call.at <= round.earlier + toIntervalMillisecond({LAG_MS:d})),
    sum(call.followed)
FROM
(
    SELECT
        appid, capability AS of_capability, pack_id, time AS at,
        if({_FOLLOWS}, 0, calls) AS moved, calls - moved AS followed
    FROM ledger
    WHERE appid = %(appid)s AND kind IN ('charge', 'trial_charge', 'opening')
) AS call
ASOF INNER JOIN ({ROUNDS}) AS round ON call.appid = round.appid AND call.at <= round.at
GROUP BY call.of_capability, call.pack_id, at
"""  # noqa: S608 - our own number

PURCHASES: Final = """
SELECT
    toString(newest.1), pack_id, JSONExtractInt(newest.2, 'starts_at_ms'),
    JSONExtractInt(newest.2, 'expires_at_ms'), toUnixTimestamp64Milli(min(recorded_at)),
    argMin(event_id, (source_offset, line))
FROM
(
    SELECT
        *, recorded_at,
        argMax((capability, details, calls), (source_offset, line)) OVER (PARTITION BY pack_id) AS newest
    FROM ledger
    WHERE appid = %(appid)s AND kind = 'purchase'
)
WHERE newest.3 > 0
GROUP BY pack_id, newest
"""
"""The packs that there are, with the terms that corrections gave them and the arrival of their purchase."""

_VOID: Final = """
    SELECT fact_id FROM corrections
    WHERE appid = %(appid)s AND fact_kind = 'call' AND holds AND state = 'settled'
    GROUP BY fact_id
    HAVING argMax(action, (corrections.time, corrections.event_id)) = 'void'
"""

LATE: Final = f"""
SELECT
    if(call.reason = 'taken_over', 'late_purchase', 'late_event'),
    call.of_capability, call.at_ms, call.event_id
FROM
(
    SELECT
        appid, toString(capability) AS of_capability, time AS at, toUnixTimestamp64Milli(time) AS at_ms,
        event_id, reason, recorded_at AS arrived
    FROM ledger
    WHERE appid = %(appid)s AND kind IN ('charge', 'trial_charge') AND calls = 1 AND event_id != ''
        AND reason != 'settled' AND recorded_after_ms > {LATE_MS:d} AND event_id NOT IN ({_VOID})
        AND time > fromUnixTimestamp64Milli(%(from_ms)s) AND time <= fromUnixTimestamp64Milli(%(to_ms)s)
) AS call
ASOF INNER JOIN ({ROUNDS}) AS round ON call.appid = round.appid AND call.at <= round.at
WHERE call.arrived > round.at + toIntervalMillisecond({LATE_MS:d})
LIMIT %(most)s
"""  # noqa: S608 - our own numbers

FAILED: Final = f"""
SELECT
    if(endsWith(toString(source), '{EXCHANGE_SOURCE}') AND errno = 0, 'code_unused', 'exchange_failed'),
    toString(capability), toUnixTimestamp64Milli(time), event_id
FROM ledger
WHERE appid = %(appid)s AND kind = 'failed'
    AND (errno IN {EXCHANGE_ERRNOS} OR endsWith(toString(source), '{EXCHANGE_SOURCE}'))
    AND time > fromUnixTimestamp64Milli(%(from_ms)s) AND time <= fromUnixTimestamp64Milli(%(to_ms)s)
LIMIT %(most)s
"""  # noqa: S608 - our own words and numbers

NOT_CHARGED: Final = """
SELECT
    if(charged_to = 'uncovered', 'no_pack_here', 'not_charged_here'),
    toString(capability), toUnixTimestamp64Milli(time), event_id
FROM authorizations
WHERE appid = %(appid)s AND charged_to IN ('uncovered', 'exempt', 'free')
    AND time > fromUnixTimestamp64Milli(%(from_ms)s) AND time <= fromUnixTimestamp64Milli(%(to_ms)s)
LIMIT %(most)s
"""

DOUBTFUL: Final = f"""
SELECT
    arrayStringConcat(arrayFilter(cause -> cause != '', [
        if(client != '' AND at_ms - earlier_ms <= {DOUBLE_TAP_MS:d}, 'double_tap', ''),
        if(endsWith(told_by, '{LEGACY_SOURCE}'), 'legacy', ''),
        if(build NOT IN ('', 'release'), 'test_build', '')
    ]), ',') AS causes,
    of_capability, at_ms, event_id
FROM
(
    SELECT
        toString(capability) AS of_capability, toUnixTimestamp64Milli(time) AS at_ms, event_id, client,
        toString(source) AS told_by, toString(env) AS build,
        lagInFrame(at_ms, 1, toInt64(0)) OVER (
            PARTITION BY capability, client ORDER BY time, event_id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW
        ) AS earlier_ms
    FROM ledger
    WHERE appid = %(appid)s AND kind IN ('charge', 'trial_charge') AND calls = 1 AND event_id != ''
        AND reason != 'settled' AND event_id NOT IN ({_VOID})
        AND time > fromUnixTimestamp64Milli(%(from_ms)s - {DOUBLE_TAP_MS:d})
        AND time <= fromUnixTimestamp64Milli(%(to_ms)s)
)
WHERE causes != '' AND at_ms > %(from_ms)s
LIMIT %(most)s
"""  # noqa: S608 - our own words and numbers
