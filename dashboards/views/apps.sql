-- An app is given its trial quota with the first record of it, registered or not.
CREATE OR REPLACE VIEW apps
(
    appid String COMMENT 'The app',
    name String COMMENT 'As registered last; empty if it never was',
    entity_type String COMMENT 'Kind of owner, as registered last',
    category String COMMENT 'Category, as registered last',
    exempt Bool COMMENT 'Whether it is exempt: its calls are counted and never charged',
    registered_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When it was registered last; NULL if it never was',
    first_recorded_at DateTime64(3, 'UTC') COMMENT 'When the first record about it arrived'
) AS
SELECT
    appid,
    JSONExtractString(argMaxIf(told, (source_offset, line), of_kind = 'registration'), 'name') AS name,
    JSONExtractString(argMaxIf(told, (source_offset, line), of_kind = 'registration'), 'entity_type') AS entity_type,
    JSONExtractString(argMaxIf(told, (source_offset, line), of_kind = 'registration'), 'category') AS category,
    argMaxIf(why, (source_offset, line), of_kind = 'registration') = 'exempt' AS exempt,
    argMaxOrNullIf(at, (source_offset, line), of_kind = 'registration') AS registered_at,
    min(arrived) AS first_recorded_at
FROM
(
    SELECT
        appid, kind AS of_kind, reason AS why, time AS at, recorded_at AS arrived, details AS told,
        source_offset, line
    FROM ledger
    WHERE kind IN ('trial_grant', 'registration')
)
GROUP BY appid
COMMENT 'Every app with a line in the ledger, and what it is registered as'
