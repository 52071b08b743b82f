-- The newest observation of each quota, of the last three days: what is not observed any more is not compared. The sum of
-- all charges comes from a projection, and only the calls since are read, by the observation that they follow; so the
-- view costs what three days cost, however long the ledger is. A difference stays if two observations at least an hour
-- apart have it, no call from before arrived within the hour, and no settlement is to come: what is on its way is no
-- difference yet. One of a pack that has expired is final, and not told as one that stays.
CREATE OR REPLACE VIEW agreement
(
    appid String COMMENT 'The app',
    capability LowCardinality(String) COMMENT 'quick or realtime',
    pack_id String COMMENT 'The pack; empty for the trial quota',
    observed_at DateTime64(3, 'UTC') COMMENT 'When the platform said so last',
    used Int64 COMMENT 'Calls that it said were used',
    size Int64 COMMENT 'Size that it said the quota has',
    charged Int64 COMMENT 'Calls that the ledger has charged to it up to that time, calls used before our log included',
    difference Int64 COMMENT 'used - charged: above 0, calls did not reach us; below 0, the platform is behind',
    since DateTime64(3, 'UTC') COMMENT 'The first observation of the last three days from which on the difference is the same',
    on_their_way Bool COMMENT 'Whether calls from before then arrived within an hour before the observation or after it, or the app is unsettled',
    policy LowCardinality(String) COMMENT 'follow if a difference that stays is booked, to the platform and no store; otherwise report',
    ended Bool COMMENT 'Whether the pack has expired or was given back: the difference is final',
    stays Bool COMMENT 'Whether a difference has been the same for an hour with nothing on its way, and can still change'
) AS
WITH (SELECT now - toIntervalDay(3) FROM clock) AS begin
SELECT
    newest.appid AS appid,
    newest.of_capability AS capability,
    newest.pack_id AS pack_id,
    newest.observed_at AS observed_at,
    newest.used AS used,
    newest.size AS size,
    newest.charged AS charged,
    newest.gap AS difference,
    newest.since AS since,
    countIf(behind.arrived > newest.observed_at - toIntervalHour(1) AND behind.at <= newest.since) > 0
        OR appid IN (SELECT appid FROM unsettled) AS on_their_way,
    if(any(chosen.policy) = 'follow', 'follow', 'report') AS policy,
    any(bought.status) IN ('expired', 'lapsed', 'refunded') AS ended,
    difference != 0 AND since <= observed_at - toIntervalHour(1) AND NOT on_their_way AND NOT ended AS stays
