-- An uncovered call that a pack recorded late took over has two lines more: the second reverses the first, the third
-- is a charge. So the uncovered ones are added up, and the call appears once, as what became of it.
CREATE OR REPLACE VIEW authorizations
(
    appid String COMMENT 'The app',
    capability LowCardinality(String) COMMENT 'quick or realtime',
    time DateTime64(3, 'UTC') COMMENT 'When the client got the outcome',
    recorded_at DateTime64(3, 'UTC') COMMENT 'When the record that decided the charge arrived: its own, or the purchase that took it over',
    event_id String COMMENT 'Its event',
    outcome LowCardinality(String) COMMENT 'succeeded, denied or failed',
    errno Int64 COMMENT 'Error number of a denied or failed one, as the component gave it; otherwise 0',
    charged_to LowCardinality(String) COMMENT 'What its call was taken from: pack, trial, free, exempt or uncovered; empty if it did not succeed',
    pack_id String COMMENT 'The pack that its call was taken from; empty otherwise',
    calls Int64 COMMENT '1 if it succeeded, otherwise 0: add it up to count calls',
    amount_micro_yuan Int64 COMMENT 'What its call cost, in millionths of a yuan',
    reason LowCardinality(String) COMMENT 'Why it is uncovered, or taken_over; mostly empty',
    scene LowCardinality(String) COMMENT 'Entry page or scene',
    store LowCardinality(String) COMMENT 'Store',
    env LowCardinality(String) COMMENT 'release, trial or develop build',
    client String COMMENT 'Keyed hash of the client',
    source LowCardinality(String) COMMENT 'Which back end emitted the event'
) AS
SELECT
    appid,
    capability,
    time,
    recorded_at,
    event_id,
    multiIf(kind = 'denied', 'denied', kind = 'failed', 'failed', 'succeeded') AS outcome,
    errno,
    multiIf(kind = 'charge', 'pack', kind = 'trial_charge', 'trial', kind IN ('free', 'exempt'), kind, '') AS charged_to,
    pack_id,
    if(kind IN ('denied', 'failed'), 0, calls) AS calls,
    amount_micro_yuan,
    reason,
    scene,
    store,
    env,
    client,
    source
FROM ledger
WHERE kind IN ('charge', 'trial_charge', 'free', 'exempt', 'denied', 'failed')
UNION ALL
SELECT
    appid,
    capability,
    time,
    minIf(line_recorded_at, moved > 0) AS recorded_at,
    event_id,
    'succeeded' AS outcome,
    0 AS errno,
    'uncovered' AS charged_to,
    '' AS pack_id,
    sum(moved) AS calls,
    0 AS amount_micro_yuan,
    anyIf(line_reason, moved > 0) AS reason,
    any(line_scene) AS scene,
    any(line_store) AS store,
    any(line_env) AS env,
    any(line_client) AS client,
    any(line_source) AS source
FROM
(
    SELECT
        appid, capability, time, event_id, calls AS moved, recorded_at AS line_recorded_at, reason AS line_reason,
        scene AS line_scene, store AS line_store, env AS line_env, client AS line_client, source AS line_source
    FROM ledger
    WHERE kind = 'uncovered'
)
GROUP BY appid, capability, time, event_id
HAVING calls != 0
COMMENT 'Every authorization once: its outcome, what its call was taken from, where it happened'
