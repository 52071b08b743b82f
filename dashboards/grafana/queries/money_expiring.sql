WITH assumeNotNull((SELECT max(time) FROM ledger)) AS newest
SELECT appid, capability, pack_id, round(dateDiff('second', newest, expires_at) / 86400, 1) AS days, expires_at, packs.remaining AS remaining,
    price_micro_yuan / 1000000 * packs.remaining / packs.calls AS yuan
FROM packs
WHERE status IN ('active', 'pending') AND packs.remaining > 0 AND appid IN (${app:singlequote}) AND capability IN (${capability:singlequote})
ORDER BY packs.expires_at, appid, pack_id
LIMIT 100
