-- An app is given its trial quota with the first record of it, registered or not. The registration that holds is the one
-- of the latest time, not the one that arrived last. Where a correction changed that, a settlement says which one holds
-- (`of`, empty if none does), and only what came since counts beside it.
CREATE OR REPLACE VIEW apps
(
    appid String COMMENT 'The app',
    name String COMMENT 'As registered last by time; empty if it never was',
    label String COMMENT 'What pages call it: its name; its appid if it has none; both if several apps have that name',
    entity_type String COMMENT 'Kind of owner, as registered last',
    category String COMMENT 'Category, as registered last',
    exempt Bool COMMENT 'Whether it is exempt: its calls are counted and never charged',
    registered_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When it was registered last; NULL if it never was',
    first_recorded_at DateTime64(3, 'UTC') COMMENT 'When the first record about it arrived'
) AS
SELECT
    appid,
    name,
    multiIf(name = '', appid, count() OVER (PARTITION BY name) = 1, name, concat(name, ' ', appid)) AS label,
    entity_type,
    category,
    exempt,
    registered_at,
    first_recorded_at
FROM
(
    SELECT
        appid,
        argMaxIf(told, (at, id), holds) AS owner,
        JSONExtractString(owner, 'name') AS name,
        JSONExtractString(owner, 'entity_type') AS entity_type,
        JSONExtractString(owner, 'category') AS category,
        argMaxIf(why, (at, id), holds) = 'exempt' AS exempt,
        argMaxOrNullIf(if(id = '', NULL, at), (at, id), holds) AS registered_at,
        min(arrived) AS first_recorded_at
    FROM
    (
        SELECT
            appid, reason AS why, time AS at, recorded_at AS arrived, details AS told,
            (source_offset, line) AS place,
            kind = 'registration' AND reason != '' AS is_owner,
            JSONHas(details, 'of') AS is_settled,
            if(is_settled, JSONExtractString(details, 'of'), event_id) AS id,
            is_owner AND place >= max(if(is_settled, place, (0, 0))) OVER (PARTITION BY appid) AS holds
        FROM ledger
        WHERE kind IN ('trial_grant', 'registration')
    )
    GROUP BY appid
)
COMMENT 'Every app with a line in the ledger, and what it is registered as'
