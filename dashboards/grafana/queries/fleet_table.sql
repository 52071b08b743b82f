WITH assumeNotNull((SELECT now FROM clock)) AS at
SELECT
    label,
    balances_now.capability AS capability,
    multiIf(
        apps.exempt, 'exempt',
        calls_a_day = 0, 'idle',
        balances_now.calls_left <= 0, 'out',
        run_out_at < at + toIntervalDay(7), 'soon',
        left_percent <= 20, 'low',
        'ok') AS status,
    balances_now.calls_left AS calls_left,
    round(100 * balances_now.calls_left / nullIf(packs_size + if(trial_remaining > 0, trial_size, 0), 0), 1) AS left_percent,
    round(calls_a_day, 1) AS a_day,
    if(run_out_at IS NULL, NULL, round(dateDiff('second', at, run_out_at) / 86400, 1)) AS days_left,
    run_out_at,
    next_expires_at,
    recent.uncovered_calls AS uncovered,
    balances_now.appid AS appid
FROM balances_now
INNER JOIN apps ON apps.appid = balances_now.appid
INNER JOIN forecasts ON forecasts.appid = balances_now.appid AND forecasts.capability = balances_now.capability
LEFT JOIN
(
    SELECT appid, toString(capability) AS of_capability, count() AS uncovered_calls
    FROM uncovered
    WHERE $__timeFilter(time)
    GROUP BY appid, of_capability
) AS recent ON recent.appid = balances_now.appid AND recent.of_capability = balances_now.capability
WHERE balances_now.appid IN (${app:singlequote}) AND balances_now.capability IN (${capability:singlequote})
ORDER BY run_out_at IS NULL, run_out_at, label, capability
