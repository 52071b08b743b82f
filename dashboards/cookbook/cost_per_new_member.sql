-- What does a new member cost?
-- A client whose first call ever falls into the month is a new member; the cost is that of all charged calls of the
-- month, repeated ones included. `repeated` says how many calls went to clients that had given their number before:
-- what remembering members would have saved.
WITH calls AS
(
    SELECT
        appid,
        toStartOfMonth(time, 'Asia/Shanghai') AS month,
        amount_micro_yuan,
        row_number() OVER (PARTITION BY appid, client ORDER BY time, event_id) = 1 AS is_first
    FROM authorizations
    WHERE outcome = 'succeeded' AND client != ''
)
SELECT
    appid,
    month,
    countIf(is_first) AS new_members,
    countIf(NOT is_first) AS repeated,
    sum(amount_micro_yuan) / 1000000 AS yuan,
    round(yuan / new_members, 4) AS yuan_per_new_member
FROM calls
GROUP BY appid, month
HAVING new_members > 0
ORDER BY appid, month
