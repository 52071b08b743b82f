SELECT time, label, Value
FROM
(
    SELECT toDateTime(toDate(uncovered.time, 'Asia/Shanghai'), 'Asia/Shanghai') AS time, appid, toInt64(count()) AS Value
    FROM uncovered
    WHERE appid IN (${app:singlequote}) AND capability IN (${capability:singlequote}) AND $__timeFilter(uncovered.time)
    GROUP BY time, appid
) AS missing
INNER JOIN apps ON apps.appid = missing.appid
ORDER BY time, label
