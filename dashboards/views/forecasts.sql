-- What metering/forecast.py plays forward, in SQL and in the same integers (expected pace only, without the interval):
-- time is cut at midnights in Shanghai and where a pack starts or expires; the trial quota goes first, then the active
-- pack with the earliest expiry. `play` walks through the cuts up to the last expiry; its state is what each pack holds,
-- the run-out, and what the packs held before each cut.
CREATE OR REPLACE VIEW forecasts
(
    appid String COMMENT 'The app',
    capability String COMMENT 'quick or realtime',
    calls_a_day Float64 COMMENT 'Expected calls of a mean day',
    run_out_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When no pack and no trial quota covers a call any more; NULL if not within three years',
    pack_ids Array(String) COMMENT 'Packs that hold calls, in the order in which they are used up',
    pack_lapsing Array(Int64) COMMENT 'How many calls will lapse with each of them',
    ends Array(DateTime64(3, 'UTC')) COMMENT 'Ends of the stretches of time that were looked at',
    expected Array(Int64) COMMENT 'Expected use of each stretch, in millionths of a call',
    calls_left Array(Int64) COMMENT 'What trial quota and active packs hold at its end, in millionths of a call'
) AS
WITH
    assumeNotNull((SELECT toUnixTimestamp64Milli(now) FROM clock)) AS now_ms,
    toInt64(86400000) AS day_ms,
    now_ms + 1100 * day_ms AS horizon_ms,
    (time_ms, micro_calls, shape) -> intDiv(micro_calls * shape[toDayOfWeek(toDate(intDiv(time_ms, 1000), 'Asia/Shanghai'))], 1000) AS of_day
SELECT
    appid,
    capability,
    micro_calls_a_day / 1000000 AS calls_a_day,
    if(run_out_ms = 0 OR micro_calls_a_day = 0, NULL, fromUnixTimestamp64Milli(run_out_ms, 'UTC')) AS run_out_at,
    ids AS pack_ids,
    arrayMap(micro_calls -> intDiv(micro_calls, 1000000), played.1) AS pack_lapsing,
    arrayMap(to_ms -> fromUnixTimestamp64Milli(to_ms, 'UTC'), to_all) AS ends,
    demand AS expected,
    arrayMap((to_ms, trial_micro, held) -> trial_micro + arraySum(arrayMap((micro_calls, starts_ms, expires_ms) ->
        if(starts_ms <= to_ms AND to_ms < expires_ms, micro_calls, 0), held, pack_starts, pack_expires)), to_all, trial_after, held_after) AS calls_left
