SELECT count() AS soon
FROM forecasts
WHERE run_out_at < (SELECT max(time) FROM ledger) + toIntervalDay(7)
    AND appid IN (${app:singlequote}) AND capability IN (${capability:singlequote})
