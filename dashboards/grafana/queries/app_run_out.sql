SELECT capability, toUnixTimestamp64Milli(assumeNotNull(run_out_at)) AS run_out
FROM forecasts
WHERE appid = '${app}' AND capability IN (${capability:singlequote}) AND run_out_at IS NOT NULL
ORDER BY capability
