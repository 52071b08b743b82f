-- What became of each alert on each route, as the sink derives it from phone-deliveries: read it through the view
-- deliveries. It cannot be derived from the ledger, so it is a table; it holds nothing that the ledger has, but for the app.
-- ReplacingMergeTree: rows come at least once, a row of a later place in the log replaces those before it. FINAL in the
-- view makes that exact at any moment, and is cheap: there are a few rows per alert.
-- Ordered by app first: row policies of owners and most questions are about apps.
-- No TTL: phone-deliveries forgets after 400 days, and what was told to whom may be asked later than that.
CREATE TABLE IF NOT EXISTS delivery_states
(
    appid LowCardinality(String) COMMENT 'The app that the alert is about' CODEC(ZSTD(1)),
    alert_id String COMMENT 'The alert: source_partition, source_offset and line of its ledger line, with dashes' CODEC(ZSTD(1)),
    route LowCardinality(String) COMMENT 'Route of the notifier''s file' CODEC(ZSTD(1)),
    channel LowCardinality(String) COMMENT 'webhook, wecom, dingtalk, feishu, slack or email; empty before the first attempt' CODEC(ZSTD(1)),
    state LowCardinality(String) COMMENT 'held, waiting, sending, delivered or dead, as the log had it' CODEC(ZSTD(1)),
    attempts UInt32 COMMENT 'Attempts begun, the newest included' CODEC(ZSTD(1)),
    asked_at DateTime64(3, 'UTC') COMMENT 'When the notifier saw the alert first' CODEC(Delta, ZSTD(1)),
    due_at DateTime64(3, 'UTC') COMMENT 'When the next attempt is due, or was due last' CODEC(Delta, ZSTD(1)),
    changed_at DateTime64(3, 'UTC') COMMENT 'When the newest attempt began or ended' CODEC(Delta, ZSTD(1)),
    outcome String COMMENT 'What became of the newest attempt, in words' CODEC(ZSTD(1)),
    message_id String COMMENT 'Id of the message, the same in every attempt; empty before the first' CODEC(ZSTD(1)),
    acknowledged_by String COMMENT 'Who said that somebody takes care of it; empty if nobody' CODEC(ZSTD(1)),
    acknowledged_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When; NULL if nobody' CODEC(ZSTD(1)),
    log_partition UInt32 COMMENT 'Partition of phone-deliveries that the row was derived from' CODEC(ZSTD(1)),
    log_offset UInt64 COMMENT 'Offset there of the newest record that it says' CODEC(Delta, ZSTD(1))
)
ENGINE = ReplacingMergeTree(log_offset)
ORDER BY (appid, alert_id, route)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'What became of each alert on each route, behind the view deliveries; rows of a higher log_offset replace others'
