-- How many calls met no balance, and why?
-- `no_pack`: nothing was valid at the time; `exhausted`: what was valid was used up; `too_late`: the event came after its
-- pack had lapsed. Calls that a pack recorded late took over are not among them.
SELECT
    toStartOfMonth(time, 'Asia/Shanghai') AS month,
    appid,
    capability,
    reason,
    sum(authorizations.calls) AS calls,
    uniqExact(client) AS clients,
    min(time) AS first,
    max(time) AS last
FROM authorizations
WHERE charged_to = 'uncovered'
GROUP BY month, appid, capability, reason
ORDER BY month, appid, capability, reason
