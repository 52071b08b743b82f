SELECT time, concat(appid, ' ', capability, ': ', reason, if(recovered, ' recovered', ''), ', ', toString(remaining)) AS text, reason AS tags
FROM alerts
WHERE appid IN (${app:singlequote}) AND capability IN (${capability:singlequote}, '') AND $__timeFilter(time)
ORDER BY time
LIMIT 500
