SELECT sum(lapsing_micro_yuan) / 1000000 AS yuan
FROM forecast_packs
WHERE appid IN (${app:singlequote}) AND capability IN (${capability:singlequote})
