-- Does our count agree with the platform's?
-- The newest observation of every pack and trial quota, beside what the ledger had charged by that moment. Above zero,
-- calls did not reach us; below zero, the platform is behind or an event is no call.
SELECT appid, capability, pack_id, observed_at, used, charged, difference
FROM platform_usage
ORDER BY observed_at DESC, abs(difference) DESC, appid, pack_id
LIMIT 1 BY appid, capability, pack_id
