SELECT expires_at AS time, concat(appid, ' ', capability, ': ', pack_id, ', -', toString(if(status = 'lapsed', packs.lapsed, packs.remaining))) AS text, status AS tags
FROM packs
WHERE status IN ('active', 'pending', 'lapsed') AND appid IN (${app:singlequote}) AND capability IN (${capability:singlequote}) AND $__timeFilter(expires_at)
ORDER BY time
LIMIT 500
