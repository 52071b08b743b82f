CREATE OR REPLACE VIEW forecast_daily
(
    appid String COMMENT 'The app',
    capability String COMMENT 'quick or realtime',
    day Date COMMENT 'The day, in Shanghai; the first is today, from now on',
    expected Float64 COMMENT 'Calls that are expected',
    calls_left Float64 COMMENT 'What trial quota and active packs are expected to hold at its end'
) AS
SELECT
    appid,
    capability,
    toDate(end_at - toIntervalMillisecond(1), 'Asia/Shanghai') AS day,
    sum(micro_calls) / 1000000 AS expected,
    argMax(micro_calls_left, end_at) / 1000000 AS calls_left
FROM
(
    SELECT
        appid,
        capability,
        arrayJoin(arraySlice(arrayZip(ends, forecasts.expected, forecasts.calls_left), 1, 400)) AS stretch,
        stretch.1 AS end_at,
        stretch.2 AS micro_calls,
        stretch.3 AS micro_calls_left
    FROM forecasts
)
GROUP BY appid, capability, day
COMMENT 'Expected use and balance of each app and capability by Shanghai day, a year ahead'
