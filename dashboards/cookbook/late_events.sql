-- Which back ends report late?
-- How long after the authorization its event arrived. What comes more than 24 hours late may find its pack lapsed. Calls
-- that were taken over by a late purchase are left out: their `recorded_at` is the purchase's.
SELECT
    source,
    count() AS authorizations,
    countIf(recorded_at - time > 60) AS over_a_minute,
    countIf(recorded_at - time > 3600) AS over_an_hour,
    countIf(recorded_at - time > 86400) AS over_a_day,
    round(100 * over_a_minute / authorizations, 2) AS over_a_minute_percent,
    round(max(recorded_at - time) / 3600, 1) AS longest_hours
FROM authorizations
WHERE reason != 'taken_over'
GROUP BY source
ORDER BY over_a_day DESC, source
