-- An alert is open until the recovery from it, of a level from that level. From those of an expiry and of abnormal burn there
-- is none: they stand for a week. A charge notice tells that calls cost money: nothing is wrong, and it is never open.
CREATE OR REPLACE VIEW alerts
(
    alert_id String COMMENT 'Its id in messages and in deliveries: source_partition, source_offset and line with dashes',
    appid String COMMENT 'The app',
    capability LowCardinality(String) COMMENT 'quick or realtime',
    time DateTime64(3, 'UTC') COMMENT 'When the threshold was crossed',
    recovered Bool COMMENT 'Whether it reports the end of one: a top-up, or a success after a refusal',
    is_open Bool COMMENT 'Whether it is an alert that stands now',
    open_until Nullable(DateTime64(3, 'UTC')) COMMENT 'When time alone ends it: a week after an expiry or abnormal burn; NULL if a recovery does, and of a charge notice',
    reason LowCardinality(String) COMMENT 'level, expiry, run_out, uncovered, refused, minute_burn, client_burn or charge_notice',
    pack_id String COMMENT 'The pack that expires; empty otherwise',
    remaining Int64 COMMENT 'Calls left then: of the pack for expiry, of the capability otherwise',
    level_percent Nullable(Int32) COMMENT 'Level that was reached, in percent of size; NULL if not for level',
    size Nullable(Int64) COMMENT 'Size of the trial quota and the active packs that hold calls; NULL if not for level',
    days Nullable(Int32) COMMENT 'Days before the expiry; NULL if not for expiry',
    hours_left Nullable(Int64) COMMENT 'Forecast hours until the balance is used up; NULL if not for run_out',
    why LowCardinality(String) COMMENT 'Why calls are uncovered: no_pack, exhausted or too_late; empty otherwise',
    client String COMMENT 'Client that takes too many calls; empty if not for client_burn',
    calls Nullable(Int64) COMMENT 'Calls so far in the minute, or of the client in the hour; NULL if not for burn',
    usual Nullable(Int64) COMMENT 'Calls of the busiest such minute or hour of the 7 days before; NULL if not for burn',
    details String COMMENT 'All of it as the ledger has it, a JSON object'
) AS
WITH (SELECT now FROM clock) AS at
SELECT
    concat(toString(source_partition), '-', toString(source_offset), '-', toString(line)) AS alert_id,
    appid,
    capability,
    time,
    kind = 'recovery' AS recovered,
    NOT recovered AND reason != 'charge_notice' AND if(open_until IS NULL, recoveries = 0, open_until > at) AS is_open,
    if(recovered OR reason IN ('level', 'run_out', 'uncovered', 'refused', 'charge_notice'), NULL, time + toIntervalDay(7)) AS open_until,
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
FROM
(
    SELECT
        *,
        countIf(kind = 'recovery') OVER (
            PARTITION BY appid, capability, reason, JSONExtractInt(details, 'level_percent')
            ORDER BY source_offset, line
            ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING
        ) AS recoveries
    FROM ledger
    WHERE kind IN ('alert', 'recovery')
)
COMMENT 'Alerts of balance, expiry, uncovered calls, refusals by the platform and abnormal burn, and recoveries'
