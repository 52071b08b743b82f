-- The sums of the inner query come from the projection `packs` of the ledger. A settlement may take a refund back;
-- one that the platform did may have given no calls back. A pack that has expired holds what late events may still take
-- until it lapses; nobody can use it any more. Where a purchase was corrected, its newest line has the terms; one of negative
-- calls took the pack away.
CREATE OR REPLACE VIEW packs
(
    appid String COMMENT 'The app',
    capability LowCardinality(String) COMMENT 'quick or realtime',
    pack_id String COMMENT 'The pack',
    order_id String COMMENT 'The order that bought it',
    calls Int64 COMMENT 'Its size',
    validity_days Int32 COMMENT 'For how many days it is valid',
    price_micro_yuan Int64 COMMENT 'Its price, in millionths of a yuan',
    paid_at DateTime64(3, 'UTC') COMMENT 'When it was paid',
    starts_at DateTime64(3, 'UTC') COMMENT 'When it becomes valid',
    expires_at DateTime64(3, 'UTC') COMMENT 'When it is gone; at this moment itself it is',
    used_before Int64 COMMENT 'Calls of it that were used before this log; they cost nothing here',
    charged Int64 COMMENT 'Calls taken from it',
    lapsed Int64 COMMENT 'Calls that it lost at its expiry',
    refunded Int64 COMMENT 'Calls given back with it; none if the platform took back a pack that held none',
    remaining Int64 COMMENT 'Calls that it holds: calls - used_before - charged - lapsed - refunded; only those of active packs are left to use',
    status LowCardinality(String) COMMENT 'Now: pending, active, exhausted, expired (late events may still take from it), lapsed or refunded',
    amount_micro_yuan Int64 COMMENT 'Cost of the calls taken from it, in millionths of a yuan'
) AS
WITH (SELECT now FROM clock) AS at
SELECT
    bought.appid AS appid,
    bought.capability AS capability,
    bought.pack_id AS pack_id,
    bought.order_id AS order_id,
    bought.size AS calls,
    bought.validity_days AS validity_days,
    bought.price_micro_yuan AS price_micro_yuan,
    bought.paid_at AS paid_at,
    bought.starts_at AS starts_at,
    bought.expires_at AS expires_at,
    moved.used_before AS used_before,
    moved.charged AS charged,
    moved.lapsed AS lapsed,
    moved.refunded AS refunded,
    bought.size - moved.used_before - moved.charged - moved.lapsed - moved.refunded AS remaining,
    multiIf(
        moved.refunded > 0 OR moved.refunds = 1, 'refunded',
        moved.lapsed > 0, 'lapsed',
        bought.size - moved.used_before - moved.charged <= 0, 'exhausted',
        at < bought.starts_at, 'pending',
        at >= bought.expires_at, 'expired',
        'active'
    ) AS status,
    moved.money AS amount_micro_yuan
FROM
(
    SELECT
        appid,
        newest.1 AS capability,
        pack_id,
        JSONExtractString(newest.2, 'order_id') AS order_id,
        newest.3 AS size,
        JSONExtract(newest.2, 'validity_days', 'Int32') AS validity_days,
        JSONExtractInt(newest.2, 'price_micro_yuan') AS price_micro_yuan,
        fromUnixTimestamp64Milli(JSONExtractInt(newest.2, 'paid_at_ms'), 'UTC') AS paid_at,
        fromUnixTimestamp64Milli(JSONExtractInt(newest.2, 'starts_at_ms'), 'UTC') AS starts_at,
        fromUnixTimestamp64Milli(JSONExtractInt(newest.2, 'expires_at_ms'), 'UTC') AS expires_at
    FROM
    (
        SELECT appid, pack_id, argMax((capability, details, calls), (source_offset, line)) AS newest
        FROM ledger
        WHERE kind = 'purchase'
        GROUP BY appid, pack_id
    )
    WHERE size > 0
) AS bought
LEFT JOIN
(
    SELECT
        appid,
        capability,
        pack_id,
        sumIf(moved_calls, kind = 'opening') AS used_before,
        sumIf(moved_calls, kind = 'charge') AS charged,
        sumIf(moved_calls, kind = 'lapse') AS lapsed,
        sumIf(moved_calls, kind = 'refund') AS refunded,
        sumIf(times, kind = 'refund') AS refunds,
        sumIf(moved_money, kind = 'charge') AS money
    FROM
    (
        SELECT
            appid, capability, pack_id, kind,
            sum(calls) AS moved_calls, sum(amount_micro_yuan) AS moved_money, count() AS times
        FROM ledger
        GROUP BY appid, capability, pack_id, kind
    )
    WHERE pack_id != ''
    GROUP BY appid, capability, pack_id
) AS moved
USING (appid, capability, pack_id)
COMMENT 'Every pack that was bought: its terms, where its calls went, what it holds'
