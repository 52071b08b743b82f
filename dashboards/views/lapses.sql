CREATE OR REPLACE VIEW lapses
(
    appid String COMMENT 'The app',
    capability LowCardinality(String) COMMENT 'quick or realtime',
    pack_id String COMMENT 'The pack',
    expired_at DateTime64(3, 'UTC') COMMENT 'When it expired',
    calls Int64 COMMENT 'Calls that were lost with it',
    amount_micro_yuan Int64 COMMENT 'What they had cost, in millionths of a yuan'
) AS
SELECT appid, capability, pack_id, time AS expired_at, calls, amount_micro_yuan
FROM ledger
WHERE kind = 'lapse'
COMMENT 'Packs that expired with calls left'
