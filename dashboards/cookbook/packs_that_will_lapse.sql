-- Which packs will lapse, and how many calls with them?
-- At the mean pace of the last 28 days, days without use included. Packs burn by expiry; the trial quota goes first.
-- `reachable` is how many calls can come out of this pack and all before it until it expires; what the packs hold
-- beyond it is lost. `phonemeter forecast` does the same with the shape of the week, with starts of packs to come,
-- and with the range of error.
WITH
    (SELECT max(time) FROM ledger) AS newest,
    pace AS
    (
        SELECT appid, capability, sum(usage_daily.charged + usage_daily.trial_charged + usage_daily.uncovered) / 28 AS a_day
        FROM usage_daily
        WHERE day > toDate(newest, 'Asia/Shanghai') - 29 AND day < toDate(newest, 'Asia/Shanghai')
        GROUP BY appid, capability
    ),
    held AS
    (
        SELECT
            packs.appid AS appid,
            toString(packs.capability) AS capability,
            pack_id,
            expires_at,
            packs.remaining AS remaining,
            price_micro_yuan / packs.calls AS micro_yuan_per_call,
            pace.a_day AS a_day,
            sum(packs.remaining) OVER burn AS held_so_far,
            greatest(0, a_day * dateDiff('second', newest, expires_at) / 86400 - balances_now.trial_remaining) AS demand
        FROM packs
        LEFT JOIN pace ON pace.appid = packs.appid AND pace.capability = packs.capability
        LEFT JOIN balances_now ON balances_now.appid = packs.appid AND balances_now.capability = packs.capability
        WHERE status IN ('active', 'pending')
        WINDOW burn AS (PARTITION BY packs.appid, packs.capability ORDER BY expires_at, starts_at, pack_id)
    ),
    reached AS
    (
        SELECT
            *,
            held_so_far + least(0, min(demand - held_so_far) OVER (PARTITION BY appid, capability ORDER BY held_so_far)) AS reachable
        FROM held
    )
SELECT
    appid,
    capability,
    pack_id,
    expires_at,
    remaining,
    round(a_day, 1) AS calls_a_day,
    round(reachable) AS reachable,
    round(remaining - (reached.reachable - lagInFrame(reached.reachable, 1, 0) OVER (PARTITION BY appid, capability ORDER BY held_so_far))) AS lapsing,
    round(lapsing * micro_yuan_per_call / 1000000, 2) AS yuan_lost
FROM reached
ORDER BY yuan_lost DESC, appid, expires_at
