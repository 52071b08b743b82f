-- How much do the largest apps make up?
-- Apps by calls, with their share, and the share of all up to and including each.
WITH by_app AS
(
    SELECT appid, sum(usage_monthly.succeeded) AS calls, sum(usage_monthly.amount_micro_yuan) / 1000000 AS yuan
    FROM usage_monthly
    GROUP BY appid
)
SELECT
    row_number() OVER (ORDER BY calls DESC, appid) AS place,
    appid,
    name,
    calls,
    yuan,
    round(100 * calls / sum(calls) OVER (), 2) AS share_percent,
    round(100 * sum(calls) OVER (ORDER BY calls DESC, appid) / sum(calls) OVER (), 2) AS cumulated_percent
FROM by_app
LEFT JOIN apps USING (appid)
ORDER BY place
