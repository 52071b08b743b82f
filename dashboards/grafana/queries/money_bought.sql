SELECT sum(price_micro_yuan) / 1000000 AS yuan
FROM orders
WHERE status = 'paid' AND appid IN (${app:singlequote}) AND capability IN (${capability:singlequote}) AND $__timeFilter(paid_at)
