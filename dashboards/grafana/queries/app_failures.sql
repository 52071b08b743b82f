SELECT toDateTime(day, 'Asia/Shanghai') AS time, concat(outcome, ' ', toString(errno)) AS outcome_errno, sum(funnel.authorizations) AS authorizations
FROM funnel
WHERE outcome != 'succeeded' AND appid = '${app}' AND capability IN (${capability:singlequote}) AND if(store = '', '-', store) IN (${store:singlequote})
    AND day BETWEEN toDate($__fromTime, 'Asia/Shanghai') AND toDate($__toTime, 'Asia/Shanghai')
GROUP BY time, outcome_errno
ORDER BY time
