SELECT toDateTime(day, 'Asia/Shanghai') AS time, toString(errno) AS error, sum(funnel.authorizations) AS Value
FROM funnel
WHERE outcome != 'succeeded' AND appid = '${app}' AND capability IN (${capability:singlequote}) AND if(store = '', '-', store) IN (${store:singlequote})
    AND day BETWEEN toDate($__fromTime, 'Asia/Shanghai') AND toDate($__toTime, 'Asia/Shanghai')
GROUP BY time, error
ORDER BY time
