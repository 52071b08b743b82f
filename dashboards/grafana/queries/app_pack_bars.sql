SELECT time, pack, left_percent AS Value
FROM
(
    SELECT toDateTime(day, 'Asia/Shanghai') AS time, pack_id AS pack, toFloat64(if(pack_burndown.remaining = 0, -1, round(100 * pack_burndown.remaining / pack_burndown.calls, 1))) AS left_percent
    FROM pack_burndown
    WHERE appid = '${app}' AND capability IN (${capability:singlequote})
        AND day BETWEEN toDate($__fromTime, 'Asia/Shanghai') AND toDate($__toTime, 'Asia/Shanghai')
    UNION ALL
    SELECT toDateTime(expires_at, 'Asia/Shanghai') AS time, pack_id AS pack, toFloat64(-1) AS left_percent
    FROM packs
    WHERE appid = '${app}' AND capability IN (${capability:singlequote}) AND $__timeFilter(expires_at)
)
WHERE pack IN
(
    SELECT pack_id
    FROM packs
    WHERE appid = '${app}' AND capability IN (${capability:singlequote}) AND starts_at <= $__toTime AND expires_at >= $__fromTime
        AND status != 'refunded'
    ORDER BY status NOT IN ('active', 'pending'), expires_at
    LIMIT 20
)
ORDER BY time, pack
