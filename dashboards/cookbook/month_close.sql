-- How does each app's month close?
-- Calls in packs: `opening + bought = charged + lapsed + refunded + closing`, in each row. A pack counts from its
-- purchase on, not from its start. Calls of a pack that were used before this log are not `bought`, but its price is in
-- `yuan_bought`. An event that arrives late changes the month in which it happened; what to book after
-- a closing are the lines with `recorded_at` behind it.
WITH moves AS
(
    SELECT
        appid,
        toString(capability) AS capability,
        toStartOfMonth(time, 'Asia/Shanghai') AS month,
        sumIf(calls, kind = 'purchase') - sumIf(calls, kind = 'opening' AND pack_id != '') AS bought,
        sumIf(calls, kind = 'charge') AS charged,
        sumIf(calls, kind = 'lapse') AS lapsed,
        sumIf(calls, kind = 'refund') AS refunded,
        sumIf(calls, kind = 'trial_charge') AS trial_charged,
        sumIf(calls, kind = 'uncovered') AS uncovered,
        sumIf(amount_micro_yuan, kind = 'purchase') / 1000000 AS yuan_bought,
        sumIf(amount_micro_yuan, kind = 'charge') / 1000000 AS yuan_used,
        sumIf(amount_micro_yuan, kind = 'lapse') / 1000000 AS yuan_lapsed
    FROM ledger
    WHERE kind IN ('purchase', 'opening', 'charge', 'lapse', 'refund', 'trial_charge', 'uncovered')
    GROUP BY appid, capability, month
)
SELECT
    month,
    appid,
    capability,
    sum(bought - charged - lapsed - refunded) OVER (PARTITION BY appid, capability ORDER BY month) AS closing,
    closing - (bought - charged - lapsed - refunded) AS opening,
    bought,
    charged,
    lapsed,
    refunded,
    trial_charged,
    uncovered,
    yuan_bought,
    yuan_used,
    yuan_lapsed
FROM moves
ORDER BY month, appid, capability
