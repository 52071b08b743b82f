SELECT month, label, months.appid AS appid, capability, opening, bought, charged, lapsed, refunded, closing, trial_charged, uncovered, yuan_bought, yuan_used, yuan_lapsed
FROM
(
    SELECT
        formatDateTime(first_day, '%Y-%m') AS month,
        *,
        sum(bought - charged - lapsed - refunded) OVER (PARTITION BY appid, capability ORDER BY first_day) AS closing,
        closing - (bought - charged - lapsed - refunded) AS opening
    FROM
    (
        SELECT
            appid,
            capability,
            toStartOfMonth(ledger.time, 'Asia/Shanghai') AS first_day,
            sumIf(ledger.calls, kind = 'purchase') - sumIf(ledger.calls, kind = 'opening' AND pack_id != '') AS bought,
            sumIf(ledger.calls, kind = 'charge') AS charged,
            sumIf(ledger.calls, kind = 'lapse') AS lapsed,
            sumIf(ledger.calls, kind = 'refund') AS refunded,
            sumIf(ledger.calls, kind = 'trial_charge') AS trial_charged,
            sumIf(ledger.calls, kind = 'uncovered') AS uncovered,
            sumIf(amount_micro_yuan, kind = 'purchase') / 1000000 AS yuan_bought,
            sumIf(amount_micro_yuan, kind = 'charge') / 1000000 AS yuan_used,
            sumIf(amount_micro_yuan, kind = 'lapse') / 1000000 AS yuan_lapsed
        FROM ledger
        WHERE kind IN ('purchase', 'opening', 'charge', 'lapse', 'refund', 'trial_charge', 'uncovered')
            AND appid IN (${app:singlequote}) AND capability IN (${capability:singlequote})
        GROUP BY appid, capability, first_day
    )
) AS months
INNER JOIN apps ON apps.appid = months.appid
WHERE month BETWEEN formatDateTime($__fromTime, '%Y-%m', 'Asia/Shanghai') AND formatDateTime($__toTime, '%Y-%m', 'Asia/Shanghai')
ORDER BY month DESC, label, capability
LIMIT 500
