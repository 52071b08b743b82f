SELECT expires_at AS time, concat(label, ' ', capability, ': ', pack_id, ', -', toString(if(status = 'lapsed', packs.lapsed, packs.remaining))) AS text, status AS tags
FROM packs
INNER JOIN apps ON apps.appid = packs.appid
WHERE status IN ('active', 'pending', 'expired', 'lapsed') AND packs.appid IN (${app:singlequote}) AND capability IN (${capability:singlequote}) AND $__timeFilter(expires_at)
ORDER BY time
LIMIT 500
