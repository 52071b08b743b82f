SELECT paid_at AS time, concat(appid, ' ', capability, ': ', toString(orders.calls), ' / ', toString(validity_days), ' d, ¥', toString(price_micro_yuan / 1000000)) AS text, order_id AS tags
FROM orders
WHERE status != 'refused' AND appid IN (${app:singlequote}) AND capability IN (${capability:singlequote}) AND $__timeFilter(paid_at)
ORDER BY time
LIMIT 500
