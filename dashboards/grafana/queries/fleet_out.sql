SELECT count() AS out_of_calls
FROM balances_now
INNER JOIN forecasts ON forecasts.appid = balances_now.appid AND forecasts.capability = balances_now.capability
INNER JOIN apps ON apps.appid = balances_now.appid
WHERE NOT exempt AND balances_now.calls_left <= 0 AND calls_a_day > 0
    AND balances_now.appid IN (${app:singlequote}) AND balances_now.capability IN (${capability:singlequote})
