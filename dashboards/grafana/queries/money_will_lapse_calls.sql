SELECT sum(forecast_packs.lapsing) AS calls
FROM forecast_packs
WHERE appid IN (${app:singlequote}) AND capability IN (${capability:singlequote})
