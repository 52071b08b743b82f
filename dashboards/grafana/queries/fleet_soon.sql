SELECT count() AS soon
FROM forecasts
WHERE run_out_at < assumeNotNull((SELECT now FROM clock)) + toIntervalDay(7)
    AND appid IN (${app:singlequote}) AND capability IN (${capability:singlequote})
