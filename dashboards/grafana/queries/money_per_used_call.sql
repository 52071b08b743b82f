SELECT (used + lapsed) / nullIf(1000000 * calls, 0) AS yuan_per_call
FROM
(
    SELECT
        sumIf(amount_micro_yuan, kind = 'charge') AS used,
        sumIf(amount_micro_yuan, kind = 'lapse') AS lapsed,
        sumIf(ledger.calls, kind = 'charge') AS calls
    FROM ledger
    WHERE kind IN ('charge', 'lapse') AND appid IN (${app:singlequote}) AND capability IN (${capability:singlequote}) AND $__timeFilter(time)
)
