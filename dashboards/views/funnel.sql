CREATE OR REPLACE VIEW funnel
(
    appid String COMMENT 'The app',
    capability LowCardinality(String) COMMENT 'quick or realtime',
    day Date COMMENT 'The day, in Shanghai',
    scene LowCardinality(String) COMMENT 'Entry page or scene',
    store LowCardinality(String) COMMENT 'Store',
    outcome LowCardinality(String) COMMENT 'succeeded, denied or failed',
    errno Int64 COMMENT 'Error number of denied and failed ones, as the component gave it; otherwise 0',
    authorizations Int64 COMMENT 'How many there were; of succeeded ones that is the number of calls'
) AS
SELECT
    appid,
    capability,
    toDate(time, 'Asia/Shanghai') AS day,
    scene,
    store,
    multiIf(kind = 'denied', 'denied', kind = 'failed', 'failed', 'succeeded') AS outcome,
    errno,
    sum(if(kind IN ('denied', 'failed'), 1, calls)) AS authorizations
FROM ledger
WHERE kind IN ('charge', 'trial_charge', 'free', 'exempt', 'uncovered', 'denied', 'failed')
GROUP BY appid, capability, day, scene, store, outcome, errno
COMMENT 'Authorizations by outcome and error number, Shanghai day, app, capability, scene and store'
