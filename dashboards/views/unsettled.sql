-- Which figures may still change: apps whose facts arrived late, until a settlement has brought them to the order in
-- time. A fact that is older than the settlement horizon is named in the ledger and makes no app unsettled.
CREATE OR REPLACE VIEW unsettled
(
    appid String COMMENT 'The app',
    changes_from DateTime64(3, 'UTC') COMMENT 'From when on its figures may still change: the start of a Shanghai day',
    unsettled_at DateTime64(3, 'UTC') COMMENT 'When the newest fact arrived that moved this time, or made the app unsettled',
    reason LowCardinality(String) COMMENT 'What that was: late_call, late_purchase, late_refund, late_registration, late_opening, correction, late_opening',
    settlements UInt64 COMMENT 'How many settlements were applied since then, none of which was the last'
) AS
SELECT
    appid,
    argMaxIf(at, place, of_kind = 'unsettled') AS changes_from,
    argMaxIf(arrived, place, is_fact) AS unsettled_at,
    argMaxIf(why, place, is_fact) AS reason,
    arrayCount(settled -> settled > last_fact, groupArrayIf(place, of_kind = 'settlement')) AS settlements
FROM
(
    SELECT
        appid, kind AS of_kind, reason AS why, time AS at, recorded_at AS arrived, (source_offset, line) AS place,
        kind = 'unsettled' AND reason != 'settlement' AS is_fact,
        max(if(is_fact, place, (0, 0))) OVER (PARTITION BY appid) AS last_fact
    FROM ledger
    WHERE kind IN ('unsettled', 'settlement') AND reason != 'too_old'
)
GROUP BY appid, last_fact
HAVING argMax(of_kind, place) = 'unsettled'
COMMENT 'Apps whose figures may still change, because a fact arrived late: one row each'
