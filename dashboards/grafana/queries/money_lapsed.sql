SELECT sum(amount_micro_yuan) / 1000000 AS yuan
FROM lapses
WHERE appid IN (${app:singlequote}) AND capability IN (${capability:singlequote}) AND $__timeFilter(expired_at)
