SELECT time, capability, reason, store, scene, client, event_id
FROM uncovered
WHERE appid = '${app}' AND capability IN (${capability:singlequote}) AND if(store = '', '-', store) IN (${store:singlequote}) AND $__timeFilter(time)
ORDER BY time DESC
LIMIT 200
