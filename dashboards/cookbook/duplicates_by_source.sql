-- Which back ends send events twice?
-- A duplicate is an event whose id was there before: it is counted and never charged. A rising share means that a back end
-- retries what had succeeded.
SELECT
    source,
    countIf(kind = 'duplicate') AS duplicates,
    countIf(kind != 'duplicate' AND calls >= 0 AND reason NOT IN ('taken_over', 'settled')) AS authorizations,
    round(100 * duplicates / (duplicates + authorizations), 2) AS duplicate_percent,
    maxIf(time, kind = 'duplicate') AS newest
FROM ledger
WHERE kind IN ('charge', 'trial_charge', 'free', 'exempt', 'uncovered', 'denied', 'failed', 'duplicate')
GROUP BY source
ORDER BY duplicates DESC, source
