SELECT
    packs.capability AS capability, packs.pack_id AS pack_id, status, packs.remaining AS remaining, packs.calls AS calls,
    round(100 * packs.remaining / packs.calls, 1) AS left_percent, packs.charged AS charged, packs.lapsed AS lapsed, forecast_packs.lapsing AS lapsing,
    starts_at, packs.expires_at AS expires_at, price_micro_yuan / 1000000 AS price_yuan
FROM packs
LEFT JOIN forecast_packs ON forecast_packs.appid = packs.appid AND forecast_packs.pack_id = packs.pack_id AND forecast_packs.capability = packs.capability
WHERE packs.appid = '${app}' AND packs.capability IN (${capability:singlequote})
ORDER BY status IN ('active', 'pending') DESC, capability, packs.expires_at, packs.starts_at, pack_id
LIMIT 200
