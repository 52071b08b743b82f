SELECT capability, round(100 * balances_now.calls_left / (trial_size + packs_size), 1) AS left_percent
FROM balances_now
WHERE appid = '${app}' AND capability IN (${capability:singlequote}) AND trial_size + packs_size > 0
ORDER BY capability
