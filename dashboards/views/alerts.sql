CREATE OR REPLACE VIEW alerts
(
    appid String COMMENT 'The app',
    capability LowCardinality(String) COMMENT 'quick or realtime',
    time DateTime64(3, 'UTC') COMMENT 'When the threshold was crossed',
    recovered Bool COMMENT 'Whether a top-up lifted the balance clear of it again',
    reason LowCardinality(String) COMMENT 'level, expiry or run_out',
    pack_id String COMMENT 'The pack that expires; empty otherwise',
    remaining Int64 COMMENT 'Calls left then: of the pack for expiry, of the capability otherwise',
    level_percent Nullable(Int32) COMMENT 'Level that was reached, in percent of size; NULL if not for level',
    size Nullable(Int64) COMMENT 'Size of the active packs; NULL if not for level',
    days Nullable(Int32) COMMENT 'Days before the expiry; NULL if not for expiry',
    hours_left Nullable(Int64) COMMENT 'Forecast hours until the balance is used up; NULL if not for run_out',
    details String COMMENT 'All of it as the ledger has it, a JSON object'
) AS
SELECT
    appid,
    capability,
    time,
    kind = 'recovery' AS recovered,
    reason,
    pack_id,
    remaining,
    JSONExtract(details, 'level_percent', 'Nullable(Int32)') AS level_percent,
    JSONExtract(details, 'size', 'Nullable(Int64)') AS size,
    JSONExtract(details, 'days', 'Nullable(Int32)') AS days,
    JSONExtract(details, 'hours_left', 'Nullable(Int64)') AS hours_left,
    details
FROM ledger
WHERE kind IN ('alert', 'recovery')
COMMENT 'Low-balance alerts and recoveries'
