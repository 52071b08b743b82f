SELECT capability, toUnixTimestamp64Milli(assumeNotNull(next_expires_at)) AS expires
FROM balances_now
WHERE appid = '${app}' AND capability IN (${capability:singlequote}) AND next_expires_at IS NOT NULL
ORDER BY capability
