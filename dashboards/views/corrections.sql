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
            argMin(entry.at, entry.place) AS at,
            min(entry.place.1) AS place
        FROM (SELECT DISTINCT of_app, fact, arrayJoin(names) AS name FROM told) AS named
        INNER JOIN
        (
            SELECT
                appid AS of_app, event_id AS id, time AS at, (source_offset, line) AS place,
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
    settlements AS
    (
        SELECT of_app, as_of, toNullable(min(ended) OVER (PARTITION BY of_app ORDER BY as_of DESC)) AS ended_at
        FROM
        (
            SELECT
                appid AS of_app,
                maxIf(JSONExtractUInt(details, 'as_of'), kind = 'settlement') AS as_of,
                max(recorded_at) AS ended
            FROM ledger
            WHERE kind IN ('settlement', 'unsettled')
                AND appid IN (SELECT appid FROM ledger WHERE kind IN ('correction', 'correction_refused'))
            GROUP BY appid, source_offset
            HAVING countIf(kind = 'settlement') > 0 AND countIf(kind = 'unsettled' AND reason = 'settlement') = 0
        )
    )
SELECT
    of_app AS appid,
    each.id AS event_id,
    each.fact AS corrects,
    each.fact_id AS fact_id,
    each.fact_kind AS fact_kind,
    if(each.changed = '', 'void', 'set') AS action,
    each.changed AS fields,
    each.said AS note,
    each.told_by AS source,
    each.at AS time,
    each.arrived AS recorded_at,
    multiIf(NOT each.is_taken, 'refused', fact_id = '', 'waiting', each.ended_at IS NULL, 'unsettled', 'settled') AS state,
    if(state = 'settled', each.ended_at, NULL) AS settled_at,
    each.is_taken AND NOT has(voided, event_id) AS holds
FROM
(
    SELECT
        of_app,
        groupArray(CAST(
            (id, fact, fact_id, fact_kind, changed, said, told_by, at, arrived, is_taken, settlements.ended_at),
            'Tuple(id String, fact String, fact_id String, fact_kind String, changed String, said String, told_by String,
                at DateTime64(3, \'UTC\'), arrived DateTime64(3, \'UTC\'), is_taken UInt8, ended_at Nullable(DateTime64(3, \'UTC\')))'
        )) AS told_of_app,
        arrayFold(
            (targets, void) -> if(has(targets, void.2), targets, arrayPushBack(targets, void.3)),
            arrayReverseSort(groupArrayIf(
                (at, id, fact_id),
                is_taken AND why = 'void' AND fact_kind = 'correction' AND (at, id) > (fact_at, fact_id)
            )),
            CAST([], 'Array(String)')
        ) AS voided
    FROM
    (
        SELECT
            told.of_app AS of_app, id, told.fact AS fact, changed, said, told_by, told.at AS at, arrived, why,
            of_kind = 'correction' AS is_taken,
            facts.id AS fact_id, facts.of_kind AS fact_kind, facts.at AS fact_at,
            greatest(told.place, facts.place) AS known_from
        FROM told
        LEFT JOIN facts ON facts.of_app = told.of_app AND facts.fact = told.fact
    ) AS known
    ASOF LEFT JOIN settlements ON settlements.of_app = known.of_app AND settlements.as_of >= known.known_from
    GROUP BY of_app
)
ARRAY JOIN told_of_app AS each
COMMENT 'Every correction of a fact: what it changes, why, and whether the figures have it'
