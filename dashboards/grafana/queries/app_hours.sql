SELECT toDateTime(toDate(hour, 'Asia/Shanghai'), 'Asia/Shanghai') AS time,
    toInt64(sumIf(usage_hourly.succeeded, toHour(hour) = 0)) AS "00",
    toInt64(sumIf(usage_hourly.succeeded, toHour(hour) = 1)) AS "01",
    toInt64(sumIf(usage_hourly.succeeded, toHour(hour) = 2)) AS "02",
    toInt64(sumIf(usage_hourly.succeeded, toHour(hour) = 3)) AS "03",
    toInt64(sumIf(usage_hourly.succeeded, toHour(hour) = 4)) AS "04",
    toInt64(sumIf(usage_hourly.succeeded, toHour(hour) = 5)) AS "05",
    toInt64(sumIf(usage_hourly.succeeded, toHour(hour) = 6)) AS "06",
    toInt64(sumIf(usage_hourly.succeeded, toHour(hour) = 7)) AS "07",
    toInt64(sumIf(usage_hourly.succeeded, toHour(hour) = 8)) AS "08",
    toInt64(sumIf(usage_hourly.succeeded, toHour(hour) = 9)) AS "09",
    toInt64(sumIf(usage_hourly.succeeded, toHour(hour) = 10)) AS "10",
    toInt64(sumIf(usage_hourly.succeeded, toHour(hour) = 11)) AS "11",
    toInt64(sumIf(usage_hourly.succeeded, toHour(hour) = 12)) AS "12",
    toInt64(sumIf(usage_hourly.succeeded, toHour(hour) = 13)) AS "13",
    toInt64(sumIf(usage_hourly.succeeded, toHour(hour) = 14)) AS "14",
    toInt64(sumIf(usage_hourly.succeeded, toHour(hour) = 15)) AS "15",
    toInt64(sumIf(usage_hourly.succeeded, toHour(hour) = 16)) AS "16",
    toInt64(sumIf(usage_hourly.succeeded, toHour(hour) = 17)) AS "17",
    toInt64(sumIf(usage_hourly.succeeded, toHour(hour) = 18)) AS "18",
    toInt64(sumIf(usage_hourly.succeeded, toHour(hour) = 19)) AS "19",
    toInt64(sumIf(usage_hourly.succeeded, toHour(hour) = 20)) AS "20",
    toInt64(sumIf(usage_hourly.succeeded, toHour(hour) = 21)) AS "21",
    toInt64(sumIf(usage_hourly.succeeded, toHour(hour) = 22)) AS "22",
    toInt64(sumIf(usage_hourly.succeeded, toHour(hour) = 23)) AS "23"
FROM usage_hourly
WHERE appid = '${app}' AND capability IN (${capability:singlequote}) AND if(store = '', '-', store) IN (${store:singlequote})
    AND $__timeFilter(hour)
GROUP BY time
ORDER BY time
