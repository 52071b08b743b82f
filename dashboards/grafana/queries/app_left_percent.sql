SELECT capability, round(100 * balances_now.calls_left / (packs_size + if(trial_remaining > 0, trial_size, 0)), 1) AS left_percent
FROM balances_now
WHERE appid = '${app}' AND capability IN (${capability:singlequote}) AND packs_size + if(trial_remaining > 0, trial_size, 0) > 0
ORDER BY capability
