-- Reads the projection `daily` of the ledger: keep the inner query's keys and sums as they are there.
CREATE OR REPLACE VIEW usage_daily
(
    appid String COMMENT 'The app',
    capability LowCardinality(String) COMMENT 'quick or realtime',
    day Date COMMENT 'The day, in Shanghai',
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
    shanghai_day AS day,
    scene,
    store,
    sumIf(moved, kind IN ('charge', 'trial_charge', 'free', 'exempt', 'uncovered')) AS succeeded,
    sumIf(moved, kind = 'charge') AS charged,
    sumIf(moved, kind = 'trial_charge') AS trial_charged,
    sumIf(moved, kind = 'free') AS free,
    sumIf(moved, kind = 'exempt') AS exempt,
    sumIf(moved, kind = 'uncovered') AS uncovered,
    toInt64(sumIf(times, kind = 'denied')) AS denied,
    toInt64(sumIf(times, kind = 'failed')) AS failed,
    toInt64(sumIf(times, kind = 'duplicate')) AS duplicates,
    sumIf(money, kind = 'charge') AS amount_micro_yuan
FROM
(
    SELECT
        appid, capability, toDate(time, 'Asia/Shanghai') AS shanghai_day, scene, store, kind,
        sum(calls) AS moved, sum(amount_micro_yuan) AS money, count() AS times
    FROM ledger
    GROUP BY appid, capability, shanghai_day, scene, store, kind
)
WHERE kind IN ('charge', 'trial_charge', 'free', 'exempt', 'uncovered', 'denied', 'failed', 'duplicate')
GROUP BY appid, capability, shanghai_day, scene, store
COMMENT 'Usage by Shanghai day, app, capability, scene and store'