FROM
(
    SELECT
        *,
        arrayFold(
            (state, at) -> (
                arrayMap((held, avail, so_far) -> held - greatest(0, least(avail, at.3 - (so_far - avail))),
                    state.1,
                    arrayMap((held, starts_ms, expires_ms) -> if(starts_ms <= at.1 AND at.1 < expires_ms, held, 0), state.1, pack_starts, pack_expires),
                    arrayCumSum(arrayMap((held, starts_ms, expires_ms) -> if(starts_ms <= at.1 AND at.1 < expires_ms, held, 0), state.1, pack_starts, pack_expires))),
                if(state.2 = 0 AND at.3 > arraySum(arrayMap((held, starts_ms, expires_ms) -> if(starts_ms <= at.1 AND at.1 < expires_ms, held, 0), state.1, pack_starts, pack_expires)),
                    at.1 + toInt64(intDiv(toInt128(at.2 - at.1) * arraySum(arrayMap((held, starts_ms, expires_ms) -> if(starts_ms <= at.1 AND at.1 < expires_ms, held, 0), state.1, pack_starts, pack_expires)), at.3)),
                    state.2),
                arrayPushBack(state.3, state.1)
            ),
            arraySlice(arrayZip(free_from, to_all, wanted), 1, packs_end),
            (pack_micro_calls, toInt64(0), emptyArrayOfArrays)
        ) AS played,
        -- Nothing is held any more behind the last expiry: the first call that is asked for there is not covered.
        if(played.2 != 0, played.2, arrayFirst((from_ms, to_ms, calls, n) -> n > packs_end AND from_ms < to_ms AND calls > 0,
            free_from, to_all, wanted, arrayEnumerate(to_all))) AS run_out_ms,
        arrayMap(n -> if(n < packs_end, played.3[n + 1], played.1), arrayEnumerate(to_all)) AS held_after
    FROM
    (
        SELECT
            *,
            CAST([], 'Array(Array(Int64))') AS emptyArrayOfArrays,
            arrayCumSum(demand_of_quota) AS used_of_trial,
            arrayMap(used -> greatest(0, trial_micro_calls - used), used_of_trial) AS trial_after,
            arrayMap((from_ms, to_ms, calls, used) -> if(used <= trial_micro_calls, to_ms,
                from_ms + toInt64(intDiv(toInt128(to_ms - from_ms) * greatest(0, trial_micro_calls - used + calls), greatest(1, calls)))),
                from_all, to_all, demand_of_quota, used_of_trial) AS free_from,
            arrayMap((from_ms, to_ms) -> toInt64(intDiv(toInt128(of_day(from_ms, micro_calls_a_day, shape_permille)) * (to_ms - from_ms), day_ms)),
                free_from, to_all) AS wanted,
            toInt64(arrayCount(from_ms -> from_ms < arrayMax(arrayPushBack(pack_expires, 0)), from_all)) AS packs_end
        FROM
        (
            SELECT
                *,
                sumForEach(demand) OVER (PARTITION BY appid, quota) AS demand_of_quota
            FROM
            (
                SELECT
                    *,
                    arraySort(arrayDistinct(arrayConcat(
                        arrayFilter(at -> now_ms < at AND at < horizon_ms, cuts),
                        arrayMap(n -> (intDiv(now_ms + 28800000, day_ms) + n) * day_ms - 28800000, range(1, 1101)),
                        [horizon_ms]))) AS to_all,
                    arrayPushFront(arrayPopBack(to_all), now_ms) AS from_all,
                    arrayMap((from_ms, to_ms) -> toInt64(intDiv(toInt128(of_day(from_ms, micro_calls_a_day, shape_permille)) * (to_ms - from_ms), day_ms)),
                        from_all, to_all) AS demand
                FROM
                (
                    SELECT
                        *,
                        groupArrayArray(arrayConcat(pack_starts, pack_expires)) OVER (PARTITION BY appid, quota) AS cuts
                    FROM
                    (
                        SELECT
                            balances_now.appid AS appid,
                            balances_now.capability AS capability,
                            if(trial_shared, '', capability) AS quota,
                            trial_remaining * 1000000 AS trial_micro_calls,
                            ifNull(paces.micro_calls_a_day, 0) AS micro_calls_a_day,
                            if(empty(paces.shape_permille), arrayResize(emptyArrayInt64(), 7, 1000), paces.shape_permille) AS shape_permille,
                            arraySort(held.packs) AS packs,
                            packs.1 AS pack_expires,
                            packs.2 AS pack_starts,
                            packs.3 AS ids,
                            arrayMap(calls -> calls * 1000000, packs.4) AS pack_micro_calls
                        FROM balances_now
                        LEFT JOIN paces ON paces.appid = balances_now.appid AND paces.capability = balances_now.capability
                        LEFT JOIN
                        (
                            SELECT
                                appid,
                                capability,
                                groupArray((toUnixTimestamp64Milli(expires_at), toUnixTimestamp64Milli(starts_at), pack_id, packs.remaining)) AS packs
                            FROM packs
                            WHERE status IN ('active', 'pending') AND packs.remaining > 0
                            GROUP BY appid, capability
                        ) AS held ON held.appid = balances_now.appid AND held.capability = balances_now.capability
                    )
                )
            )
        )
    )
)
COMMENT 'What is to come for each app and capability, at the expected pace: the arrays behind forecast_daily and forecast_packs'
