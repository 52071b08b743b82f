CREATE OR REPLACE VIEW alerts
(
    alert_id String COMMENT 'Its id in messages and in deliveries: source_partition, source_offset and line with dashes',
    appid String COMMENT 'The app',
    capability LowCardinality(String) COMMENT 'quick or realtime',
    time DateTime64(3, 'UTC') COMMENT 'When the threshold was crossed',
    recovered Bool COMMENT 'Whether a top-up ended it again',
    reason LowCardinality(String) COMMENT 'level, expiry, run_out, uncovered, minute_burn or client_burn',
    pack_id String COMMENT 'The pack that expires; empty otherwise',
    remaining Int64 COMMENT 'Calls left then: of the pack for expiry, of the capability otherwise',
    level_percent Nullable(Int32) COMMENT 'Level that was reached, in percent of size; NULL if not for level',
    size Nullable(Int64) COMMENT 'Size of the active packs; NULL if not for level',
    days Nullable(Int32) COMMENT 'Days before the expiry; NULL if not for expiry',
    hours_left Nullable(Int64) COMMENT 'Forecast hours until the balance is used up; NULL if not for run_out',
    why LowCardinality(String) COMMENT 'Why calls are uncovered: no_pack, exhausted or too_late; empty otherwise',
    client String COMMENT 'Client that takes too many calls; empty if not for client_burn',
    calls Nullable(Int64) COMMENT 'Calls so far in the minute, or of the client in the hour; NULL if not for burn',
    usual Nullable(Int64) COMMENT 'Calls of the busiest such minute or hour of the 7 days before; NULL if not for burn',
    details String COMMENT 'All of it as the ledger has it, a JSON object'
) AS
SELECT
    concat(toString(source_partition), '-', toString(source_offset), '-', toString(line)) AS alert_id,
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
    JSONExtractString(details, 'why') AS why,
    JSONExtractString(details, 'client') AS client,
    JSONExtract(details, 'calls', 'Nullable(Int64)') AS calls,
    JSONExtract(details, 'usual', 'Nullable(Int64)') AS usual,
    details
FROM ledger
WHERE kind IN ('alert', 'recovery')
COMMENT 'Alerts of balance, expiry, uncovered calls and abnormal burn, and recoveries'
