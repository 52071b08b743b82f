-- When will the calls run out?
-- At the mean of the last seven complete days, those without use included. Packs that lapse before are not looked at;
-- `phonemeter forecast` does, and has an interval.
WITH
    (SELECT max(time) FROM ledger) AS newest,
    pace AS
    (
        SELECT appid, capability, sum(usage_daily.charged + usage_daily.trial_charged + usage_daily.uncovered) / 7 AS a_day
        FROM usage_daily
        WHERE day >= toDate(newest, 'Asia/Shanghai') - 7 AND day < toDate(newest, 'Asia/Shanghai')
        GROUP BY appid, capability
    )
SELECT
    appid,
    capability,
    calls_left,
    round(a_day, 1) AS calls_a_day,
    round(calls_left / a_day, 1) AS days_left,
    toDate(newest + toIntervalSecond(toInt64(86400 * calls_left / a_day)), 'Asia/Shanghai') AS runs_out_on
FROM balances_now
INNER JOIN pace USING (appid, capability)
WHERE a_day > 0
ORDER BY days_left, appid, capability
