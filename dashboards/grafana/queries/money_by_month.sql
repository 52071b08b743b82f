SELECT
    formatDateTime(toStartOfMonth(ledger.time, 'Asia/Shanghai'), '%Y-%m') AS month,
    (sumIf(amount_micro_yuan, kind = 'purchase') - sumIf(amount_micro_yuan, kind = 'refund')) / 1000000 AS bought,
    sumIf(amount_micro_yuan, kind = 'charge') / 1000000 AS used,
    sumIf(amount_micro_yuan, kind = 'lapse') / 1000000 AS lapsed
FROM ledger
WHERE kind IN ('purchase', 'refund', 'charge', 'lapse') AND appid IN (${app:singlequote}) AND capability IN (${capability:singlequote}) AND $__timeFilter(ledger.time)
GROUP BY month
ORDER BY month
