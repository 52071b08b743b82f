-- How much of the trial quota is left?
-- One row per quota: one for both capabilities (`capability` is empty), or one each, as `trial_scope` has it. Exempt
-- apps never touch theirs.
SELECT
    appid,
    if(trial_shared, '', capability) AS capability,
    any(trial_size) AS size,
    any(trial_remaining) AS left,
    round(100 * left / size, 1) AS left_percent,
    any(apps.exempt) AS exempt
FROM balances_now
LEFT JOIN apps USING (appid)
GROUP BY appid, if(trial_shared, '', balances_now.capability) AS capability
ORDER BY left, appid
