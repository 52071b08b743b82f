-- When will the calls run out?
-- At the pace of [the forecast](../explanation/forecast.md): days without use count, and so does the shape of the week. Time is played
-- forward with the packs to come and the expiries on the way; a trial quota that both capabilities share is used by both
-- and counted once, although `calls_left` shows it in both rows. Empty: not within three years. `phonemeter forecast` says
-- the same, with an interval.
WITH (SELECT now FROM clock) AS at
SELECT
    forecasts.appid AS appid,
    forecasts.capability AS capability,
    balances_now.calls_left AS calls_left,
    round(forecasts.calls_a_day, 1) AS calls_a_day,
    if(run_out_at IS NULL, NULL, round(dateDiff('second', at, run_out_at) / 86400, 1)) AS days_left,
    toDate(run_out_at, 'Asia/Shanghai') AS runs_out_on
FROM forecasts
INNER JOIN balances_now ON balances_now.appid = forecasts.appid AND balances_now.capability = forecasts.capability
WHERE forecasts.calls_a_day > 0
ORDER BY run_out_at IS NULL, run_out_at, appid, capability
