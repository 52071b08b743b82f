-- The money of the calls that lapse is that of the last calls of the pack, by the rule for the price of the k-th call.
CREATE OR REPLACE VIEW forecast_packs
(
    appid String COMMENT 'The app',
    capability String COMMENT 'quick or realtime',
    pack_id String COMMENT 'The pack',
    expires_at DateTime64(3, 'UTC') COMMENT 'When it expires',
    remaining Int64 COMMENT 'Calls that it holds',
    lapsing Int64 COMMENT 'How many of them will lapse',
    lapsing_micro_yuan Int64 COMMENT 'What these cost, in millionths of a yuan'
) AS
SELECT
    packs.appid AS appid,
    toString(packs.capability) AS capability,
    packs.pack_id AS pack_id,
    packs.expires_at AS expires_at,
    packs.remaining AS remaining,
    toInt64(foretold.lapsing) AS lapsing,
    packs.price_micro_yuan - toInt64(intDiv(toInt128(packs.price_micro_yuan) * (packs.calls - foretold.lapsing), packs.calls)) AS lapsing_micro_yuan
FROM packs
INNER JOIN
(
    SELECT appid, capability, pack_id, lapsing
    FROM forecasts
    ARRAY JOIN pack_ids AS pack_id, pack_lapsing AS lapsing
) AS foretold
USING (appid, capability, pack_id)
COMMENT 'Every pack that holds calls, and how many of them will lapse at the expected pace'
