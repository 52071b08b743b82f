-- A call that a pack recorded late took over has a second line of -1, so it is not here any more. A settlement moves
-- calls of a day, scene, store and build by their number: those that were corrected and the earliest of them are gone from
-- here, or as many rows without an event come in addition.
CREATE OR REPLACE VIEW uncovered
(
    appid String COMMENT 'The app',
    capability LowCardinality(String) COMMENT 'quick or realtime',
    time DateTime64(3, 'UTC') COMMENT 'When the call was made',
    event_id String COMMENT 'Its event; empty for one that a settlement left uncovered',
    reason LowCardinality(String) COMMENT 'Why nothing covered it: no_pack, exhausted, too_late or settled',
    scene LowCardinality(String) COMMENT 'Entry page or scene',
    store LowCardinality(String) COMMENT 'Store',
    client String COMMENT 'Keyed hash of the client'
) AS
SELECT appid, capability, time, event_id, reason, scene, store, client
FROM
(
    SELECT
        *,
        sum(settled) OVER (PARTITION BY appid, capability, day, scene, store, env) AS balance,
        row_number() OVER (PARTITION BY appid, capability, day, scene, store, env ORDER BY settled != 0, is_corrected DESC, time, event_id) AS place
    FROM
    (
        SELECT
            appid,
            capability,
            time,
            event_id,
            toDate(time, 'Asia/Shanghai') AS day,
            anyIf(line_reason, moved > 0) AS reason,
            any(line_scene) AS scene,
            any(line_store) AS store,
            any(line_env) AS env,
            any(line_client) AS client,
            (appid, event_id) IN (SELECT appid, fact_id FROM corrections WHERE fact_kind = 'call' AND holds AND state = 'settled') AS is_corrected,
            toInt64(0) AS settled
        FROM
        (
            SELECT
                appid, capability, time, event_id, reason AS line_reason, scene AS line_scene, store AS line_store,
                env AS line_env, client AS line_client, calls AS moved
            FROM ledger
            WHERE kind = 'uncovered' AND reason != 'settled'
        )
        GROUP BY appid, capability, time, event_id
        HAVING sum(moved) > 0
        UNION ALL
        SELECT
            appid,
            capability,
            min(at) AS time,
            '' AS event_id,
            toDate(at, 'Asia/Shanghai') AS day,
            'settled' AS reason,
            scene,
            store,
            env,
            '' AS client,
            0 AS is_corrected,
            sum(calls) AS settled
        FROM (SELECT *, time AS at FROM ledger WHERE kind = 'uncovered' AND reason = 'settled')
        GROUP BY appid, capability, day, scene, store, env
    )
)
ARRAY JOIN range(toUInt64(if(settled = 0, 1, greatest(0, settled)))) AS each
WHERE settled > 0 OR (reason != 'settled' AND place > -balance)
COMMENT 'Calls that no pack and no trial quota covered, and that none has taken over since'
