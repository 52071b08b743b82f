WITH assumeNotNull((SELECT now FROM clock)) AS at
SELECT label, packs.appid AS appid, packs.capability AS capability, pack_id, round(dateDiff('second', at, packs.expires_at) / 86400, 1) AS days,
    packs.expires_at AS expires_at, packs.remaining AS remaining, price_micro_yuan / 1000000 * packs.remaining / packs.calls AS yuan
FROM packs
INNER JOIN apps ON apps.appid = packs.appid
WHERE status IN ('active', 'pending') AND packs.remaining > 0 AND packs.appid IN (${app:singlequote}) AND packs.capability IN (${capability:singlequote})
ORDER BY packs.expires_at, label, pack_id
LIMIT 100
