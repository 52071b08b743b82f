SELECT sum(missing * price) / 1000000 AS yuan
FROM
(
    SELECT appid, toString(capability) AS of_capability, count() AS missing
    FROM uncovered
    WHERE appid IN (${app:singlequote}) AND capability IN (${capability:singlequote}) AND $__timeFilter(time)
    GROUP BY appid, of_capability
) AS lost
LEFT JOIN
(
    SELECT toString(capability) AS of_capability, sum(price_micro_yuan) / sum(orders.calls) AS price
    FROM orders
    WHERE status = 'paid'
    GROUP BY of_capability
) AS paid ON paid.of_capability = lost.of_capability
