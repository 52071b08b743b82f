SELECT count() AS calls
FROM uncovered
WHERE appid IN (${app:singlequote}) AND capability IN (${capability:singlequote}) AND $__timeFilter(time)
