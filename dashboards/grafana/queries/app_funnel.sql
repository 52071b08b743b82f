SELECT if(outcome = 'succeeded', outcome, concat(outcome, ' ', toString(errno))) AS outcome_errno, sum(funnel.authorizations) AS authorizations
FROM funnel
WHERE appid = '${app}' AND capability IN (${capability:singlequote}) AND if(store = '', '-', store) IN (${store:singlequote})
    AND day BETWEEN toDate($__fromTime, 'Asia/Shanghai') AND toDate($__toTime, 'Asia/Shanghai')
GROUP BY outcome, errno
ORDER BY outcome = 'succeeded' DESC, outcome = 'denied' DESC, authorizations DESC
LIMIT 12
