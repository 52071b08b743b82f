-- Days without any use are there, because each pack brings its own days: from its start to its expiry or to today. A day outside of these, such as that of a refund before the start, comes with its move. What was used before this log was so from the first day on.
CREATE OR REPLACE VIEW pack_burndown
(
    appid String COMMENT 'The app',
    capability LowCardinality(String) COMMENT 'quick or realtime',
    pack_id String COMMENT 'The pack',
    day Date COMMENT 'The day, in Shanghai',
    calls Int64 COMMENT 'Size of the pack',
    used_before Int64 COMMENT 'Calls of it that were used before this log, the same on every day',
    charged Int64 COMMENT 'Calls taken from it on that day',
    lapsed Int64 COMMENT 'Calls that it lost on that day, which is that of its expiry',
    refunded Int64 COMMENT 'Calls given back with it on that day',
    remaining Int64 COMMENT 'Calls that it held at the end of the day'
) AS
SELECT
    appid,
    capability,
    pack_id,
    day,
    size AS calls,
    before AS used_before,
    day_charged AS charged,
    day_lapsed AS lapsed,
    day_refunded AS refunded,
    size - before - gone AS remaining
FROM
(
    SELECT
        appid,
        capability,
        pack_id,
        day,
        day_charged,
        day_lapsed,
        day_refunded,
        max(day_size) OVER (PARTITION BY appid, capability, pack_id) AS size,
        max(day_before) OVER (PARTITION BY appid, capability, pack_id) AS before,
        sum(day_charged + day_lapsed + day_refunded) OVER (PARTITION BY appid, capability, pack_id ORDER BY day) AS gone
    FROM
    (
        SELECT
            appid,
            capability,
            pack_id,
            day,
            max(pack_size) AS day_size,
            max(pack_before) AS day_before,
            sum(moved_charged) AS day_charged,
            sum(moved_lapsed) AS day_lapsed,
            sum(moved_refunded) AS day_refunded
        FROM
        (
            SELECT
                appid,
                capability,
                pack_id,
                arrayJoin(arrayMap(n -> toDate(starts_at, 'Asia/Shanghai') + n, range(toUInt64(greatest(0, 1
                    + least(toDate(expires_at, 'Asia/Shanghai'), assumeNotNull((SELECT toDate(now, 'Asia/Shanghai') FROM clock)))
                    - toDate(starts_at, 'Asia/Shanghai')))))) AS day,
                calls AS pack_size,
                used_before AS pack_before,
                toInt64(0) AS moved_charged,
                toInt64(0) AS moved_lapsed,
                toInt64(0) AS moved_refunded
            FROM packs
            UNION ALL
            SELECT
                appid,
                capability,
                pack_id,
                toDate(time, 'Asia/Shanghai') AS day,
                toInt64(0) AS pack_size,
                toInt64(0) AS pack_before,
                if(kind = 'charge', calls, 0) AS moved_charged,
                if(kind = 'lapse', calls, 0) AS moved_lapsed,
                if(kind = 'refund', calls, 0) AS moved_refunded
            FROM ledger
            WHERE kind IN ('charge', 'lapse', 'refund')
        )
        GROUP BY appid, capability, pack_id, day
    )
)
WHERE size > 0
COMMENT 'Every pack by Shanghai day, with zeros for days without any use: what went, and what was left'
