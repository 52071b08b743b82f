-- The sums of the inner query come from the projection `packs` of the ledger. Time is the ledger's newest line: in
-- production that is now, in a replayed past it is the end of what was replayed.
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
    charged Int64 COMMENT 'Calls taken from it',
    lapsed Int64 COMMENT 'Calls that it lost at its expiry',
    refunded Int64 COMMENT 'Calls given back with it',
    remaining Int64 COMMENT 'Calls that it holds: calls - charged - lapsed - refunded',
    status LowCardinality(String) COMMENT 'pending, active, exhausted, lapsed or refunded, as of the newest line of the ledger',
    amount_micro_yuan Int64 COMMENT 'Cost of the calls taken from it, in millionths of a yuan'
) AS
WITH (SELECT max(time) FROM ledger) AS newest
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
    moved.charged AS charged,
    moved.lapsed AS lapsed,
    moved.refunded AS refunded,
    bought.size - moved.charged - moved.lapsed - moved.refunded AS remaining,
    multiIf(
        moved.refunds > 0, 'refunded',
        moved.lapses > 0, 'lapsed',
        bought.size - moved.charged <= 0, 'exhausted',
        bought.starts_at > newest, 'pending',
        'active'
    ) AS status,
    moved.money AS amount_micro_yuan
FROM
(
    SELECT
        appid,
        capability,
        pack_id,
        JSONExtractString(details, 'order_id') AS order_id,
        ledger.calls AS size,
        JSONExtract(details, 'validity_days', 'Int32') AS validity_days,
        JSONExtractInt(details, 'price_micro_yuan') AS price_micro_yuan,
        fromUnixTimestamp64Milli(JSONExtractInt(details, 'paid_at_ms'), 'UTC') AS paid_at,
        fromUnixTimestamp64Milli(JSONExtractInt(details, 'starts_at_ms'), 'UTC') AS starts_at,
        fromUnixTimestamp64Milli(JSONExtractInt(details, 'expires_at_ms'), 'UTC') AS expires_at
    FROM ledger
    WHERE kind = 'purchase'
) AS bought
LEFT JOIN
(
    SELECT
        appid,
        capability,
        pack_id,
        sumIf(moved_calls, kind = 'charge') AS charged,
        sumIf(moved_calls, kind = 'lapse') AS lapsed,
        sumIf(moved_calls, kind = 'refund') AS refunded,
        sumIf(times, kind = 'lapse') AS lapses,
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
