-- The pace of metering/forecast.py in SQL, in the same integers; tests/dashboards/test_forecast_views.py holds the two
-- together. 128 bits where a product of millionths of calls could outgrow 64.
CREATE OR REPLACE VIEW paces
(
    appid String COMMENT 'The app',
    capability LowCardinality(String) COMMENT 'quick or realtime',
    last_day Date COMMENT 'The newest complete Shanghai day: yesterday',
    days Int64 COMMENT 'From how many complete days the pace was taken',
    calls_a_day Float64 COMMENT 'Expected calls of a mean day',
    micro_calls_a_day Int64 COMMENT 'The same in millionths of a call',
    shape_permille Array(Int64) COMMENT 'Expected use of each weekday from Monday on, in thousandths of the mean day'
) AS
SELECT
    appid,
    capability,
    last_day,
    toInt64(length(recent)) AS days,
    micro_calls_a_day / 1000000 AS calls_a_day,
    if(weeks = 0,
        intDiv(arraySum(level) * 1000000, greatest(1, length(level))),
        toInt64(intDiv(
            arraySum(age -> toInt128(pow(3, age) * pow(5, weeks - age)) * arraySum(arraySlice(level, length(level) - age * 7 - 6, 7)), range(weeks)) * 1000000,
            7 * arraySum(age -> toInt128(pow(3, age) * pow(5, weeks - age)), range(weeks))
        ))
    ) AS micro_calls_a_day,
    if(weeks < 2 OR arraySum(recent) = 0,
        arrayResize(emptyArrayInt64(), 7, 1000),
        arrayPushBack(arrayPopBack(rough), rough[7] + 7000 - arraySum(rough))
    ) AS shape_permille
FROM
(
    SELECT
        *,
        arrayMap(calls -> least(calls, greatest(20, 3 * arraySort(recent)[intDiv(length(recent), 2) + 1])), recent) AS level,
        arrayMap(weekday -> 60 + arraySum(arrayMap((calls, ago) -> if(toDayOfWeek(last_day - ago) = weekday, calls, 0),
            level, arrayReverse(range(length(level))))), range(1, 8)) AS sums,
        arrayMap(calls -> intDiv(7000 * calls, arraySum(sums)), sums) AS rough
    FROM
    (
        SELECT
            appid,
            capability,
            last_day,
            arrayMap(ago -> used[last_day - ago], arrayReverse(range(toUInt64(greatest(0, last_day - first_day + 1))))) AS daily,
            least(8, intDiv(length(daily), 7)) AS weeks,
            if(weeks = 0, daily, arraySlice(daily, -7 * weeks)) AS recent
        FROM
        (
            SELECT
                appid,
                capability,
                newest_complete AS last_day,
                greatest(min(min(day)) OVER (PARTITION BY appid), last_day - 55) AS first_day,
                CAST(mapFromArrays(groupArray(day), groupArray(calls)), 'Map(Date, Int64)') AS used
            FROM
            (
                SELECT
                    appid, capability, day, assumeNotNull((SELECT toDate(now, 'Asia/Shanghai') - 1 FROM clock)) AS newest_complete,
                    sum(usage_daily.charged + usage_daily.trial_charged + usage_daily.uncovered) AS calls
                FROM usage_daily
                GROUP BY appid, capability, day
                HAVING calls != 0
            )
            GROUP BY appid, capability, newest_complete
        )
    )
)
COMMENT 'How much each app uses of each capability: mean day and shape of the week, from complete days'
