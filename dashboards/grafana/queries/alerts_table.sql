SELECT
    alerts.time AS time, label, alerts.appid AS appid, alerts.capability AS capability, alerts.reason AS reason,
    alerts.recovered AS recovered, pack_id, remaining, level_percent, days, hours_left, routes, if(sent = '', 'nobody', sent) AS sent
FROM alerts
INNER JOIN apps ON apps.appid = alerts.appid
LEFT JOIN
(
    SELECT
        alert_id,
        arrayStringConcat(arraySort(groupArray(route)), ', ') AS routes,
        multiIf(
            has(groupArray(state) AS states, 'dead'), 'dead',
            hasAny(states, ['waiting', 'sending']), 'waiting',
            has(states, 'held'), 'held',
            has(states, 'acknowledged'), 'acknowledged',
            has(states, 'delivered'), 'delivered',
            'not_sent') AS sent
    FROM deliveries
    WHERE appid IN (${app:singlequote})
    GROUP BY alert_id
) AS told ON told.alert_id = alerts.alert_id
WHERE alerts.appid IN (${app:singlequote}) AND alerts.capability IN (${capability:singlequote}, '') AND $__timeFilter(alerts.time)
ORDER BY alerts.time DESC
LIMIT 200
