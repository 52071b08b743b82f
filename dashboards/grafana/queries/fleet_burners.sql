SELECT label, top.appid AS appid, calls
FROM
(
    SELECT appid, sum(usage_daily.succeeded) AS calls
    FROM usage_daily
    WHERE appid IN (${app:singlequote}) AND capability IN (${capability:singlequote})
        AND day BETWEEN toDate($__fromTime, 'Asia/Shanghai') AND toDate($__toTime, 'Asia/Shanghai')
    GROUP BY appid
    ORDER BY calls DESC
    LIMIT 10
) AS top
INNER JOIN apps ON apps.appid = top.appid
ORDER BY calls DESC
