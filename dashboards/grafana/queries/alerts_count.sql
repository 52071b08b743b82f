SELECT count() AS alerts
FROM alerts
WHERE NOT recovered AND appid IN (${app:singlequote}) AND capability IN (${capability:singlequote}, '') AND $__timeFilter(time)
