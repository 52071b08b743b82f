SELECT if(store = '', '-', store) AS place, sum(usage_daily.succeeded) AS calls
FROM usage_daily
WHERE appid = '${app}' AND capability IN (${capability:singlequote}) AND if(store = '', '-', store) IN (${store:singlequote})
    AND day BETWEEN toDate($__fromTime, 'Asia/Shanghai') AND toDate($__toTime, 'Asia/Shanghai')
GROUP BY place
HAVING calls != 0
ORDER BY calls DESC
LIMIT 12
