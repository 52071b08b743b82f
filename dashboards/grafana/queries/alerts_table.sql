SELECT time, appid, capability, reason, recovered, pack_id, remaining, level_percent, days, hours_left
FROM alerts
WHERE appid IN (${app:singlequote}) AND capability IN (${capability:singlequote}, '') AND $__timeFilter(time)
ORDER BY time DESC
LIMIT 200
