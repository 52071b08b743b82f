-- Which packs will lapse, and how many calls with them?
-- At the pace of [the forecast](../explanation/forecast.md), to the call what `phonemeter forecast` says: packs burn by expiry, and a
-- trial quota goes first, once, also where both capabilities share it. `used` calls will have come out of the pack when it
-- expires, the `lapsing` ones are lost, at the price of the last calls of the pack.
SELECT
    forecast_packs.appid AS appid,
    forecast_packs.capability AS capability,
    pack_id,
    expires_at,
    forecast_packs.remaining AS remaining,
    round(forecasts.calls_a_day, 1) AS calls_a_day,
    remaining - lapsing AS used,
    forecast_packs.lapsing AS lapsing,
    lapsing_micro_yuan / 1000000 AS yuan_lost
FROM forecast_packs
INNER JOIN forecasts ON forecasts.appid = forecast_packs.appid AND forecasts.capability = forecast_packs.capability
ORDER BY yuan_lost DESC, appid, expires_at, pack_id
