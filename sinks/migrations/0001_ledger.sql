-- The ledger: the one table that is written. Everything else is read from it, so nothing can disagree with it.
--
-- Not partitioned: an INSERT is then one part, which is there whole or not at all. The sink recognises what it has
-- stored by the highest (source_offset, line) of a source partition alone; half an INSERT would be a hole for ever.
-- Ordered by app, capability and time: curves, packs and alerts are questions about one app, whose lines are one range;
-- and within a capability a pack counts down line by line, so that neighbours differ by little or nothing.
-- recorded_at is kept as what it is later than time, recorded_after_ms: a byte instead of three.
-- Codecs: numbers that grow are told by their differences; T64 leaves out the bits that a block does not need; client
-- repeats over longer stretches than others, so its blocks are larger. docs/reference/clickhouse.md has the bytes of each column.
-- Projections instead of materialized views: they live in the part itself, so a crash cannot part them from it.
--   positions: the highest line of each source partition, one row per part: the sink asks before every INSERT.
--   daily: sums per app, scene, store and kind, for the curves of an app; a Shanghai day is not a UTC day.
--   monthly: one row per app and capability, month first, for lists of all apps; a row per kind takes three times as long.
--   packs: what was charged to each pack.
-- Indexes: event_ids answers what became of one event, kinds skips to the rare lines (purchases, lapses, alerts).
-- fsync: an INSERT that was acknowledged survives a power cut, because the sink then forgets it.
-- default_compression_codec: of the sums in the projections, which cannot have codecs of their own.
-- non_replicated_deduplication_window: a second guard, see insert_deduplication_token in sinks/ledger_table.py.
CREATE TABLE IF NOT EXISTS ledger
(
    source_partition UInt32 COMMENT 'Partition of phone-events that the record came from' CODEC(ZSTD(1)),
    source_offset UInt64 COMMENT 'Offset there of the record that caused this line' CODEC(Delta, T64, ZSTD(1)),
    line UInt32 COMMENT 'Number of this line among the lines of that record, from 0' CODEC(ZSTD(1)),
    kind LowCardinality(String) COMMENT 'What the line records: charge, trial_charge, free, exempt, uncovered, denied, failed, duplicate, rejection, trial_grant, purchase, purchase_refused, refund, refund_refused, lapse, registration, alerting_set, usage_observed, alert, recovery' CODEC(ZSTD(1)),
    time DateTime64(3, 'UTC') COMMENT 'When it took effect: the event''s own time; a lapse''s expiry' CODEC(Delta, T64('bit'), ZSTD(1)),
    recorded_after_ms Int64 COMMENT 'recorded_at less time, in milliseconds' CODEC(T64, ZSTD(1)),
    recorded_at DateTime64(3, 'UTC') ALIAS time + toIntervalMillisecond(recorded_after_ms) COMMENT 'When the record arrived at the broker',
    appid LowCardinality(String) COMMENT 'The app (mini-program)' CODEC(ZSTD(1)),
    capability LowCardinality(String) COMMENT 'quick or realtime; empty where the line concerns the whole app' CODEC(ZSTD(1)),
    event_id String COMMENT 'Id of the event that this is the outcome of, the first digits of one that is a SHA-256; empty for what time alone causes' CODEC(ZSTD(1)),
    calls Int64 COMMENT 'Calls moved: 1 for a call, -1 where a takeover reverses an uncovered one, the size of a purchase or refund, the remainder of a lapse, 0 for what moves none' CODEC(T64('bit'), ZSTD(1)),
    amount_micro_yuan Int64 COMMENT 'Money that belongs to calls, in millionths of a yuan' CODEC(T64('bit'), ZSTD(1)),
    pack_id LowCardinality(String) COMMENT 'The pack concerned; empty for the trial quota' CODEC(ZSTD(1)),
    remaining Int64 COMMENT 'What the pack (or the trial quota) holds after this line' CODEC(T64, ZSTD(1)),
    reason LowCardinality(String) COMMENT 'Why, one word: no_pack, exhausted, too_late, taken_over, a refusal, an alert''s kind' CODEC(ZSTD(1)),
    errno Int64 COMMENT 'Error number of a denied or failed authorization, as the component gave it' CODEC(ZSTD(1)),
    scene LowCardinality(String) COMMENT 'Entry page or scene of the authorization, as the event said' CODEC(ZSTD(1)),
    store LowCardinality(String) COMMENT 'Store of the authorization, as the event said' CODEC(ZSTD(1)),
    env LowCardinality(String) COMMENT 'release, trial or develop build, as the event said' CODEC(ZSTD(1)),
    client String COMMENT 'Keyed hash of the client, made by the producer' CODEC(ZSTD(3)) SETTINGS (min_compress_block_size = 1048576, max_compress_block_size = 1048576),
    source LowCardinality(String) COMMENT 'CloudEvents source: which back end emitted the event' CODEC(ZSTD(1)),
    details String COMMENT 'JSON object of what this kind alone has: a pack''s terms, an alert''s level, a rejection' CODEC(ZSTD(1)),

    INDEX event_ids event_id TYPE bloom_filter(0.05) GRANULARITY 1,
    INDEX kinds kind TYPE set(32) GRANULARITY 1,

    PROJECTION positions
    (
        SELECT source_partition, max((source_offset, line)), max(time + toIntervalMillisecond(recorded_after_ms)), max(time), count()
        GROUP BY source_partition
    ),
    PROJECTION daily
    (
        SELECT appid, capability, toDate(time, 'Asia/Shanghai'), scene, store, kind, sum(calls), sum(amount_micro_yuan), count()
        GROUP BY appid, capability, toDate(time, 'Asia/Shanghai'), scene, store, kind
    ),
    PROJECTION monthly
    (
        SELECT
            toStartOfMonth(time, 'Asia/Shanghai'), appid, capability,
            countIf(kind IN ('charge', 'trial_charge', 'free', 'exempt', 'uncovered', 'denied', 'failed', 'duplicate')),
            sumIf(calls, kind IN ('charge', 'trial_charge', 'free', 'exempt', 'uncovered')),
            sumIf(calls, kind = 'charge'), sumIf(calls, kind = 'trial_charge'), sumIf(calls, kind = 'free'),
            sumIf(calls, kind = 'exempt'), sumIf(calls, kind = 'uncovered'),
            countIf(kind = 'denied'), countIf(kind = 'failed'), countIf(kind = 'duplicate'),
            sumIf(amount_micro_yuan, kind = 'charge')
        GROUP BY toStartOfMonth(time, 'Asia/Shanghai'), appid, capability
    ),
    PROJECTION packs
    (
        SELECT appid, capability, pack_id, kind, sum(calls), sum(amount_micro_yuan), count(), max(time)
        GROUP BY appid, capability, pack_id, kind
    )
)
ENGINE = MergeTree
ORDER BY (appid, capability, time, source_offset, line)
PRIMARY KEY (appid, capability, time)
SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1,
    default_compression_codec = 'ZSTD(1)'
COMMENT 'One immutable line per outcome of an event, exactly once: identified by (source_partition, source_offset, line)'
