CREATE OR REPLACE VIEW orders
(
    appid String COMMENT 'The app',
    capability LowCardinality(String) COMMENT 'quick or realtime',
    order_id String COMMENT 'The order',
    pack_id String COMMENT 'The pack that it bought',
    calls Int64 COMMENT 'Size of the pack',
    validity_days Int32 COMMENT 'For how many days it is valid',
    price_micro_yuan Int64 COMMENT 'Its price, in millionths of a yuan',
    paid_at DateTime64(3, 'UTC') COMMENT 'When it was paid',
    recorded_at DateTime64(3, 'UTC') COMMENT 'When its record arrived',
    status LowCardinality(String) COMMENT 'paid, refunded, or refused: no pack came of it',
    refused_because LowCardinality(String) COMMENT 'Why it was refused, one word; empty otherwise',
    refunded_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When it was given back; NULL if it was not',
    refund_refused_because LowCardinality(String) COMMENT 'Why the last attempt to give it back was refused, one word; empty without one'
) AS
SELECT
    bought.appid AS appid,
    bought.capability AS capability,
    bought.order_id AS order_id,
    bought.pack_id AS pack_id,
    bought.size AS calls,
    bought.validity_days AS validity_days,
    bought.price_micro_yuan AS price_micro_yuan,
    bought.paid_at AS paid_at,
    bought.recorded_at AS recorded_at,
    multiIf(bought.kind = 'purchase_refused', 'refused', back.refunds > 0, 'refunded', 'paid') AS status,
    bought.reason AS refused_because,
    if(bought.kind = 'purchase', back.refunded_at, NULL) AS refunded_at,
    if(bought.kind = 'purchase', back.refusal, '') AS refund_refused_because
FROM
(
    SELECT
        appid,
        capability,
        kind,
        reason,
        pack_id,
        recorded_at,
        JSONExtractString(details, 'order_id') AS order_id,
        JSONExtractInt(details, 'calls') AS size,
        JSONExtract(details, 'validity_days', 'Int32') AS validity_days,
        JSONExtractInt(details, 'price_micro_yuan') AS price_micro_yuan,
        fromUnixTimestamp64Milli(JSONExtractInt(details, 'paid_at_ms'), 'UTC') AS paid_at
    FROM ledger
    WHERE kind IN ('purchase', 'purchase_refused')
) AS bought
LEFT JOIN
(
    SELECT
        appid,
        pack_id,
        countIf(kind = 'refund') AS refunds,
        minOrNullIf(time, kind = 'refund') AS refunded_at,
        argMaxIf(reason, (source_offset, line), kind = 'refund_refused') AS refusal
    FROM ledger
    WHERE kind IN ('refund', 'refund_refused')
    GROUP BY appid, pack_id
) AS back
USING (appid, pack_id)
COMMENT 'Every purchase of a pack that was recorded, and what became of it'
