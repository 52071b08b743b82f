SELECT paid_at AS time, concat(label, ' ', capability, ': ', toString(orders.calls), ' / ', toString(validity_days), ' d, ¥', toString(price_micro_yuan / 1000000)) AS text, order_id AS tags
FROM orders
INNER JOIN apps ON apps.appid = orders.appid
WHERE status NOT IN ('refused', 'void') AND orders.appid IN (${app:singlequote}) AND capability IN (${capability:singlequote}) AND $__timeFilter(paid_at)
ORDER BY time
LIMIT 500
