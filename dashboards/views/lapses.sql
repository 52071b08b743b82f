CREATE OR REPLACE VIEW lapses
(
    appid String COMMENT 'The app',
    capability LowCardinality(String) COMMENT 'quick or realtime',
    pack_id String COMMENT 'The pack',
    expired_at DateTime64(3, 'UTC') COMMENT 'When it expired',
    calls Int64 COMMENT 'Calls that were lost with it',
    amount_micro_yuan Int64 COMMENT 'What they had cost, in millionths of a yuan'
) AS
SELECT appid, capability, pack_id, expired_at, lost AS calls, money AS amount_micro_yuan
FROM
(
    SELECT appid, capability, pack_id, max(time) AS expired_at, sum(calls) AS lost, sum(amount_micro_yuan) AS money
    FROM ledger
    WHERE kind = 'lapse'
    GROUP BY appid, capability, pack_id
)
WHERE lost > 0
COMMENT 'Packs that expired with calls left; a lapse that was reversed is none'
