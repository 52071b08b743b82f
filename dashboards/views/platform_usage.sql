-- What we count is what was charged up to the moment of the observation, by the calls' own times: a call that arrives
-- later than the observation is counted where it belongs, and shown as late. Each call is joined to the next observation
-- of its quota and the sums are added up over these, so that only observations are kept in memory, however many calls.
-- A trial quota that both capabilities share is one to the platform as well. A count of a whole capability is of no
-- quota by itself.
CREATE OR REPLACE VIEW platform_usage
(
    appid String COMMENT 'The app',
    capability LowCardinality(String) COMMENT 'quick or realtime',
    pack_id String COMMENT 'The pack; empty for the trial quota',
    observed_at DateTime64(3, 'UTC') COMMENT 'When the platform said so',
    used Int64 COMMENT 'Calls that the platform said were used',
    size Int64 COMMENT 'Size that the platform said it has',
    charged Int64 COMMENT 'Calls that the ledger has charged to it up to that time, calls used before our log included',
    difference Int64 COMMENT 'used - charged: above 0, calls did not reach us; below 0, the platform is behind',
    since DateTime64(3, 'UTC') COMMENT 'The first of the observations up to this one with the same difference',
    late Int64 COMMENT 'Calls since the observation before that arrived more than a minute after this one',
    late_until DateTime64(3, 'UTC') COMMENT 'When the last of them arrived; 1970 without one'
) AS
SELECT
    appid,
    of_capability AS capability,
    pack_id,
    at AS observed_at,
    used,
    size,
    so_far AS charged,
    gap AS difference,
    min(at) OVER (PARTITION BY appid, quota, pack_id, run) AS since,
    late,
    late_until
FROM
(
    SELECT
        *,
        sum(turned) OVER (PARTITION BY appid, quota, pack_id ORDER BY at) AS run
    FROM
    (
        SELECT
            *,
            gap != lagInFrame(gap, 1, gap) OVER (
                PARTITION BY appid, quota, pack_id ORDER BY at ROWS BETWEEN 1 PRECEDING AND CURRENT ROW
            ) AS turned
        FROM
        (
            SELECT
                *,
                sum(moved) OVER (PARTITION BY appid, quota, pack_id ORDER BY at) AS so_far,
                used - so_far AS gap
            FROM
            (
                SELECT
                    seen.appid AS appid,
                    seen.quota AS quota,
                    seen.pack_id AS pack_id,
                    seen.at AS at,
                    seen.of_capability AS of_capability,
                    seen.used AS used,
                    seen.size AS size,
                    booked.moved AS moved,
                    booked.late AS late,
                    booked.late_until AS late_until
                FROM
                (
                    SELECT
                        appid,
                        if(pack_id = '' AND appid IN (SELECT appid FROM ledger WHERE kind = 'trial_grant' AND capability = ''), '', toString(capability)) AS quota,
                        pack_id,
                        time AS at,
                        argMax(capability, (source_offset, line)) AS of_capability,
                        argMax(JSONExtractInt(details, 'used'), (source_offset, line)) AS used,
                        argMax(JSONExtractInt(details, 'size'), (source_offset, line)) AS size
                    FROM ledger
                    WHERE kind = 'usage_observed' AND JSONExtractString(details, 'covers') != 'capability'
                    GROUP BY appid, quota, pack_id, at
                ) AS seen
                LEFT JOIN
                (
                    SELECT
                        call.appid AS appid,
                        call.quota AS quota,
                        call.pack_id AS pack_id,
                        next.at AS at,
                        sum(call.moved) AS moved,
                        sumIf(call.moved, call.arrived > next.at + toIntervalMinute(1)) AS late,
                        maxIf(call.arrived, call.arrived > next.at + toIntervalMinute(1)) AS late_until
                    FROM
                    (
                        SELECT
                            appid,
                            if(pack_id = '' AND appid IN (SELECT appid FROM ledger WHERE kind = 'trial_grant' AND capability = ''), '', toString(capability)) AS quota,
                            pack_id,
                            time AS at,
                            calls AS moved,
                            recorded_at AS arrived
                        FROM ledger
                        WHERE kind IN ('charge', 'trial_charge', 'opening') AND appid IN (SELECT appid FROM ledger WHERE kind = 'usage_observed')
                    ) AS call
                    ASOF INNER JOIN
                    (
                        SELECT DISTINCT
                            appid,
                            if(pack_id = '' AND appid IN (SELECT appid FROM ledger WHERE kind = 'trial_grant' AND capability = ''), '', toString(capability)) AS quota,
                            pack_id,
                            time AS at
                        FROM ledger
                        WHERE kind = 'usage_observed' AND JSONExtractString(details, 'covers') != 'capability'
                    ) AS next
                    ON call.appid = next.appid AND call.quota = next.quota AND call.pack_id = next.pack_id AND call.at <= next.at
                    GROUP BY appid, quota, pack_id, at
                ) AS booked
                USING (appid, quota, pack_id, at)
            )
        )
    )
)
COMMENT 'What the platform said was used, beside what the ledger has charged by then'
