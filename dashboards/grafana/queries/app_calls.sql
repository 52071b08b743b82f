SELECT toDateTime(day, 'Asia/Shanghai') AS time, charged, trial_charged, free, exempt, uncovered
FROM
(
    SELECT
        day,
        sum(usage_daily.charged) AS charged,
        sum(usage_daily.trial_charged) AS trial_charged,
        sum(usage_daily.free) AS free,
        sum(usage_daily.exempt) AS exempt,
        sum(usage_daily.uncovered) AS uncovered
    FROM usage_daily
    WHERE appid = '${app}' AND capability IN (${capability:singlequote}) AND if(store = '', '-', store) IN (${store:singlequote})
        AND day BETWEEN toDate($__fromTime, 'Asia/Shanghai') AND toDate($__toTime, 'Asia/Shanghai')
    GROUP BY day
    ORDER BY day WITH FILL FROM toDate($__fromTime, 'Asia/Shanghai')
        TO least(toDate($__toTime, 'Asia/Shanghai'), assumeNotNull((SELECT toDate(now, 'Asia/Shanghai') FROM clock))) + 1
)
ORDER BY time
