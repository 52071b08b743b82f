SELECT label, forecast_packs.appid AS appid, capability, pack_id, expires_at, forecast_packs.remaining AS remaining,
    forecast_packs.lapsing AS lapsing, lapsing_micro_yuan / 1000000 AS yuan
FROM forecast_packs
INNER JOIN apps ON apps.appid = forecast_packs.appid
WHERE forecast_packs.lapsing > 0 AND forecast_packs.appid IN (${app:singlequote}) AND capability IN (${capability:singlequote})
ORDER BY yuan DESC, label, pack_id
LIMIT 100
