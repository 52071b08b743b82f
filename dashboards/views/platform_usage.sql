-- ASOF: what had been charged up to the moment of the observation, by the calls' own times. A trial quota that both
-- capabilities share is one to the platform as well.
CREATE OR REPLACE VIEW platform_usage
(
    appid String COMMENT 'The app',
    capability LowCardinality(String) COMMENT 'quick or realtime',
    pack_id String COMMENT 'The pack; empty for the trial quota',
    observed_at DateTime64(3, 'UTC') COMMENT 'When the platform said so',
    used Int64 COMMENT 'Calls that the platform said were used',
    size Int64 COMMENT 'Size that the platform said it has',
    charged Int64 COMMENT 'Calls that the ledger has charged to it up to that time',
    difference Int64 COMMENT 'used - charged: above 0, calls did not reach us; below 0, the platform is behind'
) AS
SELECT
    observed.appid AS appid,
    observed.of_capability AS capability,
    observed.pack_id AS pack_id,
    observed.at AS observed_at,
    observed.used AS used,
    observed.size AS size,
    booked.so_far AS charged,
    observed.used - booked.so_far AS difference
FROM
(
    SELECT
        appid,
        capability AS of_capability,
        if(pack_id = '' AND appid IN (SELECT appid FROM ledger WHERE kind = 'trial_grant' AND capability = ''), '', capability) AS quota,
        pack_id,
        time AS at,
        JSONExtractInt(details, 'used') AS used,
        JSONExtractInt(details, 'size') AS size
    FROM ledger
    WHERE kind = 'usage_observed'
) AS observed
ASOF LEFT JOIN
(
    SELECT
        appid, quota, pack_id, at,
        sum(moved) OVER (PARTITION BY appid, quota, pack_id ORDER BY at) AS so_far
    FROM
    (
        SELECT
            appid,
            if(kind = 'trial_charge' AND appid IN (SELECT appid FROM ledger WHERE kind = 'trial_grant' AND capability = ''), '', capability) AS quota,
            pack_id,
            time AS at,
            sum(calls) AS moved
        FROM ledger
        WHERE kind IN ('charge', 'trial_charge')
        GROUP BY appid, quota, pack_id, at
    )
) AS booked
ON observed.appid = booked.appid AND observed.quota = booked.quota AND observed.pack_id = booked.pack_id
    AND observed.at >= booked.at
COMMENT 'What the platform said was used, beside what the ledger had charged by then'
