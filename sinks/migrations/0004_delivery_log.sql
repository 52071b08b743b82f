-- Which log a row was derived from: phone-deliveries may be made anew, or lose its end, and be filled beyond the place
-- where the sink stood. A log that is another one is told by these from the newest row of its partition.
-- Rows of before say nothing, as their defaults do.
ALTER TABLE delivery_states
    ADD COLUMN IF NOT EXISTS log_topic String COMMENT 'Id of the topic phone-deliveries that the row was derived from; empty if unknown' CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS log_fingerprint UInt64 COMMENT 'Fingerprint of the record at log_offset; 0 if unknown' CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS log_epoch Int32 DEFAULT -1 COMMENT 'Leader epoch in which that record was written; -1 if unknown' CODEC(ZSTD(1))
