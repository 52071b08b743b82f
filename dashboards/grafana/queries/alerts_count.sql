SELECT count() AS alerts
FROM alerts
WHERE NOT recovered AND reason != 'charge_notice' AND appid IN (${app:singlequote}) AND capability IN (${capability:singlequote}, '') AND $__timeFilter(time)
