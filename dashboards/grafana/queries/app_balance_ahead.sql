SELECT toDateTime(day, 'Asia/Shanghai') AS time, capability, forecast_daily.calls_left AS Value
FROM forecast_daily
WHERE appid = '${app}' AND capability IN (${capability:singlequote}) AND day <= toDate($__toTime, 'Asia/Shanghai')
ORDER BY time, capability
