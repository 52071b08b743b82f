-- The one place that says what now is. A log with clock ticks runs on the clock, and so does everything that is read
-- from it: which packs are valid, what is left, what is to come. A log without is a past that is played, in a demo or a
-- backfill, and its newest line is where it has come.
CREATE OR REPLACE VIEW clock
(
    runs_on LowCardinality(String) COMMENT 'wall: the log has clock ticks; events: time is that of its events',
    now DateTime64(3, 'UTC') COMMENT 'What every other view takes for now: the clock, or the newest line'
) AS
WITH (SELECT count() > 0 FROM ledger WHERE appid = '' AND kind = 'clock_start') AS ticks
SELECT
    if(ticks, 'wall', 'events') AS runs_on,
    if(ticks, now64(3, 'UTC'), assumeNotNull((SELECT max(time) FROM ledger WHERE NOT ticks))) AS now
COMMENT 'One row: whose clock the log runs on, and what is now'
