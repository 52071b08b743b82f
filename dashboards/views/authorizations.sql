-- An uncovered call that a pack recorded late took over has two lines more: the second reverses the first, the third
-- is a charge. So the uncovered ones are added up, and the call appears once, as what became of it. Settlements move
-- calls by their number, and none of these: the usage views have where calls were taken from in the end. A call that was
-- corrected is told apart once its app is settled with it, as the usage views have it from then on. Planning `corrections`
-- takes longer than all the rest, so it is asked twice only: the index finds the calls by all ids that are corrected anyhow.
CREATE OR REPLACE VIEW authorizations
(
    appid String COMMENT 'The app',
    capability LowCardinality(String) COMMENT 'quick or realtime',
    time DateTime64(3, 'UTC') COMMENT 'When the client got the outcome',
    recorded_at DateTime64(3, 'UTC') COMMENT 'When the record that decided the charge arrived: its own, or the purchase that took it over',
    event_id String COMMENT 'Its event',
    outcome LowCardinality(String) COMMENT 'succeeded, denied or failed',
    errno Int64 COMMENT 'Error number of a denied or failed one, as the component gave it; otherwise 0',
    charged_to LowCardinality(String) COMMENT 'What its call was taken from: pack, trial, free, exempt or uncovered; empty if it did not succeed, or was corrected: a settlement moved it',
    pack_id String COMMENT 'The pack that its call was taken from; empty otherwise',
    calls Int64 COMMENT '1 if it succeeded, otherwise 0, also if it is void: add it up to count calls',
    amount_micro_yuan Int64 COMMENT 'What its call cost, in millionths of a yuan; 0 if it was corrected',
    reason LowCardinality(String) COMMENT 'Why it is uncovered, or taken_over; mostly empty',
    scene LowCardinality(String) COMMENT 'Entry page or scene',
    store LowCardinality(String) COMMENT 'Store',
    env LowCardinality(String) COMMENT 'release, trial or develop build',
    client String COMMENT 'Keyed hash of the client',
    source LowCardinality(String) COMMENT 'Which back end emitted the event',
    corrected LowCardinality(String) COMMENT 'void: it never was, and is no call; set: its time, capability or place are those that a correction gave it; empty otherwise'
) AS
WITH
    standing AS
    (
        SELECT appid AS of_app, fact_id AS id, action AS what, fields AS given, (time, event_id) AS told
        FROM corrections
        WHERE fact_kind = 'call' AND holds AND state = 'settled'
    ),
    calls_corrected AS
    (
        SELECT
            of_app,
            id,
            argMax(what, told) AS what,
            argMaxIf(JSONExtractString(given, 'time'), told, JSONHas(given, 'time')) AS at,
            argMaxIf(JSONExtractString(given, 'capability'), told, JSONHas(given, 'capability')) AS of_capability,
            argMaxOrNullIf(JSONExtractString(given, 'scene'), told, JSONHas(given, 'scene')) AS of_scene,
            argMaxOrNullIf(JSONExtractString(given, 'store'), told, JSONHas(given, 'store')) AS of_store,
            argMaxOrNullIf(JSONExtractString(given, 'env'), told, JSONHas(given, 'env')) AS of_env
        FROM standing
        GROUP BY of_app, id
    )
SELECT *
FROM
(
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
        source,
        '' AS corrected
    FROM ledger
    WHERE kind IN ('charge', 'trial_charge', 'free', 'exempt', 'denied', 'failed') AND reason != 'settled'
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
        any(line_source) AS source,
        '' AS corrected
    FROM
    (
        SELECT
            appid, capability, time, event_id, calls AS moved, recorded_at AS line_recorded_at, reason AS line_reason,
            scene AS line_scene, store AS line_store, env AS line_env, client AS line_client, source AS line_source
        FROM ledger
        WHERE kind = 'uncovered' AND reason != 'settled'
    )
    GROUP BY appid, capability, time, event_id
    HAVING calls != 0
)
WHERE charged_to IN ('', 'free') OR (appid, event_id) NOT IN (SELECT of_app, id FROM standing)
UNION ALL
SELECT
    call.of_app AS appid,
    if(now.of_capability = '', call.of_capability, now.of_capability) AS capability,
    if(now.at = '', call.at, parseDateTime64BestEffort(now.at, 3, 'UTC')) AS time,
    call.arrived AS recorded_at,
    call.id AS event_id,
    'succeeded' AS outcome,
    0 AS errno,
    '' AS charged_to,
    '' AS pack_id,
    now.what != 'void' AS calls,
    0 AS amount_micro_yuan,
    '' AS reason,
    ifNull(now.of_scene, call.of_scene) AS scene,
    ifNull(now.of_store, call.of_store) AS store,
    ifNull(now.of_env, call.of_env) AS env,
    call.of_client AS client,
    call.told_by AS source,
    now.what AS corrected
FROM
(
    SELECT
        appid AS of_app, event_id AS id, toString(capability) AS of_capability, time AS at, recorded_at AS arrived,
        toString(scene) AS of_scene, toString(store) AS of_store, toString(env) AS of_env, client AS of_client, source AS told_by
    FROM ledger
    WHERE kind IN ('charge', 'trial_charge', 'exempt', 'uncovered') AND calls = 1 AND reason NOT IN ('taken_over', 'settled')
        AND event_id IN
        (
            SELECT arrayJoin(if(match(fact, '^[0-9a-f]{64}$'), arrayMap(digits -> left(fact, digits), range(16, 65)), [fact]))
            FROM (SELECT JSONExtractString(details, 'event_id') AS fact FROM ledger WHERE kind = 'correction')
        )
) AS call
INNER JOIN calls_corrected AS now ON now.of_app = call.of_app AND now.id = call.id
COMMENT 'Every authorization once: its outcome, what its call was taken from, where it happened'
