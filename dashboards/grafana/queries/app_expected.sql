SELECT toDateTime(day, 'Asia/Shanghai') AS time, sum(forecast_daily.expected) AS expected
FROM forecast_daily
WHERE appid = '${app}' AND capability IN (${capability:singlequote})
    AND day BETWEEN assumeNotNull((SELECT toDate(now, 'Asia/Shanghai') + 1 FROM clock)) AND toDate($__toTime, 'Asia/Shanghai')
GROUP BY day
ORDER BY time