FROM
(
    SELECT
        appid,
        quota,
        pack_id,
        argMax(of_capability, at) AS of_capability,
        max(at) AS observed_at,
        argMax(used, at) AS used,
        argMax(size, at) AS size,
        argMax(so_far, at) AS charged,
        argMax(difference, at) AS gap,
        argMax(first_at, at) AS since
    FROM
    (
        SELECT *, min(at) OVER (PARTITION BY appid, quota, pack_id, run) AS first_at
        FROM
        (
            SELECT *, sum(turned) OVER (PARTITION BY appid, quota, pack_id ORDER BY at) AS run
            FROM
            (
                SELECT
                    *,
                    difference != lagInFrame(difference, 1, difference) OVER (
                        PARTITION BY appid, quota, pack_id ORDER BY at ROWS BETWEEN 1 PRECEDING AND CURRENT ROW
                    ) AS turned
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
                        total.calls - sum(later.moved) OVER (
                            PARTITION BY seen.appid, seen.quota, seen.pack_id ORDER BY seen.at
                            ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING
                        ) AS so_far,
                        used - so_far AS difference
                    FROM
                    (
                        SELECT
                            appid,
                            if(pack_id = '' AND appid IN (SELECT appid FROM ledger WHERE kind = 'trial_grant' AND capability = ''), '', toString(capability)) AS quota,
                            pack_id,
                            time AS at,
                            argMax(toString(capability), (source_offset, line)) AS of_capability,
                            argMax(JSONExtractInt(details, 'used'), (source_offset, line)) AS used,
                            argMax(JSONExtractInt(details, 'size'), (source_offset, line)) AS size
                        FROM ledger
                        WHERE kind = 'usage_observed' AND JSONExtractString(details, 'covers') != 'capability' AND time > begin
                        GROUP BY appid, quota, pack_id, at
                    ) AS seen
                    LEFT JOIN
                    (
                        SELECT
                            appid,
                            if(pack_id = '' AND appid IN (SELECT appid FROM ledger WHERE kind = 'trial_grant' AND capability = ''), '', toString(capability)) AS quota,
                            pack_id,
                            sum(moved) AS calls
                        FROM
                        (
                            SELECT appid, capability, pack_id, kind, sum(calls) AS moved
                            FROM ledger
                            GROUP BY appid, capability, pack_id, kind
                        )
                        WHERE kind IN ('charge', 'trial_charge', 'opening')
                        GROUP BY appid, quota, pack_id
                    ) AS total
                    ON seen.appid = total.appid AND seen.quota = total.quota AND seen.pack_id = total.pack_id
                    LEFT JOIN
                    (
                        SELECT call.appid AS appid, call.quota AS quota, call.pack_id AS pack_id, before.at AS at, sum(call.moved) AS moved
                        FROM
                        (
                            SELECT
                                appid,
                                if(pack_id = '' AND appid IN (SELECT appid FROM ledger WHERE kind = 'trial_grant' AND capability = ''), '', toString(capability)) AS quota,
                                pack_id,
                                time AS at,
                                calls AS moved
                            FROM ledger
                            WHERE kind IN ('charge', 'trial_charge', 'opening') AND time > begin
                                AND appid IN (SELECT appid FROM ledger WHERE kind = 'usage_observed' AND time > begin)
                        ) AS call
                        ASOF INNER JOIN
                        (
                            SELECT DISTINCT
                                appid,
                                if(pack_id = '' AND appid IN (SELECT appid FROM ledger WHERE kind = 'trial_grant' AND capability = ''), '', toString(capability)) AS quota,
                                pack_id,
                                time AS at
                            FROM ledger
                            WHERE kind = 'usage_observed' AND JSONExtractString(details, 'covers') != 'capability' AND time > begin
                        ) AS before
                        ON call.appid = before.appid AND call.quota = before.quota AND call.pack_id = before.pack_id AND call.at > before.at
                        GROUP BY appid, quota, pack_id, at
                    ) AS later
                    ON seen.appid = later.appid AND seen.quota = later.quota AND seen.pack_id = later.pack_id AND seen.at = later.at
                )
            )
        )
    )
    GROUP BY appid, quota, pack_id
) AS newest
LEFT JOIN
(
    SELECT
        appid,
        if(pack_id = '' AND appid IN (SELECT appid FROM ledger WHERE kind = 'trial_grant' AND capability = ''), '', toString(capability)) AS quota,
        pack_id,
        time AS at,
        recorded_at AS arrived
    FROM ledger
    WHERE kind IN ('charge', 'trial_charge') AND time > begin AND recorded_after_ms > 60000
) AS behind
ON newest.appid = behind.appid AND newest.quota = behind.quota AND newest.pack_id = behind.pack_id
LEFT JOIN
(
    SELECT appid, argMax(JSONExtractString(details, 'policy'), (source_offset, line)) AS policy
    FROM ledger WHERE kind = 'agreement_set' GROUP BY appid
) AS chosen
ON newest.appid = chosen.appid
LEFT JOIN (SELECT appid, toString(capability) AS quota, pack_id, status FROM packs) AS bought
ON newest.appid = bought.appid AND newest.quota = bought.quota AND newest.pack_id = bought.pack_id
GROUP BY appid, newest.quota, capability, pack_id, observed_at, used, size, charged, difference, since
COMMENT 'Each quota as the platform told it last, beside the ledger: the difference, since when, and whether it stays'
