-- Few rows, of few kinds that the index finds. A correction names its fact by the whole event id, of which the ledger may
-- keep the first digits: `names` has all forms. Whether a correction holds is decided from the latest on, because only a
-- later one can make it void, and among those of corrections alone: of calls there may be many. The app is settled with it
-- by the first settlement that was worked out with the correction and its fact, and that left nothing to move.
CREATE OR REPLACE VIEW corrections
(
    appid String COMMENT 'The app',
    event_id String COMMENT 'Event of the correction',
    corrects String COMMENT 'Event id of the fact that it is about, as it was told',
    fact_id String COMMENT 'The same as the ledger has it; empty if the fact is not known',
    fact_kind String COMMENT 'What that is: call, purchase, refund, registration, correction or other; empty if it is not known',
    action LowCardinality(String) COMMENT 'void or set',
    fields String COMMENT 'What is set, as a JSON object; empty where the fact is void',
    note String COMMENT 'Why, in the words of who told it',
    source LowCardinality(String) COMMENT 'Who told it',
    time DateTime64(3, 'UTC') COMMENT 'When it was told: corrections of a fact hold in this order',
    recorded_at DateTime64(3, 'UTC') COMMENT 'When its record arrived',
    state LowCardinality(String) COMMENT 'waiting for its fact, unsettled, settled, or refused: too many wait for their facts',
    settled_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When the figures had it; NULL until then',
    holds Bool COMMENT 'Whether it counts: false if it was refused, or is void by a later one'
) AS
WITH
    told AS
    (
        SELECT
            appid AS of_app,
            event_id AS id,
            kind AS of_kind,
            reason AS why,
            source AS told_by,
            time AS at,
            recorded_at AS arrived,
            source_offset AS place,
            JSONExtractString(details, 'event_id') AS fact,
            JSONExtractRaw(details, 'set') AS changed,
            JSONExtractString(details, 'note') AS said,
            if(match(fact, '^[0-9a-f]{64}$'), arrayMap(digits -> left(fact, digits), range(16, 65)), [fact]) AS names
        FROM ledger
        WHERE kind IN ('correction', 'correction_refused')
    ),
    facts AS
    (
        SELECT
            named.of_app AS of_app,
            named.fact AS fact,
            argMin(entry.id, entry.place) AS id,
            argMin(entry.of_kind, entry.place) AS of_kind,
            min(entry.place.1) AS place
        FROM (SELECT DISTINCT of_app, fact, arrayJoin(names) AS name FROM told) AS named
        INNER JOIN
        (
            SELECT
                appid AS of_app, event_id AS id, (source_offset, line) AS place,
                multiIf(
                    kind IN ('charge', 'trial_charge', 'free', 'exempt', 'uncovered'), 'call',
                    kind IN ('purchase', 'purchase_refused'), 'purchase',
                    kind IN ('refund', 'refund_refused', 'refund_waiting'), 'refund',
                    kind IN ('correction', 'correction_refused'), 'correction',
                    kind = 'registration', 'registration',
                    'other'
                ) AS of_kind
            FROM ledger
            WHERE event_id IN (SELECT arrayJoin(names) FROM told)
                AND reason NOT IN ('taken_over', 'settled')
                AND kind NOT IN ('duplicate', 'rejection', 'lapse', 'unsettled', 'settlement', 'settlement_refused')
        ) AS entry
        ON entry.of_app = named.of_app AND entry.id = named.name
        GROUP BY of_app, fact
    ),
    voids AS
    (
        SELECT void.of_app AS of_app, void.at AS at, void.id AS id, target.id AS target
        FROM told AS void
        INNER JOIN facts ON facts.of_app = void.of_app AND facts.fact = void.fact
        INNER JOIN told AS target ON target.of_app = void.of_app AND target.id = facts.id
        WHERE facts.of_kind = 'correction' AND void.of_kind = 'correction' AND void.why = 'void'
            AND (void.at, void.id) > (target.at, target.id)
    ),
    voided AS
    (
        SELECT
            of_app,
            arrayJoin(arrayFold(
                (targets, each) -> if(has(targets, each.2), targets, arrayPushBack(targets, each.3)),
                arrayReverseSort(groupArray((at, id, target))),
                CAST([], 'Array(String)')
            )) AS id
        FROM voids
        GROUP BY of_app
    ),
    settlements AS
    (
        SELECT
            appid AS of_app,
            source_offset AS place,
            maxIf(JSONExtractInt(details, 'as_of'), kind = 'settlement') AS as_of,
            max(recorded_at) AS ended_at
        FROM ledger
        WHERE kind IN ('settlement', 'unsettled') AND appid IN (SELECT of_app FROM told)
        GROUP BY appid, source_offset
        HAVING countIf(kind = 'settlement') > 0 AND countIf(kind = 'unsettled' AND reason = 'settlement') = 0
    )
SELECT
    told.of_app AS appid,
    told.id AS event_id,
    told.fact AS corrects,
    facts.id AS fact_id,
    facts.of_kind AS fact_kind,
    if(told.changed = '', 'void', 'set') AS action,
    told.changed AS fields,
    told.said AS note,
    told.told_by AS source,
    told.at AS time,
    told.arrived AS recorded_at,
    multiIf(told.of_kind = 'correction_refused', 'refused', fact_id = '', 'waiting', ended.ended_at IS NULL, 'unsettled', 'settled') AS state,
    if(state = 'settled', ended.ended_at, NULL) AS settled_at,
    told.of_kind = 'correction' AND (told.of_app, told.id) NOT IN (SELECT of_app, id FROM voided) AS holds
FROM told
LEFT JOIN facts ON facts.of_app = told.of_app AND facts.fact = told.fact
LEFT JOIN
(
    SELECT
        awaited.of_app AS of_app,
        awaited.id AS id,
        minOrNullIf(settlements.ended_at, settlements.as_of >= awaited.since) AS ended_at
    FROM
    (
        SELECT told.of_app AS of_app, told.id AS id, greatest(told.place, facts.place) AS since
        FROM told
        INNER JOIN facts ON facts.of_app = told.of_app AND facts.fact = told.fact
    ) AS awaited
    INNER JOIN settlements ON settlements.of_app = awaited.of_app
    GROUP BY of_app, id
) AS ended
ON ended.of_app = told.of_app AND ended.id = told.id
COMMENT 'Every correction of a fact: what it changes, why, and whether the figures have it'
