-- Which stores used the calls, and what did that cost?
-- By month. `share_percent` is a store's part of its app's calls in that month; calls without a store stand under an
-- empty name.
SELECT
    month,
    appid,
    store,
    sum(usage_monthly.succeeded) AS calls,
    round(100 * calls / sum(calls) OVER (PARTITION BY month, appid), 1) AS share_percent,
    sum(usage_monthly.amount_micro_yuan) / 1000000 AS yuan
FROM usage_monthly
GROUP BY month, appid, store
HAVING calls > 0
ORDER BY month, appid, calls DESC
