SELECT toDateTime(toDate(uncovered.time, 'Asia/Shanghai'), 'Asia/Shanghai') AS time, appid, toInt64(count()) AS calls
FROM uncovered
WHERE appid IN (${app:singlequote}) AND capability IN (${capability:singlequote}) AND $__timeFilter(uncovered.time)
GROUP BY time, appid
ORDER BY time
