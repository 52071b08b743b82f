-- Ledger rows of a year, as the sink would store them, out of nothing but their numbers: Zipf among the apps, five calls
-- a year from each client, packs that count down, tenths of a second between event and arrival, one event in 200 late.
INSERT INTO ledger
(
    source_partition, source_offset, line, kind, time, recorded_after_ms, appid, capability, event_id, calls,
    amount_micro_yuan, pack_id, remaining, reason, errno, scene, store, env, client, source
)
WITH
    toInt64(20 - 30 * log(chance_of_late + 0.000001))
        + if(chance_of_late < 0.005, toInt64(chance_of_late * 51840000000), 0) AS later,
    {start} + toInt64(n * {step}) AS recorded_ms,
    concat('wx', lower(hex(cityHash64(app)))) AS name
SELECT
    partition,
    intDiv(n, {partitions}),
    0,
    what,
    fromUnixTimestamp64Milli(recorded_ms - later, 'UTC'),
    later,
    name,
    of_capability,
    lower(hex(cityHash64(n, 'event'))),
    moved,
    if(what = 'charge', if(of_capability = 'quick', 30000, 40000), 0),
    if(what = 'charge', concat(substring(name, 13), '-', of_capability, '-', leftPad(toString(intDiv(place, 10000)), 4, '0')), ''),
    if(what = 'charge', 9999 - place % 10000, 0),
    if(what = 'uncovered', 'no_pack', ''),
    multiIf(what = 'denied', 103, what = 'failed', 1400002, 0),
    ['card_claim', 'checkout', 'member_join', 'coupon_claim', 'group_buy', 'queueing', 'home'][1 + (app + h % (2 + app % 4)) % 7],
    if(app % 6 = 0, '', concat('store-', leftPad(toString(1 + intDiv(h, 8) % [1, 1, 3, 8, 20, 60][1 + app % 6]), 2, '0'))),
    if(h % 100 < 97, 'release', if(h % 100 < 99, 'trial', 'develop')),
    lower(hex(cityHash64(app, intDiv(h, 1024) % greatest(50, toUInt64({rows} * share / 5))))),
    concat('/backend/', toString(app % 50))
FROM
(
    SELECT
        *,
        if(what = 'charge', toUInt64({from_} * share * if(of_capability = 'quick', 0.645, 0.215))
            + row_number() OVER (PARTITION BY app, of_capability, what ORDER BY n), 0) AS place
    FROM
    (
        SELECT
            number AS n,
            n % {partitions} AS partition,
            cityHash64(n) AS h,
            toFloat64(cityHash64(n, 1) % 1000000007) / 1000000007 AS chance,
            toFloat64(cityHash64(n, 2) % 1000000007) / 1000000007 AS chance_of_late,
            toUInt32(least({ranks}, floor(pow(1 - chance * (1 - pow({ranks} + 1, 1 - {skew})), 1 / (1 - {skew}))))) AS rank,
            rank * {partitions} + partition AS app,
            (pow(rank, 1 - {skew}) - pow(rank + 1, 1 - {skew})) / (1 - pow({ranks} + 1, 1 - {skew})) / {partitions} AS share,
            intDiv(h, 4096) % 100 AS drawn,
            multiIf(drawn < 8, 'denied', drawn < 10, 'failed', drawn < 11, 'duplicate', drawn < 14, 'uncovered', 'charge') AS what,
            if(intDiv(h, 65536) % 4 = 0, 'realtime', 'quick') AS of_capability,
            toInt64(what IN ('charge', 'uncovered')) AS moved
        FROM numbers({from_}, {count})
    )
)
SETTINGS max_threads = 1, max_insert_threads = 1, max_block_size = 1048576, max_insert_block_size = 1048576,
    min_insert_block_size_rows = 1048576, min_insert_block_size_bytes = 0
