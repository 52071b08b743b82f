CREATE OR REPLACE VIEW usage_monthly
(
    appid String COMMENT 'The app',
    capability LowCardinality(String) COMMENT 'quick or realtime',
    month Date COMMENT 'First day of the month, in Shanghai',
    scene LowCardinality(String) COMMENT 'Entry page or scene',
    store LowCardinality(String) COMMENT 'Store',
    succeeded Int64 COMMENT 'Succeeded authorizations, which are calls: charged + trial_charged + free + exempt + uncovered',
    charged Int64 COMMENT 'Calls taken from packs',
    trial_charged Int64 COMMENT 'Calls taken from the trial quota',
    free Int64 COMMENT 'Calls before billing started',
    exempt Int64 COMMENT 'Calls of apps that are exempt',
    uncovered Int64 COMMENT 'Calls that no pack covered, less those that a pack recorded late took over',
    denied Int64 COMMENT 'Authorizations that the user denied',
    failed Int64 COMMENT 'Authorizations that failed',
    duplicates Int64 COMMENT 'Events that were received again',
    amount_micro_yuan Int64 COMMENT 'Cost of the charged calls, in millionths of a yuan'
) AS
SELECT
    appid,
    capability,
    toStartOfMonth(day) AS month,
    scene,
    store,
    sum(usage_daily.succeeded) AS succeeded,
    sum(usage_daily.charged) AS charged,
    sum(usage_daily.trial_charged) AS trial_charged,
    sum(usage_daily.free) AS free,
    sum(usage_daily.exempt) AS exempt,
    sum(usage_daily.uncovered) AS uncovered,
    sum(usage_daily.denied) AS denied,
    sum(usage_daily.failed) AS failed,
    sum(usage_daily.duplicates) AS duplicates,
    sum(usage_daily.amount_micro_yuan) AS amount_micro_yuan
FROM usage_daily
GROUP BY appid, capability, month, scene, store
COMMENT 'Usage by Shanghai month, app, capability, scene and store'
