SELECT capability, balances_now.calls_left
FROM balances_now
WHERE appid = '${app}' AND capability IN (${capability:singlequote})
ORDER BY capability
