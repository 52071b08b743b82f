-- A call that a pack recorded late took over has a second line of -1, so it is not here any more.
CREATE OR REPLACE VIEW uncovered
(
    appid String COMMENT 'The app',
    capability LowCardinality(String) COMMENT 'quick or realtime',
    time DateTime64(3, 'UTC') COMMENT 'When the call was made',
    event_id String COMMENT 'Its event',
    reason LowCardinality(String) COMMENT 'Why nothing covered it: no_pack, exhausted or too_late',
    scene LowCardinality(String) COMMENT 'Entry page or scene',
    store LowCardinality(String) COMMENT 'Store',
    client String COMMENT 'Keyed hash of the client'
) AS
SELECT
    appid,
    capability,
    time,
    event_id,
    anyIf(line_reason, moved > 0) AS reason,
    any(line_scene) AS scene,
    any(line_store) AS store,
    any(line_client) AS client
FROM
(
    SELECT
        appid, capability, time, event_id, reason AS line_reason, scene AS line_scene, store AS line_store,
        client AS line_client, calls AS moved
    FROM ledger
    WHERE kind = 'uncovered'
)
GROUP BY appid, capability, time, event_id
HAVING sum(moved) > 0
COMMENT 'Calls that no pack and no trial quota covered, and that none has taken over since'
