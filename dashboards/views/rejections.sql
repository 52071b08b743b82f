CREATE OR REPLACE VIEW rejections
(
    source_partition UInt32 COMMENT 'Partition of phone-events where the record stands',
    source_offset UInt64 COMMENT 'Its offset there; partition and offset find it in phone-dead-letters',
    recorded_at DateTime64(3, 'UTC') COMMENT 'When it arrived',
    appid String COMMENT 'The app, where the record told one',
    reason LowCardinality(String) COMMENT 'Why it is no event, one word',
    details String COMMENT 'What is wrong, a JSON object'
) AS
SELECT source_partition, source_offset, recorded_at, appid, reason, details
FROM ledger
WHERE kind = 'rejection'
COMMENT 'Records that are no events, kept whole in phone-dead-letters'
