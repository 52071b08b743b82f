SELECT
    source,
    countIf(kind != 'duplicate') AS events,
    countIf(kind = 'duplicate') AS duplicates,
    round(100 * duplicates / (events + duplicates), 2) AS duplicates_percent,
    max(ledger.time) AS newest
FROM ledger
WHERE kind IN ('charge', 'trial_charge', 'free', 'exempt', 'uncovered', 'denied', 'failed', 'duplicate') AND reason != 'settled' AND $__timeFilter(ledger.time)
GROUP BY source
ORDER BY events DESC
LIMIT 50
