SELECT reason, count() AS records, max(recorded_at) AS newest
FROM rejections
WHERE $__timeFilter(recorded_at)
GROUP BY reason
ORDER BY records DESC
