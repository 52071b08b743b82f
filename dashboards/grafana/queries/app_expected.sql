SELECT toDateTime(day, 'Asia/Shanghai') AS time, sum(forecast_daily.expected) AS expected
FROM forecast_daily
WHERE appid = '${app}' AND capability IN (${capability:singlequote})
    AND day BETWEEN assumeNotNull((SELECT toDate(max(time), 'Asia/Shanghai') + 1 FROM ledger)) AND toDate($__toTime, 'Asia/Shanghai')
GROUP BY day
ORDER BY time
