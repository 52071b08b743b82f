-- An app that got another appid is found under the new one: join any view with this one by `appid`, and group by `current`.
-- An app is migrated once; eight migrations after each other are followed.
CREATE OR REPLACE VIEW lineage
(
    appid String COMMENT 'The app',
    current String COMMENT 'The appid that it has now, after all migrations; its own without one',
    migrated_to String COMMENT 'The appid that it got; empty if it has its own still',
    migrated_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When it got that; NULL if it did not',
    migrated_from Array(String) COMMENT 'The appids of which it is the new one'
) AS
WITH
    (
        SELECT groupArray((CAST(appid AS String), JSONExtractString(details, 'to'), time)) FROM ledger WHERE kind = 'migration'
    ) AS moves,
    arrayMap(move -> move.1, moves) AS old_ids,
    arrayMap(move -> move.2, moves) AS new_ids
SELECT
    app AS appid,
    arrayFold((at, step) -> if(has(old_ids, at), new_ids[indexOf(old_ids, at)], at), range(8), app) AS current,
    new_ids[indexOf(old_ids, app)] AS migrated_to,
    if(migrated_to = '', NULL, moves[indexOf(old_ids, app)].3) AS migrated_at,
    arraySort(arrayMap(move -> move.1, arrayFilter(move -> move.2 = app, moves))) AS migrated_from
FROM
(
    SELECT DISTINCT CAST(appid AS String) AS app FROM ledger WHERE kind IN ('trial_grant', 'migration', 'purchase')
)
COMMENT 'Every app, and the appid that it has now'
