SELECT
    route,
    countIf(state = 'delivered') AS delivered,
    countIf(state IN ('waiting', 'sending')) AS underway,
    minOrNullIf(asked_at, state IN ('waiting', 'sending')) AS oldest,
    countIf(state = 'held') AS held,
    countIf(state = 'dead') AS dead,
    countIf(state = 'acknowledged') AS acknowledged,
    max(attempts) AS attempts_at_most,
    max(changed_at) AS newest
FROM deliveries
WHERE $__timeFilter(asked_at)
GROUP BY route
ORDER BY dead DESC, underway DESC, route
LIMIT 50
