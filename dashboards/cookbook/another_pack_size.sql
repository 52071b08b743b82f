-- What would another pack size have cost?
-- The calls that were charged so far, out of packs of the size in the first lines, each bought when the one before was
-- used up: `packs_needed` of them, of which the last is begun. Beside it, what was paid for the packs that are there, and
-- what of that is lost already. It does not look at expiries of the other size: fewer than one pack in its validity
-- means that it would lapse.
WITH
    10000 AS size,
    300 AS yuan_per_pack
SELECT
    appid,
    capability,
    sum(packs.charged) AS calls_charged,
    sum(packs.lapsed) AS calls_lapsed,
    sumIf(packs.price_micro_yuan, status != 'refunded') / 1000000 AS yuan_paid,
    round(yuan_paid / calls_charged, 4) AS yuan_per_used_call,
    intDiv(calls_charged + size - 1, size) AS packs_needed,
    packs_needed * yuan_per_pack AS yuan_instead,
    round(yuan_instead / calls_charged, 4) AS yuan_per_used_call_instead
FROM packs
GROUP BY appid, capability
HAVING calls_charged > 0
ORDER BY appid, capability
