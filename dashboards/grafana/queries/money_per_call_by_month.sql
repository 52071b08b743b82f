SELECT
    formatDateTime(toStartOfMonth(ledger.time, 'Asia/Shanghai'), '%Y-%m') AS month,
    sumIf(amount_micro_yuan, kind = 'charge') / nullIf(1000000 * sumIf(ledger.calls, kind = 'charge'), 0) AS list_price,
    sum(amount_micro_yuan) / nullIf(1000000 * sumIf(ledger.calls, kind = 'charge'), 0) AS with_lapses
FROM ledger
WHERE kind IN ('charge', 'lapse') AND appid IN (${app:singlequote}) AND capability IN (${capability:singlequote}) AND $__timeFilter(ledger.time)
GROUP BY month
HAVING sumIf(ledger.calls, kind = 'charge') > 0
ORDER BY month
