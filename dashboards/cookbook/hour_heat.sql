-- At which hours and on which weekdays are the calls made?
-- Mean calls of that hour on that weekday, over all days since the first, those without any use included.
WITH
    (SELECT min(hour) FROM usage_hourly) AS first,
    (SELECT max(hour) FROM usage_hourly) AS last,
    days AS
    (
        SELECT toDayOfWeek(day) AS weekday, count() AS times
        FROM (SELECT arrayJoin(arrayMap(n -> toDate(first) + n, range(toUInt64(1 + toDate(last) - toDate(first))))) AS day)
        GROUP BY weekday
    ),
    calls AS
    (
        SELECT toDayOfWeek(hour) AS weekday, toHour(hour) AS hour_of_day, sum(usage_hourly.succeeded) AS calls
        FROM usage_hourly
        GROUP BY weekday, hour_of_day
    )
SELECT
    hour_of_day,
    round(sumIf(calls / times, weekday = 1), 2) AS monday,
    round(sumIf(calls / times, weekday = 2), 2) AS tuesday,
    round(sumIf(calls / times, weekday = 3), 2) AS wednesday,
    round(sumIf(calls / times, weekday = 4), 2) AS thursday,
    round(sumIf(calls / times, weekday = 5), 2) AS friday,
    round(sumIf(calls / times, weekday = 6), 2) AS saturday,
    round(sumIf(calls / times, weekday = 7), 2) AS sunday
FROM calls
INNER JOIN days USING (weekday)
GROUP BY hour_of_day
ORDER BY hour_of_day WITH FILL FROM 0 TO 24
