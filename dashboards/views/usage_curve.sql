-- A view with parameters, so that the days without any use are zeros and not holes:
-- SELECT * FROM usage_curve(app = 'wx1', first_day = '2024-06-01', last_day = '2024-06-30')
CREATE OR REPLACE VIEW usage_curve AS
SELECT
    day,
    sum(usage_daily.succeeded) AS succeeded,
    sum(usage_daily.charged) AS charged,
    sum(usage_daily.trial_charged) AS trial_charged,
    sum(usage_daily.uncovered) AS uncovered,
    sum(usage_daily.amount_micro_yuan) AS amount_micro_yuan
FROM usage_daily
WHERE appid = {app:String} AND day BETWEEN {first_day:Date} AND {last_day:Date}
GROUP BY day
ORDER BY day WITH FILL FROM {first_day:Date} TO {last_day:Date} + 1
COMMENT 'The use of one app by Shanghai day, with zeros for days without any'
