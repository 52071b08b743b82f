SELECT time, concat(label, ' ', capability, ': ', reason, if(recovered, ' recovered', ''), ', ', toString(remaining)) AS text, reason AS tags
FROM alerts
INNER JOIN apps ON apps.appid = alerts.appid
WHERE alerts.appid IN (${app:singlequote}) AND capability IN (${capability:singlequote}, '') AND $__timeFilter(time)
ORDER BY time
LIMIT 500
