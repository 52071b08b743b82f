-- One row per app and capability, also where nothing was bought. A trial quota that both capabilities share is shown
-- in both rows: `trial_shared` says so, and such rows are not to be added up.
CREATE OR REPLACE VIEW balances_now
(
    appid String COMMENT 'The app',
    capability String COMMENT 'quick or realtime',
    calls_left Int64 COMMENT 'trial_remaining + packs_remaining: how many calls are covered from here on',
    trial_size Int64 COMMENT 'Size of the trial quota',
    trial_used_before Int64 COMMENT 'How much of it was used before this log',
    trial_remaining Int64 COMMENT 'What is left of it',
    trial_shared Bool COMMENT 'Whether the trial quota is one for both capabilities',
    packs_size Int64 COMMENT 'Size of the active packs together',
    packs_remaining Int64 COMMENT 'What they hold',
    packs_pending Int64 COMMENT 'What packs hold that are not valid yet',
    packs_expired Int64 COMMENT 'What expired packs hold for late events until they lapse; nobody can use it',
    next_expires_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When the next active pack expires; NULL without one'
) AS
SELECT
    apps.appid AS appid,
    apps.capability AS capability,
    trial_remaining + packs_remaining AS calls_left,
    apps.shared_size + apps.own_size AS trial_size,
    if(apps.shared_size > 0, apps.shared_before, apps.own_before) AS trial_used_before,
    trial_size - trial_used_before - if(apps.shared_size > 0, apps.used, apps.own_used) AS trial_remaining,
    apps.shared_size > 0 AS trial_shared,
    held.size AS packs_size,
    held.remaining AS packs_remaining,
    held.pending AS packs_pending,
    held.expired AS packs_expired,
    held.next_expires_at AS next_expires_at
FROM
(
    SELECT
        appid,
        capability,
        sumIf(moved, kind = 'trial_grant' AND of_capability = '') AS shared_size,
        sumIf(moved, kind = 'trial_grant' AND of_capability = capability) AS own_size,
        sumIf(moved, kind = 'opening' AND pack_id = '' AND of_capability = '') AS shared_before,
        sumIf(moved, kind = 'opening' AND pack_id = '' AND of_capability = capability) AS own_before,
        sumIf(moved, kind = 'trial_charge') AS used,
        sumIf(moved, kind = 'trial_charge' AND of_capability = capability) AS own_used
    FROM
    (
        SELECT appid, capability AS of_capability, pack_id, kind, sum(calls) AS moved
        FROM ledger
        GROUP BY appid, of_capability, pack_id, kind
    )
    ARRAY JOIN ['quick', 'realtime'] AS capability
    WHERE appid != '' AND kind != 'rejection'
    GROUP BY appid, capability
) AS apps
LEFT JOIN
(
    SELECT
        appid,
        toString(packs.capability) AS capability,
        sumIf(packs.calls, status = 'active') AS size,
        sumIf(packs.remaining, status = 'active') AS remaining,
        sumIf(packs.remaining, status = 'pending') AS pending,
        sumIf(packs.remaining, status = 'expired') AS expired,
        minOrNullIf(packs.expires_at, status = 'active') AS next_expires_at
    FROM packs
    GROUP BY appid, capability
) AS held
USING (appid, capability)
COMMENT 'What each app has left now, per capability'
