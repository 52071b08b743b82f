-- One row for each purchase that was recorded. Its terms are those of the newest line about it: a correction adds further
-- lines, which name the purchase (`of`). That is its event id, or the whole one of which the ledger keeps the first digits.
CREATE OR REPLACE VIEW orders
(
    appid String COMMENT 'The app',
    capability LowCardinality(String) COMMENT 'quick or realtime',
    order_id String COMMENT 'The order',
    pack_id String COMMENT 'The pack that it bought',
    calls Int64 COMMENT 'Size of the pack',
    validity_days Int32 COMMENT 'For how many days it is valid',
    price_micro_yuan Int64 COMMENT 'Its price, in millionths of a yuan',
    price_basis LowCardinality(String) COMMENT 'Where the price is from: paid, catalogue (the platform reported the pack), or unknown: the price is 0',
    paid_at DateTime64(3, 'UTC') COMMENT 'When it was paid',
    assigned_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When an agency assigned the pack to the app; NULL for one that was bought',
    recorded_at DateTime64(3, 'UTC') COMMENT 'When its record arrived',
    status LowCardinality(String) COMMENT 'paid, refunded, refused: no pack came of it, or void: a correction took it away',
    refused_because LowCardinality(String) COMMENT 'Why it was refused, one word; empty otherwise',
    refunded_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When it was given back; NULL if it was not',
    refund_refused_because LowCardinality(String) COMMENT 'Why the last attempt to give it back was refused, one word; empty without one',
    event_id String COMMENT 'Event of the purchase',
    corrected Bool COMMENT 'Whether a correction changed its terms or took it away, and is settled'
) AS
WITH
    lines AS
    (
        SELECT
            appid AS of_app,
            event_id AS id,
            kind AS of_kind,
            reason AS why,
            capability AS of_capability,
            pack_id AS pack,
            recorded_at AS arrived,
            (source_offset, line) AS place,
            calls AS moved,
            details AS terms,
            if(why = 'settled', JSONExtractString(details, 'of'), event_id) AS of_event,
            argMax(place, place) OVER (PARTITION BY of_app, pack, of_kind) AS newest_of_pack
        FROM ledger
        WHERE kind IN ('purchase', 'purchase_refused')
    ),
    changed AS
    (
        SELECT
            of_app,
            arrayJoin(if(match(of_event, '^[0-9a-f]{64}$'), arrayMap(digits -> left(of_event, digits), range(16, 65)), [of_event])) AS name,
            argMax(of_capability, place) AS of_capability,
            argMax(pack, place) AS pack,
            argMax(terms, place) AS terms,
            max(place) = argMax(newest_of_pack, place) AS is_held
        FROM lines
        WHERE why = 'settled' AND moved > 0
        GROUP BY of_app, of_event
    )
SELECT
    bought.of_app AS appid,
    bought.of_capability AS capability,
    JSONExtractString(bought.terms, 'order_id') AS order_id,
    bought.pack AS pack_id,
    JSONExtractInt(bought.terms, 'calls') AS calls,
    JSONExtract(bought.terms, 'validity_days', 'Int32') AS validity_days,
    JSONExtractInt(bought.terms, 'price_micro_yuan') AS price_micro_yuan,
    if(JSONExtractString(bought.terms, 'price_basis') = '', 'paid', JSONExtractString(bought.terms, 'price_basis')) AS price_basis,
    fromUnixTimestamp64Milli(JSONExtractInt(bought.terms, 'paid_at_ms'), 'UTC') AS paid_at,
    fromUnixTimestamp64Milli(JSONExtract(bought.terms, 'assigned_at_ms', 'Nullable(Int64)'), 'UTC') AS assigned_at,
    bought.arrived AS recorded_at,
    multiIf(bought.is_void, 'void', NOT bought.is_held, 'refused', back.refunded, 'refunded', 'paid') AS status,
    multiIf(bought.is_held OR bought.is_void, '', bought.of_kind = 'purchase', 'known_pack', bought.why) AS refused_because,
    if(bought.is_held, back.refunded_at, NULL) AS refunded_at,
    if(bought.is_held, back.refusal, '') AS refund_refused_because,
    bought.id AS event_id,
    bought.is_changed OR bought.is_void AS corrected
FROM
(
    SELECT
        first.of_app AS of_app,
        first.id AS id,
        first.of_kind AS of_kind,
        first.why AS why,
        first.arrived AS arrived,
        changed.name != '' AS is_changed,
        if(is_changed, changed.of_capability, first.of_capability) AS of_capability,
        if(is_changed, changed.pack, first.pack) AS pack,
        if(is_changed, changed.terms, first.terms) AS terms,
        if(is_changed, changed.is_held, first.of_kind = 'purchase' AND first.newest_of_pack = first.place) AS is_held,
        NOT is_held AND (first.of_app, first.id) IN
        (
            SELECT appid, argMax(corrections.fact_id, (corrections.time, corrections.event_id))
            FROM corrections
            WHERE corrections.fact_kind = 'purchase' AND holds AND state = 'settled'
            GROUP BY appid, corrections.fact_id
            HAVING argMax(action, (corrections.time, corrections.event_id)) = 'void'
        ) AS is_void
    FROM (SELECT * FROM lines WHERE why != 'settled') AS first
    LEFT JOIN changed ON changed.of_app = first.of_app AND changed.name = first.id
) AS bought
LEFT JOIN
(
    SELECT
        appid AS of_app,
        pack_id AS pack,
        sumIf(calls, kind = 'refund') > 0 OR countIf(kind = 'refund') = 1 AS refunded,
        if(refunded, maxOrNullIf(time, kind = 'refund' AND calls >= 0), NULL) AS refunded_at,
        argMaxIf(reason, (source_offset, line), kind = 'refund_refused') AS refusal
    FROM ledger
    WHERE kind IN ('refund', 'refund_refused')
    GROUP BY appid, pack_id
) AS back
ON back.of_app = bought.of_app AND back.pack = bought.pack
COMMENT 'Every purchase or assignment of a pack that was recorded, and what became of it'
